"""What a store needs to know of a shard before it writes it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pyarrow as pa

from flowatlas.errors import StoreError
from flowatlas.shards import Shard
from flowatlas.vocabulary import RELATIONSHIP_TABLES, STATE_LABELS


def new_prompts(shard: Shard, known: Collection[str], first: int, only: Collection[str] | None) -> dict[int, int]:
    """Number in the shard -> id in the store, from `first` on, of the prompts whose key is not in `known`
    (and in `only`, unless that is None).
    """
    prompts = shard.table("Prompt")
    new: dict[int, int] = {}
    seen = set(known)
    for number, key in zip(prompts["id"].to_pylist(), prompts["key"].to_pylist(), strict=True):
        if key not in seen and (only is None or key in only):
            seen.add(key)
            new[number] = first + len(new)
    return new


def counts(tables: Mapping[str, pa.Table]) -> tuple[int, int]:
    """How many states (all five labels) and relationships there are in `tables`."""
    states = sum(tables[label].num_rows for label in STATE_LABELS if label in tables)
    relationships = sum(tables[table.name].num_rows for table in RELATIONSHIP_TABLES if table.name in tables)
    return states, relationships


def missing_model(shard: Shard) -> StoreError:
    """The error of prompts whose model is not in the store."""
    return StoreError(
        f"The store does not have the model of {shard.path.name} yet.",
        known=f"Its neurons come from the shard model-{shard.manifest.model}.",
        next_step="Load that shard first; flowatlas store load FOLDER loads models before prompts.",
    )
