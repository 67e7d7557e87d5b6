"""Processes that load shards one by one and say so, to be killed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from flowatlas.shards import Shard
from flowatlas.stores import open_store
from support.children import Child, child


def start(uri: str, shards: Sequence[Shard]) -> Child:
    """Start loading; returns when the store is open. The process tells `shard` after each one."""
    process = child(load, uri, [shard.path for shard in shards])
    said = process.hear()
    assert said == "open", said
    return process


def load(tell: Callable[[str], None], uri: str, shards: Sequence[Path]) -> None:
    """Load, shard by shard."""
    with open_store(uri, mode="write") as store:
        tell("open")
        for path in shards:
            store.write(Shard(path))
            tell("shard")


def moments(number: int, longest: float, seed: int) -> list[float]:
    """Random seconds to wait before a kill, spread over the time that loading takes."""
    draw = random.Random(seed)
    return [longest * (n + draw.random()) / number for n in range(number)]
