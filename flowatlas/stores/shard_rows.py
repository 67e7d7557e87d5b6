"""What a store writes of shards: which prompts, under which ids, table by table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import pyarrow as pa

from flowatlas.errors import StoreError
from flowatlas.shards import Shard, renumber
from flowatlas.vocabulary import NODE_TABLES, RELATIONSHIP_TABLES, STATE_LABELS, Label

Part = tuple[Shard, Mapping[int, int]]
"""A shard, and number in the shard -> id in the store of its prompts that are to be written."""

PROMPT_TABLES = tuple(
    [table.name for table in NODE_TABLES if table.label not in (Label.MODEL, Label.NEURON)]
    + [table.name for table in RELATIONSHIP_TABLES]
)
"""Tables of a shard of prompts, nodes before relationships."""


def plan(
    shards: Sequence[Shard], known: Collection[str], first: int, only: Collection[str] | None
) -> tuple[list[Part], int]:
    """Parts to write, with ids from `first` on, and how many prompts are skipped.

    Prompts whose key is in `known` are skipped; those that are not in `only` (unless it is None) do
    not count at all.
    """
    seen = set(known)
    parts: list[Part] = []
    skipped = 0
    for shard in shards:
        prompts = shard.table(Label.PROMPT)
        ids: dict[int, int] = {}
        for number, key in zip(prompts["id"].to_pylist(), prompts["key"].to_pylist(), strict=True):
            if only is not None and key not in only:
                continue
            if key in seen:
                skipped += 1
            else:
                seen.add(key)
                ids[number] = first
                first += 1
        if ids:
            parts.append((shard, ids))
    return parts, skipped


def tables_of(parts: Sequence[Part]) -> Iterator[tuple[str, pa.Table]]:
    """Every table of `parts`, in the order of `PROMPT_TABLES`, read and renumbered when its turn comes."""
    for name in PROMPT_TABLES:
        pieces = [renumber({name: shard.table(name)}, ids)[name] for shard, ids in parts]
        yield name, pa.concat_tables(pieces)


def counted(tables: Iterable[tuple[str, pa.Table]], rows: Counter[str]) -> Iterator[tuple[str, pa.Table]]:
    """The same tables, their rows added to `rows` as they pass."""
    for name, table in tables:
        rows[name] += table.num_rows
        yield name, table


def states_and_relationships(rows: Mapping[str, int]) -> tuple[int, int]:
    """How many states (all five labels) and relationships there are among the rows of tables."""
    states = sum(rows[label] for label in STATE_LABELS)
    return states, sum(rows[table.name] for table in RELATIONSHIP_TABLES)


def missing_model(shard: Shard) -> StoreError:
    """The error of prompts whose model is not in the store."""
    return StoreError(
        f"The store does not have the model of {shard.path.name} yet.",
        known=f"Its neurons come from the shard model-{shard.manifest.model}.",
        next_step="Load that shard first; flowatlas store load FOLDER loads models before prompts.",
    )
