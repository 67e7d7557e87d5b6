"""`flowatlas demo`: the whole way once, from the example prompts to the page."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from flowatlas.cli.console import people
from flowatlas.resources import resource
from flowatlas.vocabulary import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

ANSWERS: Final = (
    ("query", "heads_always_promoting_target", "-p", "dataset=indirect_object", "-p", "rank=50", "-p", "share=0.7"),
    ("query", "target_by_layer", "-p", "prompt=0"),
    ("query", "top_memory_values", "-p", "prompt=0", "-p", "limit=8"),
)
_MADE_FROM: Final = "made_from"
_READY: Final = "ready"


def register(app: typer.Typer) -> None:
    """Add `demo`."""

    def demo(
        dashboard: Annotated[
            bool, typer.Option(help="Serve the page at the end, or print three answers instead.")
        ] = True,
        folder: Annotated[Path, typer.Option(help="Folder for the demo's store.")] = Path("demo.run"),
        port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the page.")] = 8050,
    ) -> None:
        """Ingest the example prompts with the demo model, then serve the dashboard."""
        store = str(folder / "demo.lbug")
        if prepare(folder):
            prompts = resource("examples") / "prompts.jsonl"
            people.print(f"Ingesting {prompts.name} into {store}")
            _run(app, ("ingest", str(prompts), "--model", "demo", "--store", store))
            (folder / _READY).touch()
        if dashboard:
            _run(app, ("dashboard", "--store", store, "--port", str(port)))
            return
        for words in ANSWERS:
            typer.echo(f"\n$ flowatlas {' '.join(words)} --store {store}")
            _run(app, (*words, "--store", store))

    app.command("demo")(demo)


def prepare(folder: Path) -> bool:
    """Make `folder` ready for an ingest; False when what it holds is whole and up to date.

    A store made from other prompts, another model or by another version is removed. One that is up to
    date but unfinished stays: the ingest goes on where it was interrupted.
    """
    origin = _origin()
    made_from = folder / _MADE_FROM
    if made_from.is_file() and made_from.read_text("utf-8") == origin and (folder / "demo.lbug").exists():
        return not (folder / _READY).exists()
    for old in (*folder.glob("demo.*"), folder / _READY):
        if old.is_dir():
            shutil.rmtree(old)
        else:
            old.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    made_from.write_text(origin, "utf-8")
    return True


def _origin() -> str:
    """What the demo's store is made from, as text that changes when any of it does."""
    from flowatlas import __version__

    digest = hashlib.blake2b(digest_size=16)
    for file in (resource("examples") / "prompts.jsonl", *sorted(resource("demo_model").glob("*.*"))):
        if file.suffix in (".jsonl", ".json", ".safetensors"):
            digest.update(file.read_bytes())
    return f"flowatlas {__version__}, schema {SCHEMA_VERSION}, {digest.hexdigest()}\n"


def _run(app: typer.Typer, words: Sequence[str]) -> None:
    """Run one command of this command line; leave as it left."""
    code = app(list(words), standalone_mode=False)
    if code:
        raise typer.Exit(int(code))
