"""How much of the shards goes through memory at once, whatever the size of a model or a prompt."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Final

import psutil
import pyarrow as pa

from flowatlas.shards import Shard
from flowatlas.stores.shard_rows import Part
from flowatlas.vocabulary import RELATIONSHIP_TABLES, STATE_LABELS, Label

STATE_BYTES: Final = 600
RELATIONSHIP_BYTES: Final = 40
"""Bytes of a row in memory, about: a state has fifty ids and ten tokens, a relationship two ids and five numbers."""

_MOST: Final = 1 << 30
_SHARE: Final = 4
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8


def room(pool: int = 2 * _MOST) -> int:
    """Bytes that the rows of one transaction may take: 1 GiB, or a quarter of the memory that is free.

    At most half of the store's buffer pool of `pool` bytes, where it has one: a transaction that fills it fails.
    """
    return int(min(_MOST, psutil.virtual_memory().available // _SHARE, pool // 2))


def give_back() -> None:
    """Return freed memory to the system: Arrow's pool and glibc keep over 2 GB after a shard (measured)."""
    pa.default_memory_pool().release_unused()
    trim = _trim()
    if trim is not None:
        trim(0)


@lru_cache(maxsize=1)
def return_early() -> None:
    """Have the C library return freed memory at once, where it can be told (glibc): blocks from 256 KiB, few arenas.

    Left alone it keeps blocks of up to 32 MiB, and a share of everything for every thread: an ingest takes a third of a
    GB less so, and no more time (measured).
    """
    tell = getattr(ctypes.CDLL(None), "mallopt", None)
    if tell is not None:
        tell(_M_MMAP_THRESHOLD, 256 << 10)
        tell(_M_ARENA_MAX, 2)


@lru_cache(maxsize=1)
def _trim() -> Callable[[int], int] | None:
    """The C library's malloc_trim, where it has one."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


def weight(states: int, relationships: int) -> int:
    """Bytes of so many rows, about."""
    return states * STATE_BYTES + relationships * RELATIONSHIP_BYTES


def weight_of(shard: Shard) -> int:
    """Bytes of a shard's rows, about."""
    rows = {name: file.rows for name, file in shard.manifest.tables.items()}
    states = sum(rows.get(label, 0) for label in (*STATE_LABELS, Label.NEURON))
    return weight(states, sum(rows.get(table.name, 0) for table in RELATIONSHIP_TABLES))


def split(parts: Sequence[Part], most: int) -> Iterator[tuple[list[Part], int]]:
    """`parts` in their order, in lists of at most `most` bytes (or one prompt that is larger), each with its bytes."""
    group: list[Part] = []
    held = 0
    for shard, ids in parts:
        prompts = shard.table(Label.PROMPT, ["id", "n_state", "n_relationship"]).to_pylist()
        sizes = {row["id"]: weight(row["n_state"], row["n_relationship"]) for row in prompts}
        taken: dict[int, int] = {}
        for number, prompt in ids.items():
            if held and held + sizes[number] > most:
                if taken:
                    group.append((shard, taken))
                yield group, held
                group, taken, held = [], {}, 0
            taken[number] = prompt
            held += sizes[number]
        if taken:
            group.append((shard, taken))
    if group:
        yield group, held
