"""`flowatlas norms`: what norms do to the probability of every token, over many prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from flowatlas.cli.console import people
from flowatlas.cli.options import ParameterOption, StoreOption, opened, parameters
from flowatlas.errors import FlowatlasError


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("norms")(norms)


def norms(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="Parquet file to write.", show_default=False)
    ],
    param: ParameterOption = None,
    model: Annotated[
        str | None, typer.Option(help="The model of the prompts: demo, a folder, or a hub name [FLOWATLAS_MODEL].")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Take at most this many of the prompts.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random vectors.")] = 0,
    store: StoreOption = None,
) -> None:
    """Compute what the norms of every layer do to the mean probability of every token, over prompts of a store.

    The last position of each prompt goes through attention_norm and mlp_norm, and is read before and after with and
    without the final norm in the lens; random vectors go the same way as a control.

    flowatlas norms -p correct=true --out norms.parquet
    """
    from flowatlas.selection import Selection
    from flowatlas.settings import settings
    from ingest.norms.prompts import choose

    if not out.parent.is_dir():
        raise FlowatlasError(f"There is no folder {out.parent}.", next_step="Make it, or give another --out.")
    selection = Selection.of(parameters(param))
    with opened(store) as there:
        chosen = choose(there, selection, limit)
        uri = there.uri
    # Prompts that cannot be read are told before the model's libraries are loaded.
    from ingest.architecture.load import load_model
    from ingest.norms.effects import norm_effects
    from ingest.norms.table import write

    loaded = load_model(model or settings().model)
    chosen.check(loaded.decoder)
    about = {"store": uri, "selection": str(selection), "model": chosen.model, "seed": str(seed)}
    with _progress(len(chosen.prompts)) as tell:
        effects = norm_effects(loaded, chosen.prompts, seed=seed, tell=tell)
        try:
            rows = write(out, effects, loaded.tokenizer.labels, about)
        except OSError as error:
            raise FlowatlasError(
                f"{out} cannot be written: {error.strerror}.", next_step="Give another --out."
            ) from error
    people.print(f"{rows:,} rows from {len(chosen.prompts)} prompts in {out}", markup=False, soft_wrap=True)
    if len(chosen.prompts) == 1:
        people.print("One prompt has no spread: there are no random vectors to hold it against.", style="dim")


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    from rich.progress import Progress

    with Progress(console=people, transient=True) as bar:
        task = bar.add_task("prompts", total=total)
        yield lambda done: bar.advance(task, done)
