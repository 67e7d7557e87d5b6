"""Shards into a store: models first, then prompts in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from flowatlas.errors import ShardError
from flowatlas.shards import MANIFEST, Shard, shards
from flowatlas.stores.base import Store, Written
from flowatlas.stores.memory import room, weight_of

Progress = Callable[[int, int], None]
"""Called with the prompts done so far and their total."""


def find_shards(path: Path) -> list[Shard]:
    """The shards of a folder, or the one that `path` is. Raises ShardError when there are none.

    Models come first, then prompts in the order in which they were written, so that a store made
    again from its shards gives prompts the ids that they had.
    """
    found = [Shard(path)] if (path / MANIFEST).is_file() else sorted(shards(path), key=_age)
    if not found:
        raise ShardError(
            f"There are no shards in {path}.",
            known="A shard is a folder named model-... or prompts-... with a manifest.json.",
            next_step="Give the folder that flowatlas ingest wrote (beside the store: <store>.shards).",
        )
    return found


def _age(shard: Shard) -> tuple[bool, int]:
    manifest = shard.path / MANIFEST
    written = manifest.stat().st_mtime_ns if manifest.is_file() else 0
    return not shard.path.name.startswith("model-"), written


def load_shards(store: Store, found: Sequence[Shard], progress: Progress | None = None) -> Written:
    """Write shards to `store`; what was added. Raises ShardError, StoreError."""
    total = sum(len(shard.manifest.prompts) for shard in found)
    for shard in found:
        if shard.manifest.kind == "model":
            store.write(shard)
    done = Written(0, 0, 0, 0)
    for batch in batches([shard for shard in found if shard.manifest.kind == "prompts"], room()):
        done = done + store.write_all(batch)
        if progress is not None:
            progress(done.prompts + done.skipped, total)
    return done


def batches(found: Sequence[Shard], most: int) -> Iterator[list[Shard]]:
    """`found` in order, in lists of at most `most` bytes of rows (or one shard that is larger).

    Large ones, since the embedded store's cost goes with the number of writes (measured).
    """
    batch: list[Shard] = []
    held = 0
    for shard in found:
        size = weight_of(shard)
        if batch and held + size > most:
            yield batch
            batch, held = [], 0
        batch.append(shard)
        held += size
    if batch:
        yield batch
