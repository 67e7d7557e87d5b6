"""Arrow schemas of every table: nodes with their properties, relationships with `from` and `to` first."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from flowatlas.vocabulary import NODE_TABLES, RELATIONSHIP_TABLES, Column, Label, NodeTable, RelationshipTable

ARROW_TYPES: Final[dict[str, pa.DataType]] = {
    "bool": pa.bool_(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "string": pa.string(),
    "list<string>": pa.list_(pa.string()),
    "list<float32>": pa.list_(pa.float32()),
    "list<int32>": pa.list_(pa.int32()),
}


def _field(column: Column) -> pa.Field:
    return pa.field(column.name, ARROW_TYPES[column.type], nullable=column.nullable)


def key_type(label: Label) -> pa.DataType:
    """Arrow type of a label's primary key (a string for Model, a 64-bit integer for the others)."""
    return pa.string() if label is Label.MODEL else pa.int64()


def node_schema(table: NodeTable) -> pa.Schema:
    """Arrow schema of a node table, primary key first."""
    return pa.schema([_field(column) for column in table.columns])


def relationship_schema(table: RelationshipTable) -> pa.Schema:
    """Arrow schema of a relationship table: `from`, `to`, then its properties."""
    ends = [
        pa.field("from", key_type(table.source), nullable=False),
        pa.field("to", key_type(table.target), nullable=False),
    ]
    return pa.schema([*ends, *(_field(column) for column in table.columns)])


SCHEMAS: Final[dict[str, pa.Schema]] = {
    **{table.name: node_schema(table) for table in NODE_TABLES},
    **{table.name: relationship_schema(table) for table in RELATIONSHIP_TABLES},
}
"""Arrow schema of every table by its name (`Head`, `SUMS_Value_Head`, ...)."""
