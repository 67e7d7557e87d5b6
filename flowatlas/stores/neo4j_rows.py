"""Arrow tables as parameters of Neo4j's driver, and its records as Arrow tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from neo4j.graph import Node, Relationship

from flowatlas.vocabulary import Label, RelationshipTable

Group = list[object]
"""State id, neuron ids, and a list of values for each property."""


def row_lists(table: pa.Table) -> list[list[object]]:
    """Rows of a table as lists in the order of its columns."""
    return [list(row) for row in zip(*(column.to_pylist() for column in table.columns), strict=True)]


def chunks(table: pa.Table, size: int) -> Iterator[pa.Table]:
    """`table` in pieces of at most `size` rows."""
    for start in range(0, table.num_rows, size):
        yield table.slice(start, size)


def neuron_groups(table: pa.Table, relationship: RelationshipTable) -> tuple[list[str], list[Group]]:
    """Relationships between states and neurons grouped by state: the properties that have values, and groups."""
    state, neuron = ("from", "to") if relationship.target is Label.NEURON else ("to", "from")
    names = [column.name for column in relationship.columns if table[column.name].null_count < table.num_rows]
    ids = table[state].to_numpy()
    order = np.argsort(ids, kind="stable")
    table = table.take(pa.array(order))
    starts = np.flatnonzero(np.diff(ids[order], prepend=-1))
    groups: list[Group] = []
    for start, end in zip(starts, [*starts[1:], len(ids)], strict=True):
        part = table.slice(start, end - start)
        values = [part[name].to_pylist() for name in (neuron, *names)]
        groups.append([int(ids[order[start]]), *values])
    return names, groups


def by_prompt(table: pa.Table, id_column: str, stride: int) -> dict[int, pa.Table]:
    """Rows of each prompt, found by an id column whose values are `prompt * stride + local`."""
    prompts = pc.floor(pc.divide(table[id_column], pa.scalar(stride, pa.int64()))).to_numpy()
    order = np.argsort(prompts, kind="stable")
    if not np.array_equal(order, np.arange(len(order))):
        table = table.take(pa.array(order))
        prompts = prompts[order]
    bounds = np.flatnonzero(np.diff(prompts, prepend=-1))
    ends = [*bounds[1:], len(prompts)]
    return {int(prompts[a]): table.slice(a, b - a) for a, b in zip(bounds, ends, strict=True)}


def table_of(names: Sequence[str], columns: Iterable[Sequence[object]]) -> pa.Table:
    """Columns of values as a table. Nodes and relationships become maps of their properties."""
    return pa.table([_array(column) for column in columns], list(names))


def _array(values: Sequence[object]) -> pa.Array:
    values = [_plain(value) for value in values]
    try:
        return _narrow(pa.array(values))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        # Values of several types (or paths) have no Arrow type in common.
        return pa.array([None if value is None else str(value) for value in values], pa.string())


def _narrow(column: pa.Array) -> pa.Array:
    """Numbers that were stored with 32 bits as such: a server gives all of them with 64."""
    if not pa.types.is_float64(column.type):
        return column
    narrow = column.cast(pa.float32(), safe=False)
    back = narrow.cast(pa.float64())
    same = pc.all(pc.or_kleene(pc.equal(back, column), pc.is_nan(column)), skip_nulls=True).as_py()
    return narrow if same else column


def _plain(value: object) -> object:
    """Nodes and relationships as the embedded store shows them: their label and properties."""
    if isinstance(value, Node):
        return {"_LABEL": ":".join(sorted(value.labels)), **dict(value.items())}
    if isinstance(value, Relationship):
        return {"_LABEL": value.type, **dict(value.items())}
    if isinstance(value, list) and value and isinstance(value[0], (Node, Relationship, list)):
        return [_plain(item) for item in value]
    return value
