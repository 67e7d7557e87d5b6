"""The schema on a Neo4j server: constraints, indexes, and the statements that create nodes and relationships."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from flowatlas.vocabulary import NODE_TABLES, STATE_LABELS, Label, NodeTable, RelationshipTable, Type

META: Final = "Meta"
"""Label of the nodes with what the store says of itself: `key` and `value`."""

_INDEXED: Final = (*STATE_LABELS, Label.TOKEN)
_RANKED: Final = (Type.ACTIVATES, Type.WRITES)


def ddl() -> Iterator[tuple[str, str]]:
    """(name, statement) of every constraint and index; each statement does nothing when it is there."""
    yield _unique(META, "key")
    for node in NODE_TABLES:
        yield _unique(node.name, node.columns[0].name)
    yield _unique(Label.PROMPT, "key")
    for label in _INDEXED:
        yield _index(label, f"(n:{label})", "n", "prompt")
    yield _index(Label.NEURON, f"(n:{Label.NEURON})", "n", "model")
    for kind in _RANKED:
        yield _index(kind, f"()-[n:{kind}]-()", "n", "rank")


def _unique(label: str, key: str) -> tuple[str, str]:
    name = f"flowatlas_{label}_{key}"
    return name, f"CREATE CONSTRAINT {name} IF NOT EXISTS FOR (n:{label}) REQUIRE n.{key} IS UNIQUE"


def _index(of: str, pattern: str, variable: str, key: str) -> tuple[str, str]:
    name = f"flowatlas_{of}_{key}_index"
    return name, f"CREATE INDEX {name} IF NOT EXISTS FOR {pattern} ON ({variable}.{key})"


def create_nodes(table: NodeTable) -> str:
    """Statement that creates nodes from `$rows`, lists of values in the order of the columns."""
    return f"UNWIND $rows AS row CREATE (n:{table.name} {{{_properties([c.name for c in table.columns], 'row[{}]')}}})"


def merge_nodes(table: NodeTable) -> str:
    """The same for nodes that may be there already."""
    key, *others = (column.name for column in table.columns)
    values = ", ".join(f"n.`{name}` = row[{index}]" for index, name in enumerate(others, 1))
    return f"UNWIND $rows AS row MERGE (n:{table.name} {{`{key}`: row[0]}}) SET {values}"


def create_relationships(table: RelationshipTable) -> str:
    """Statement that creates relationships from `$rows`: ids of both ends, then the properties' values."""
    properties = _properties([column.name for column in table.columns], "row[{}]", first=2)
    return (
        f"UNWIND $rows AS row MATCH (a:{table.source} {{id: row[0]}}) MATCH (b:{table.target} {{id: row[1]}}) "
        f"CREATE (a)-[:{table.type}{f' {{{properties}}}' if properties else ''}]->(b)"
    )


def create_neuron_relationships(table: RelationshipTable, columns: list[str]) -> str:
    """Statement that creates relationships between states and neurons from `$groups`.

    A group is (id of the state, ids of the neurons, one list of values for each of `columns`): far
    fewer values to send and to look up than a row for each relationship.
    """
    properties = _properties(columns, "g[{}][i]", first=2)
    state, neuron = ("a", "b") if table.target is Label.NEURON else ("b", "a")
    return (
        f"UNWIND $groups AS g MATCH ({state}:{Label.STATE} {{id: g[0]}}) "
        f"UNWIND range(0, size(g[1]) - 1) AS i MATCH ({neuron}:{Label.NEURON} {{id: g[1][i]}}) "
        f"CREATE (a)-[:{table.type} {{{properties}}}]->(b)"
    )


def _properties(names: list[str], value: str, first: int = 0) -> str:
    return ", ".join(f"`{name}`: {value.format(index)}" for index, name in enumerate(names, first))
