"""The command line. Each command imports what it needs when it runs, so that help stays quick."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import typer

COMMANDS: Final[tuple[str, ...]] = ("ingest", "query", "graph", "norms", "analyze", "dashboard", "model", "store", "demo")
"""Modules of this package, each with `register(app)`, in the order in which help lists them."""


def register(app: typer.Typer) -> None:
    """Add every command to `app`."""
    for name in COMMANDS:
        import_module(f"flowatlas.cli.{name}").register(app)
