"""A new embedded store from shards, made beside the old one and swapped in by a rename."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flowatlas.errors import StoreError
from flowatlas.shards import Shard
from flowatlas.stores.base import Written
from flowatlas.stores.ladybug import LadybugStore
from flowatlas.stores.ladybug_files import lock_file, replacement
from flowatlas.stores.load import Progress, load_shards
from flowatlas.stores.writer_lock import WriterLock


def rebuild(path: Path, shards: Sequence[Shard], progress: Progress | None = None, *, drop: bool = False) -> Written:
    """Replace the store at `path` by one made of `shards`; what it holds.

    Readers of the old one see the new one at their next read. Until the swap nothing is changed. Prompts of the
    old one that are in no shard would be lost: that is refused, unless `drop` says that they may go.
    Raises StoreBusyError, StoreError, ShardError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = WriterLock(lock_file(path), str(path))
    try:
        if not drop:
            _check_nothing_is_lost(path, shards)
        with replacement(path) as new, LadybugStore(new, mode="write") as store:
            done = load_shards(store, shards, progress)
    finally:
        lock.release()
    return done


def _check_nothing_is_lost(path: Path, shards: Sequence[Shard]) -> None:
    """Raises StoreError when the store has prompts of its own; one that cannot be read has none to lose."""
    try:
        with LadybugStore(path) as old:
            known = old.prompt_keys()
    except StoreError:
        return
    lost = known.difference(*(shard.manifest.prompts for shard in shards))
    if lost:
        raise StoreError(
            f"{len(lost)} prompts of {path} are in none of the shards and would be lost; nothing was changed.",
            known="Their shards were removed, or lie in another folder.",
            next_step="Give the folder that has them, ingest them again, or let them go with --drop.",
        )
