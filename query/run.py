"""Named queries on a store: what was asked is checked against what the store holds, then answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from flowatlas.catalogue import ParameterSpec, Query, Resolved, catalogue
from flowatlas.errors import QueryError, UsageError, did_you_mean
from flowatlas.selection import Selection
from flowatlas.stores.base import Store
from flowatlas.values import Value
from query.prompts import find_prompt, model_of
from query.significance import with_p_value

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

_ANY_MODEL: Final = frozenset({"prompts", "sizes", "pairs", "first_layer_target_on_top"})
"""Queries whose rows are prompts: there, prompts of several models may stand side by side."""


@dataclass(frozen=True)
class Result:
    """Rows of a named query; `notes` are what a reader must know beside them."""

    query: Query
    resolved: Resolved
    table: pa.Table
    notes: tuple[str, ...] = ()

    @property
    def frame(self) -> pl.DataFrame:
        """The rows as a Polars frame."""
        import polars as pl

        frame = pl.from_arrow(self.table)
        assert isinstance(frame, pl.DataFrame)
        return frame


def run(store: Store, name: str, /, **given: object) -> Result:
    """The answer of a named query.

    Parameters may be values or texts as on the command line; those of the selection of prompts
    (dataset, group, correct, model, text, role) go with every query over many prompts.

    Raises UsageError (no such query, parameter, prompt, layer, dataset ...), QueryError (an empty
    selection, prompts of several models where one is needed).
    """
    query = catalogue().get(name)
    values = query.values(given)
    notes = _checked_prompts(store, query, values)
    if query.selects:
        notes += _checked_selection(store, query.selection(given), several=name in _ANY_MODEL)
    notes += [n for p in query.parameters if p.type == "selection" for n in _checked_group(store, p.name, values[p.name])]
    _checked_pair(store, values.get("pair"))
    resolved = query.resolve(store.dialect, given)
    table = with_p_value(name, _ordered(name, store.read(resolved.text, resolved.parameters)))
    table = _in_columns(table, query)
    if table.num_rows == 0:
        notes += [_why_empty(values)]
    elif "limit" in values and table.num_rows == values["limit"]:
        notes += [f"The first {table.num_rows} rows; more with -p limit=..."]
    return Result(query, resolved, table, tuple(dict.fromkeys(notes)))


def _ordered(name: str, table: pa.Table) -> pa.Table:
    """Rows of a UNION have no order of their own."""
    return table.sort_by([("layer", "ascending"), ("component", "ascending")]) if name.startswith("contributions") else table


def _in_columns(table: pa.Table, query: Query) -> pa.Table:
    """Columns in the order of the header: what identifies the row first."""
    names = [column.name for column in query.columns]
    if sorted(table.column_names) != sorted(names):
        raise QueryError(f"The query '{query.name}' gave the columns {table.column_names}, not those of its header: {names}.")
    return table.select(names)


def _why_empty(values: Mapping[str, Value]) -> str:
    """What to try when there are no rows."""
    limits = [name for name in ("share", "rank", "minimum", "bottom", "token", "token_id") if name in values]
    hint = f" (with {', '.join(f'{name}={values[name]}' for name in limits)})" if limits else ""
    return f"Nothing in the store answers this{hint}."


def _checked_prompts(store: Store, query: Query, values: Mapping[str, Value]) -> list[str]:
    """Every prompt asked for is there, and has the layer, head and position asked for."""
    ids = [v for p in query.parameters if p.type == "prompt" and isinstance(v := values[p.name], int)]
    rows = [find_prompt(store, i) for i in ids]
    if len({row["model"] for row in rows}) > 1:
        raise QueryError(
            "These prompts are of different models: their layers and heads are not the same things.",
            known="; ".join(f"prompt {row['id']}: model {row['model']}" for row in rows),
            next_step="Compare prompts of one model.",
        )
    shapes = [model_of(store, row) for row in rows[:1]] or _models(store)
    for parameter in query.parameters:
        value = values[parameter.name]
        if isinstance(value, int) and not isinstance(value, bool):
            _check_against(parameter, value, shapes, rows)
    return [f"Only a part of prompt {row['id']} is stored (keep={row['keep']})." for row in rows if row["keep"] != "full"]


def _check_against(
    parameter: ParameterSpec, value: int, models: list[dict[str, Any]], prompts: list[dict[str, Any]]
) -> None:
    limits: dict[str, tuple[str, Callable[[dict[str, Any]], int]]] = {
        "layer": ("layer", lambda m: int(m["n_layer"]) + (1 if parameter.low == -1 else 0)),
        "head": ("head", lambda m: int(m["n_head"])),
    }
    if parameter.type in limits and models:
        what, count = limits[parameter.type]
        most = max(count(model) for model in models)
        lowest = int(parameter.low or 0)
        if not lowest <= value < most:
            raise UsageError(f"There is no {what} {value}.", known=f"{parameter.name} goes from {lowest} to {most - 1}.")
    if parameter.type == "position" and prompts and value >= prompts[0]["n_tokens"]:
        raise UsageError(
            f"Prompt {prompts[0]['id']} has no position {value}.", known=f"Positions are 0..{prompts[0]['n_tokens'] - 1}."
        )


def _models(store: Store) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = store.read("MATCH (m:Model) RETURN m.n_layer AS n_layer, m.n_head AS n_head").to_pylist()
    return rows


def _checked_group(store: Store, name: str, value: Value) -> list[str]:
    if not isinstance(value, Selection):
        raise UsageError(f"{name} must be a selection of prompts.")
    return _checked_selection(store, value, several=False)


def _checked_selection(store: Store, selection: Selection, *, several: bool) -> list[str]:
    """The selection holds prompts, of one model unless `several`; a note where only a part is stored."""
    conditions, parameters = selection.conditions("p")
    rows = store.read(
        f"MATCH (p:Prompt) WHERE p.complete {conditions} "
        "RETURN p.model AS model, p.keep AS keep, count(p) AS prompts ORDER BY model, keep",
        parameters,
    ).to_pylist()
    if not rows:
        raise _empty(store, selection)
    found = sorted({row["model"] for row in rows})
    if len(found) > 1 and not several:
        raise QueryError(
            "The selection holds prompts of several models, whose layers and heads are not the same things.",
            known=f"Models: {', '.join(found)} (`flowatlas query models` describes them).",
            next_step="Choose one: -p model=...",
        )
    partial = [row for row in rows if row["keep"] != "full"]
    if partial:
        count = sum(row["prompts"] for row in partial)
        kept = ", ".join(sorted({row["keep"] for row in partial}))
        return [f"Of {count} prompts only a part is stored (keep={kept}): what was left out is not counted."]
    return []


def _empty(store: Store, selection: Selection) -> QueryError | UsageError:
    """The error for a selection without prompts: what it names is unknown, or nothing has it all."""
    if not selection.given:
        return QueryError("The store holds no prompts yet.", next_step="Add some with `flowatlas ingest`.")
    for field in ("dataset", "group", "model", "role"):
        value = selection.given.get(field)
        if isinstance(value, str):
            column = store.read(f"MATCH (p:Prompt) WHERE p.complete RETURN DISTINCT p.`{field}` AS v ORDER BY v")["v"]
            known = [str(v) for v in column.to_pylist() if v is not None]
            if value not in known:
                return UsageError(
                    f"No prompt has the {field} '{value}'.",
                    known=did_you_mean(value, known) or f"The prompts of this store have no {field}.",
                )
    return QueryError(f"No prompt is selected by {selection}.", next_step="`flowatlas query prompts` lists them all.")


def _checked_pair(store: Store, pair: Value) -> None:
    if not isinstance(pair, str):
        return
    found = store.read("MATCH (p:Prompt) WHERE p.pair IS NOT NULL RETURN DISTINCT p.pair AS v ORDER BY v")["v"].to_pylist()
    if pair not in found:
        known = did_you_mean(pair, found) if len(found) < 30 else f"There are {len(found)}."
        raise UsageError(
            f"There is no minimal pair '{pair}'.",
            known=known or "The prompts of this store have no pairs.",
            next_step="`flowatlas query pairs` lists them.",
        )
