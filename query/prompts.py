"""Prompts and models of a store: finding one, and saying clearly when it is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowatlas.errors import QueryError, UsageError
from flowatlas.stores.base import Parameter, Store
from flowatlas.vocabulary import NODE_TABLE, Label

if TYPE_CHECKING:
    import polars as pl


def _properties(variable: str, label: Label) -> str:
    return ", ".join(f"{variable}.`{column.name}` AS `{column.name}`" for column in NODE_TABLE[label].columns)


def _rows(store: Store, text: str, parameters: dict[str, Parameter]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = store.read(text, parameters).to_pylist()
    return rows


def find_prompt(store: Store, prompt: int | str) -> dict[str, Any]:
    """The Prompt with that id or that text (or the only one whose text holds it).

    Raises UsageError when there is none, or several.
    """
    returned = f"RETURN {_properties('p', Label.PROMPT)}"
    if isinstance(prompt, int) or prompt.strip().isdigit():
        found = _rows(store, f"MATCH (p:Prompt) WHERE p.id = $id {returned}", {"id": int(prompt)})
        if not found:
            raise UsageError(f"There is no prompt {prompt}.", known=_known(store), next_step="`flowatlas query prompts` lists them.")
        return found[0]
    for condition in ("p.text = $text", "p.text CONTAINS $text"):
        found = _rows(store, f"MATCH (p:Prompt) WHERE {condition} {returned} ORDER BY id LIMIT 6", {"text": prompt})
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(str(row["id"]) for row in found[:5]) + (" ..." if len(found) > 5 else "")
            raise UsageError(f"Several prompts match '{prompt}'.", known=f"Their ids: {ids}.", next_step="Give one id.")
    raise UsageError(f"No prompt holds '{prompt}'.", known=_known(store), next_step="`flowatlas query prompts` lists them.")


def _known(store: Store) -> str:
    row = _rows(store, "MATCH (p:Prompt) RETURN count(p) AS n, min(p.id) AS first, max(p.id) AS last", {})[0]
    if not row["n"]:
        return "The store holds no prompts yet."
    return f"The store holds {row['n']} prompts with ids {row['first']} to {row['last']}."


def model_of(store: Store, prompt: dict[str, Any]) -> dict[str, Any]:
    """The Model of a prompt. Raises QueryError when the store lacks it."""
    found = _rows(store, f"MATCH (m:Model) WHERE m.id = $id RETURN {_properties('m', Label.MODEL)}", {"id": prompt["model"]})
    if not found:
        raise QueryError(f"The store lacks the model {prompt['model']} of prompt {prompt['id']}.")
    return found[0]


def models(store: Store) -> pl.DataFrame:
    """All models of a store."""
    import polars as pl

    frame = pl.from_arrow(store.read(f"MATCH (m:Model) RETURN {_properties('m', Label.MODEL)} ORDER BY name"))
    assert isinstance(frame, pl.DataFrame)
    return frame
