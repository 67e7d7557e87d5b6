"""Options that several commands share."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowatlas.cli.tables import Format
from flowatlas.errors import UsageError

if TYPE_CHECKING:
    from flowatlas.stores.base import Store

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        "-s",
        metavar="URI",
        help="Store: a path or neo4j://host:7687/database [FLOWATLAS_STORE].",
        show_default=False,
    ),
]
FormatOption = Annotated[
    Format | None,
    typer.Option(
        "--format", "-f", help="How to write rows; default: table, or what --out's name tells.", show_default=False
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="FILE", help="Write to this file instead of stdout.", show_default=False),
]
ParameterOption = Annotated[
    list[str] | None,
    typer.Option("--param", "-p", metavar="NAME=VALUE", help="A parameter; give it once for each.", show_default=False),
]


def opened(store: str | None) -> Store:
    """The store of `--store` or the settings, open for reading. Raises StoreError."""
    from flowatlas.settings import settings
    from flowatlas.stores import open_store

    return open_store(store or settings().store)


def parameters(given: Sequence[str] | None, value: Callable[[str], Any] = str) -> dict[str, Any]:
    """`name=value` texts by name. Raises UsageError on one without `=`, or given twice."""
    found: dict[str, Any] = {}
    for text in given or []:
        name, equals, content = text.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"'{text}' is not a parameter.", known="Write -p name=value.")
        if name.strip() in found:
            raise UsageError(f"The parameter '{name.strip()}' is given twice.")
        found[name.strip()] = value(content)
    return found


def as_json_or_text(text: str) -> Any:
    """A value of a person's own Cypher: a number, true, null or a list where it reads as JSON, otherwise a text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
