"""`flowatlas model`: the known families, the contract of one model, and a first description of a new family."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flowatlas.cli.console import people

group = typer.Typer(name="model", help="Look at a model before ingesting: list, check, new.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add `model` and its commands."""
    app.add_typer(group)


@group.command(name="list")
def list_families() -> None:
    """Print the known families, each with what its description says of it."""
    from ingest.architecture.description import files, summary

    for family, path in files().items():
        typer.echo(f"{family}\t{summary(path)}")


@group.command()
def check(
    model: Annotated[str, typer.Argument(help="demo, a folder or a hub name.", metavar="MODEL")] = "demo",
) -> None:
    """Hold the contract on a model: print each identity and its largest relative error."""
    from ingest.architecture.load import load_model

    loaded = load_model(model)
    decoder = loaded.decoder
    for invariant, error in loaded.report.largest().items():
        typer.echo(f"{invariant}\t{error:.1e}")
    experts = f", {decoder.n_expert} experts" if decoder.n_expert > 1 else ""
    people.print(
        f"{decoder.name} ({decoder.family}, {decoder.fingerprint}): {decoder.n_layer} layers, {decoder.n_head} heads "
        f"({decoder.n_kv_head} for keys and values), width {decoder.d_model}, {decoder.d_mlp} neurons{experts}, "
        f"{decoder.vocab_size} tokens. The contract holds."
    )


@group.command()
def new(
    folder: Annotated[Path, typer.Argument(help="Folder of a model of the new family.", metavar="FOLDER")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Where to write it [FAMILY.yaml in FLOWATLAS_MODEL_CONFIGS or model_configs].",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a description that is there.")] = False,
) -> None:
    """Propose a description by looking at a model's modules; write it if the contract holds.

    The path of the file is printed. A proposal that the contract refuses is printed instead, to be finished by hand.
    """
    from flowatlas.errors import ModelError, UsageError
    from ingest.architecture.description import GUIDE, folders
    from ingest.architecture.propose import propose
    from ingest.architecture.source import model_folder, raw_config

    source = model_folder(str(folder))
    target = out or folders()[0] / f"{raw_config(source).get('model_type')}.yaml"
    if target.exists() and not force:
        raise UsageError(
            f"There is a description already: {target}.", next_step="Give --out another file, or --force to replace it."
        )
    proposal = propose(source)
    if proposal.problem is not None:
        typer.echo(proposal.text(), nl=False)
        raise ModelError(
            f"No description was found for the family '{proposal.family}'; the nearest was printed. "
            f"{proposal.problem.problem}",
            known=proposal.problem.known,
            next_step=f"Finish it by hand; {GUIDE} shows how.",
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(proposal.text(), "utf-8")
    except OSError as error:
        raise ModelError(f"{target} cannot be written: {error.strerror}.", next_step="Give another --out.") from error
    typer.echo(str(target))
    people.print(f"The contract holds for '{proposal.family}'.")
