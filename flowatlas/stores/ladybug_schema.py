"""The schema as tables of the embedded store, from the vocabulary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pyarrow as pa

from flowatlas.stores.arrow import fixed_lists
from flowatlas.vocabulary import NODE_TABLES, RELATIONSHIP_TABLES, TOP_TOKENS, Column, RelationshipTable, Type

META: Final = "Meta"
"""Node table with what the store says of itself: rows of `key` and `value`."""

_TYPES: Final = {
    "bool": "BOOLEAN",
    "int32": "INT32",
    "int64": "INT64",
    "float32": "FLOAT",
    "string": "STRING",
    "list<string>": "STRING[]",
    # Appending to a compressed FLOAT[] column silently turns numbers into zeros (ladybug 0.22.0);
    # an array of fixed length keeps them.
    "list<float32>": f"FLOAT[{TOP_TOKENS}]",
    "list<int32>": "INT32[]",
}


def ddl() -> Iterator[str]:
    """Statements that create every table of an empty store.

    A relationship type is one table however many label pairs it joins, stored in both directions
    (undirected patterns and subqueries from a neuron need the backward one).
    """
    yield f"CREATE NODE TABLE {META}(key STRING, value STRING, PRIMARY KEY(key))"
    for node in NODE_TABLES:
        columns = _columns(node.columns)
        yield f"CREATE NODE TABLE {quoted(node.name)}({columns}, PRIMARY KEY({quoted(node.columns[0].name)}))"
    for kind in Type:
        tables = pairs(kind)
        ends = ", ".join(f"FROM {quoted(table.source)} TO {quoted(table.target)}" for table in tables)
        properties = f", {_columns(tables[0].columns)}" if tables[0].columns else ""
        yield f"CREATE REL TABLE {quoted(kind)}({ends}{properties})"


def pairs(kind: Type) -> list[RelationshipTable]:
    """All label pairs that relationships of one type join."""
    return [table for table in RELATIONSHIP_TABLES if table.type is kind]


def copy_node(name: str) -> str:
    """Statement that adds the Arrow table `$rows` to a node table."""
    return f"COPY {quoted(name)} FROM $rows"


def copy_relationship(table: RelationshipTable) -> str:
    """Statement that adds the Arrow table `$rows` (`from`, `to`, properties) to a relationship table."""
    which = f" (from='{table.source}', to='{table.target}')" if len(pairs(table.type)) > 1 else ""
    return f"COPY {quoted(table.type)} FROM $rows{which}"


def as_stored(rows: pa.Table) -> pa.Table:
    """`rows` with the types of the tables: lists of numbers at their fixed length."""
    return fixed_lists(rows, pa.float32(), TOP_TOKENS)


def quoted(name: str) -> str:
    """A name that may be a word of Cypher, such as `index`."""
    return f"`{name}`"


def _columns(columns: tuple[Column, ...]) -> str:
    return ", ".join(f"{quoted(column.name)} {_TYPES[column.type]}" for column in columns)
