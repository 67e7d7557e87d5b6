"""Everything that an embedded store holds, table by table, as another one takes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import pyarrow as pa

from flowatlas.schema import SCHEMAS
from flowatlas.stores.memory import weight
from flowatlas.vocabulary import (
    NODE_TABLE,
    NODE_TABLES,
    RELATIONSHIP_TABLES,
    STATE_STRIDE,
    Column,
    Label,
    NodeTable,
    RelationshipTable,
)

_NEURONS: Final = 1 << 17
"""Neurons that are read at once."""

Read = Callable[[str], pa.Table]
Tables = Iterator[tuple[str, pa.Table]]


def tables_of_store(read: Read, most: int) -> Iterator[Callable[[], Tables]]:
    """All rows with the ids that they have: the models, then prompts in groups of at most `most` bytes of rows."""
    yield partial(_of_nodes, read, Label.MODEL, "")
    for low, high in _neuron_ranges(read):
        yield partial(_of_nodes, read, Label.NEURON, f"WHERE n.id >= {low} AND n.id < {high}")
    for first, last in _prompt_ranges(read, most):
        yield partial(_of_prompts, read, first, last)


def _neuron_ranges(read: Read) -> Iterator[tuple[int, int]]:
    rows = read(
        "MATCH (n:Neuron) RETURN n.model AS model, min(n.id) AS low, max(n.id) AS high ORDER BY low"
    ).to_pylist()
    for row in rows:
        for low in range(row["low"], row["high"] + 1, _NEURONS):
            yield low, min(low + _NEURONS, row["high"] + 1)


def _prompt_ranges(read: Read, most: int) -> Iterator[tuple[int, int]]:
    """First and last ids of groups of prompts."""
    rows = read("MATCH (p:Prompt) RETURN p.id AS id, p.n_state AS states, p.n_relationship AS edges ORDER BY id")
    group: list[int] = []
    held = 0
    for row in rows.to_pylist():
        size = weight(row["states"], row["edges"])
        if group and held + size > most:
            yield group[0], group[-1]
            group, held = [], 0
        group.append(row["id"])
        held += size
    if group:
        yield group[0], group[-1]


def _of_nodes(read: Read, label: Label, where: str) -> Tables:
    yield _rows(read, NODE_TABLE[label], where)


def _of_prompts(read: Read, first: int, last: int) -> Tables:
    for node in NODE_TABLES:
        if node.label not in (Label.MODEL, Label.NEURON):
            owner = "n.id" if node.label is Label.PROMPT else "n.prompt"
            yield _rows(read, node, f"WHERE {owner} >= {first} AND {owner} <= {last}")
    for table in RELATIONSHIP_TABLES:
        end = "b" if table.source in (Label.NEURON, Label.PROMPT) else "a"
        yield _rows(read, table, f"WHERE {end}.id >= {first * STATE_STRIDE} AND {end}.id < {(last + 1) * STATE_STRIDE}")


def _rows(read: Read, table: NodeTable | RelationshipTable, where: str) -> tuple[str, pa.Table]:
    if isinstance(table, NodeTable):
        text = f"MATCH (n:{table.name}) {where} RETURN {_columns(table.columns)}"
    else:
        columns = f", {_columns(table.columns)}" if table.columns else ""
        pattern = f"(a:{table.source})-[n:{table.type}]->(b:{table.target})"
        text = f"MATCH {pattern} {where} RETURN a.id AS `from`, b.id AS `to`{columns}"
    return table.name, read(text).cast(SCHEMAS[table.name])


def _columns(columns: tuple[Column, ...]) -> str:
    return ", ".join(f"n.`{column.name}` AS `{column.name}`" for column in columns)
