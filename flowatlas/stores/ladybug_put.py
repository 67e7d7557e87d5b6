"""How the rows of a table go into an embedded store, in the way that takes least of its memory."""

from __future__ import annotations

from typing import Final

import ladybug
import pyarrow as pa

from flowatlas.stores.ladybug_schema import as_stored, copy_node, copy_relationship, create_relationship
from flowatlas.vocabulary import RELATIONSHIP_TABLE, Label

ROWS_A_COPY: Final = 1_000_000
"""Rows that one COPY takes: with more it takes 0.3 GB more, and is no faster (measured)."""

ROWS_CREATED: Final = 500_000
"""Relationships of a table up to which they are created one by one.

A COPY of relationships takes 6 MB for every 131,072 nodes that the tables at its ends hold, whatever its
rows: 0.16 GB for a head's relationships at 900 prompts of GPT-2 small, 0.7 GB for all tables. Created by
their keys they take 0.3 KB each, and no more time up to here. Neurons are few and their relationships many.
"""


def put(connection: ladybug.Connection, name: str, rows: pa.Table) -> None:
    """Add rows of the table `name`. Raises RuntimeError, also when an end of a relationship is not there."""
    relationship = RELATIONSHIP_TABLE.get(name)
    rows = as_stored(rows)
    if relationship is None:
        _copy(connection, copy_node(name), rows)
    elif rows.num_rows > ROWS_CREATED or Label.NEURON in (relationship.source, relationship.target):
        _copy(connection, copy_relationship(relationship), rows)
    else:
        created = _given(connection, create_relationship(relationship), rows).get_as_arrow()["created"][0].as_py()
        if created != rows.num_rows:
            raise RuntimeError(f"{rows.num_rows - created} rows of {name} join nodes that are not there")


def _copy(connection: ladybug.Connection, statement: str, rows: pa.Table) -> None:
    for start in range(0, rows.num_rows, ROWS_A_COPY):
        _given(connection, statement, rows.slice(start, ROWS_A_COPY))


def _given(connection: ladybug.Connection, statement: str, rows: pa.Table) -> ladybug.QueryResult:
    """Run a statement on `$rows`.

    The connection would keep a statement that it prepared itself, and with it the rows, until it closes.
    """
    given = {"rows": rows}
    result = connection.execute(ladybug.PreparedStatement(connection, statement, given), given)
    assert isinstance(result, ladybug.QueryResult)
    return result
