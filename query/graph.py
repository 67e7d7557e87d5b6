"""A flow graph in memory: one prompt, some layers, as two tables.

`nodes` has a row for every Token, Query, Key, Value, Head, State and Neuron, `edges` one for every
relationship; their columns are those of the vocabulary, null where a label or type has none.
Token ids and state ids overlap, so a node is named by label and id together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from flowatlas.vocabulary import NODE_TABLES, RELATIONSHIP_TABLES, STATE_LABELS, Column, ColumnType, Label, Type

if TYPE_CHECKING:
    from query.pruning import Policy, Pruning

_POLARS: Final[dict[ColumnType, Any]] = {
    "bool": pl.Boolean, "int32": pl.Int32, "int64": pl.Int64, "float32": pl.Float32, "string": pl.String,
    "list<string>": pl.List(pl.String), "list<float32>": pl.List(pl.Float32), "list<int32>": pl.List(pl.Int32),
}  # fmt: skip
_IN_GRAPH: Final = (Label.TOKEN, Label.NEURON, *STATE_LABELS)


def _columns(tables: list[tuple[Column, ...]]) -> dict[str, Any]:
    return {column.name: _POLARS[column.type] for columns in tables for column in columns}


NODE_COLUMNS: Final = {"label": pl.String, **_columns([t.columns for t in NODE_TABLES if t.label in _IN_GRAPH])}
"""Columns of `Graph.nodes` and their types."""

EDGE_COLUMNS: Final = {
    "type": pl.String, "from_label": pl.String, "from": pl.Int64, "to_label": pl.String, "to": pl.Int64,
    **_columns([t.columns for t in RELATIONSHIP_TABLES]),
}  # fmt: skip
"""Columns of `Graph.edges` and their types."""

STATE_OF_KIND: Final = {"query": Label.QUERY, "key": Label.KEY, "value": Label.VALUE, "head": Label.HEAD}
"""Label of the kinds that have one of their own; every other kind is a State."""


def in_columns(frame: pl.DataFrame, columns: Mapping[str, Any]) -> pl.DataFrame:
    """`frame` with exactly `columns`, missing ones null."""
    return frame.select(
        [(pl.col(name) if name in frame.columns else pl.lit(None)).cast(kind).alias(name) for name, kind in columns.items()]
    )


@dataclass(frozen=True)
class Graph:
    """Part of the flow graph of one prompt.

    `prompt` and `model` are the rows of their nodes, `layers` the layers asked for, `position` the
    query position. `pruned` says what pruning took away, if any was done; `whole` is the graph
    before it. `store` says where it came from: uri, dialect and schema version.
    """

    prompt: Mapping[str, Any]
    model: Mapping[str, Any]
    layers: range
    position: int
    nodes: pl.DataFrame
    edges: pl.DataFrame
    store: Mapping[str, Any] = field(default_factory=dict)
    pruned: Pruning | None = None
    whole: Graph | None = field(default=None, repr=False)

    @property
    def tokens(self) -> list[dict[str, Any]]:
        """The input tokens that the graph holds, in order: id, position, text, token_id."""
        rows = self.nodes.filter(pl.col("label") == Label.TOKEN).sort("position")
        return rows.select("id", "prompt", "position", "text", "token_id").to_dicts()

    @cached_property
    def node_records(self) -> list[dict[str, Any]]:
        """Nodes as records, without the columns that their label does not have."""
        return [
            {"label": label.value, **row}
            for label in _IN_GRAPH
            for row in self.nodes_of(label).to_dicts()
        ]

    @cached_property
    def edge_records(self) -> list[dict[str, Any]]:
        """Relationships as records, without the columns that their type does not have."""
        ends = ["type", "from_label", "from", "to_label", "to"]
        records = []
        for kind in Type:
            rows = self.edges.filter(pl.col("type") == kind)
            names = [c.name for t in RELATIONSHIP_TABLES if t.type is kind for c in t.columns]
            records += rows.select(*ends, *dict.fromkeys(names)).to_dicts()
        return records

    @property
    def empty(self) -> bool:
        """Whether there is nothing in it."""
        return self.nodes.is_empty()

    @property
    def note(self) -> str | None:
        """What a reader must know: that the store holds a part only, or the prompt's own note."""
        parts = []
        if self.prompt.get("keep") not in (None, "full"):
            parts.append(f"Only a part of this prompt is stored (keep={self.prompt['keep']}).")
        if self.prompt.get("note"):
            parts.append(str(self.prompt["note"]))
        return " ".join(parts) or None

    def nodes_of(self, label: Label) -> pl.DataFrame:
        """Nodes of one label with that label's columns."""
        columns = next(table.columns for table in NODE_TABLES if table.label is label)
        return self.nodes.filter(pl.col("label") == label).select([column.name for column in columns])

    def edges_of(self, *types: Type) -> pl.DataFrame:
        """Relationships of some types."""
        return self.edges.filter(pl.col("type").is_in([str(t) for t in types]))

    def prune(self, policy: Policy | str = "paper") -> Graph:
        """Less of the graph: a policy of `query.pruning`, or its text (`paper`, `mass:0.9`, ...).

        Pruning again starts from the whole slice's totals, so that pruning twice by one policy is
        pruning once. `pruned` of the result says what was taken away. Raises UsageError.
        """
        from query.pruning import prune

        return prune(self, policy)

    def slice(self, layers: range) -> Graph:
        """The part of some layers, with the residual that enters the first. Raises UsageError."""
        from query.layers import part_of

        return part_of(self, layers)

    def with_rows(self, nodes: pl.DataFrame, edges: pl.DataFrame, **changes: Any) -> Graph:
        """The same graph with other rows."""
        return replace(self, nodes=nodes, edges=edges, **changes)
