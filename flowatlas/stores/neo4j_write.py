"""Writing to a Neo4j server: one transaction a prompt, safe to retry, safe beside other writers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final, TypeVar

import neo4j
import pyarrow as pa
from neo4j.exceptions import ConstraintError, IncompleteCommit

from flowatlas.errors import StoreError
from flowatlas.shards import Shard, renumber
from flowatlas.stores.base import Written
from flowatlas.stores.neo4j_driver import once_if_too_large
from flowatlas.stores.neo4j_rows import by_prompt, chunks, neuron_groups, row_lists
from flowatlas.stores.neo4j_schema import (
    META,
    create_neuron_relationships,
    create_nodes,
    create_relationships,
    merge_nodes,
)
from flowatlas.stores.shard_rows import PROMPT_TABLES, missing_model, plan, states_and_relationships
from flowatlas.vocabulary import NODE_TABLE, RELATIONSHIP_TABLE, STATE_LABELS, STATE_STRIDE, Label, Type

_NEURONS: Final = 1000
"""Neurons a transaction."""

T = TypeVar("T")

_NEXT_PROMPT: Final = "next_prompt"
_OF_A_PROMPT: Final = (*STATE_LABELS, Label.TOKEN)


def write_model(session: neo4j.Session, shard: Shard) -> None:
    """Neurons first, the Model last: a model that is there is there whole. Neurons of a cut attempt are kept."""
    neurons = NODE_TABLE[Label.NEURON]
    for part in chunks(shard.table(Label.NEURON), _NEURONS):
        _surely(session, _run, merge_nodes(neurons), rows=row_lists(part))
    _surely(session, _run, merge_nodes(NODE_TABLE[Label.MODEL]), rows=row_lists(shard.table(Label.MODEL)))


def write_prompts(
    session: neo4j.Session,
    shard: Shard,
    known: Collection[str],
    models: Collection[str],
    only: Collection[str] | None,
) -> Written:
    """The shard's prompts that are new, each in a transaction of its own."""
    if shard.manifest.model not in models:
        raise missing_model(shard)
    parts, skipped = plan([shard], known, 0, only)
    done = Written(0, skipped, 0, 0)
    if not parts:
        return done
    numbers = list(parts[0][1])
    first = _surely(session, _take_ids, len(numbers))
    ids = {number: first + index for index, number in enumerate(numbers)}
    for prompt, tables in _tables_by_prompt(shard, ids).items():
        written = _surely(session, _write_prompt, prompt, tables)
        rows = {name: table.num_rows for name, table in tables.items()}
        states, relationships = states_and_relationships({name: rows.get(name, 0) for name in PROMPT_TABLES})
        done = done + (Written(1, 0, states, relationships) if written else Written(0, 1, 0, 0))
    return done


def known_values(session: neo4j.Session, label: Label, name: str) -> frozenset[str]:
    """Values of a property of all nodes of a label; waits for a server that went away, as writes do."""

    def read(transaction: neo4j.ManagedTransaction) -> list[str]:
        text = f"MATCH (n:{label}) RETURN collect(n.{name}) AS found"
        return list(transaction.run(text).single(strict=True)["found"])

    return frozenset(session.execute_read(read))


def _surely(session: neo4j.Session, work: Callable[..., T], *arguments: object, **parameters: object) -> T:
    """A managed transaction, made once more where the driver does not: everything here may be made twice.

    That is where the answer to a commit was lost (what it wrote may be there), and where another writer was
    quicker with the same prompt (then it is found under its key).
    """
    try:
        return session.execute_write(work, *arguments, **parameters)
    except (ConstraintError, IncompleteCommit):
        return session.execute_write(work, *arguments, **parameters)


def delete_prompt(transaction: neo4j.ManagedTransaction, prompt: int) -> int:
    """Delete a prompt with everything that is its own; 1 when it was there."""
    for label in _OF_A_PROMPT:
        transaction.run(f"MATCH (n:{label} {{prompt: $prompt}}) DETACH DELETE n", prompt=prompt).consume()
    done = transaction.run("MATCH (p:Prompt {id: $prompt}) DETACH DELETE p", prompt=prompt).consume()
    return done.counters.nodes_deleted


def _run(transaction: neo4j.ManagedTransaction, /, text: str, **parameters: object) -> int:
    """Run a statement; how many relationships it made."""
    with once_if_too_large():
        return transaction.run(text, parameters).consume().counters.relationships_created


def _take_ids(transaction: neo4j.ManagedTransaction, number: int) -> int:
    """The first of `number` prompt ids that no other writer gets. The node's lock orders the writers."""
    record = transaction.run(
        f"MERGE (m:{META} {{key: $key}}) SET m.lock = true REMOVE m.lock "
        "WITH m CALL { OPTIONAL MATCH (p:Prompt) RETURN coalesce(max(p.id) + 1, 0) AS highest } "
        "WITH m, CASE WHEN coalesce(m.next, 0) > highest THEN m.next ELSE highest END AS first "
        "SET m.next = first + $number RETURN first",
        key=_NEXT_PROMPT,
        number=number,
    ).single(strict=True)
    return int(record["first"])


def _tables_by_prompt(shard: Shard, ids: Mapping[int, int]) -> dict[int, dict[str, pa.Table]]:
    """Tables of each prompt under its id in the store."""
    found: dict[int, dict[str, pa.Table]] = {prompt: {} for prompt in ids.values()}
    for name in PROMPT_TABLES:
        table = renumber({name: shard.table(name)}, ids)[name]
        if table.num_rows:
            column, stride = _prompt_column(name)
            for prompt, rows in by_prompt(table, column, stride).items():
                found[prompt][name] = rows
    return found


def _prompt_column(name: str) -> tuple[str, int]:
    """The column whose values are `prompt * stride + local` in a table."""
    if name in NODE_TABLE:
        return "id", 1 if name == Label.PROMPT else STATE_STRIDE
    relationship = RELATIONSHIP_TABLE[name]
    if relationship.source is Label.PROMPT:
        return "from", 1
    return ("to" if relationship.source is Label.NEURON else "from"), STATE_STRIDE


def _write_prompt(transaction: neo4j.ManagedTransaction, prompt: int, tables: Mapping[str, pa.Table]) -> bool:
    """Write one prompt; False when another writer's is there under the same key.

    After a commit whose answer was lost the retry finds the prompt under our own id: that is success.
    """
    key = tables[Label.PROMPT]["key"][0].as_py()
    there = transaction.run("MATCH (p:Prompt {key: $key}) RETURN p.id AS id", key=key).single()
    if there is not None:
        return bool(there["id"] == prompt)
    for name, table in tables.items():
        relationship = RELATIONSHIP_TABLE.get(name)
        if relationship is None:
            _run(transaction, create_nodes(NODE_TABLE[Label(name)]), rows=row_lists(table))
            continue
        if relationship.type in (Type.ACTIVATES, Type.WRITES):
            columns, groups = neuron_groups(table, relationship)
            made = _run(transaction, create_neuron_relationships(relationship, columns), groups=groups)
        else:
            made = _run(transaction, create_relationships(relationship), rows=row_lists(table))
        if made != table.num_rows:
            raise StoreError(
                f"{table.num_rows - made} relationships of {name} join nodes that are not there; the prompt is not in the store.",
                next_step="Its shard does not fit the model in the store: remove the shard and ingest its prompts again.",
            )
    return True
