"""A new embedded store from shards, made beside the old one and swapped in by a rename."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flowatlas.shards import Shard
from flowatlas.stores.base import Written
from flowatlas.stores.ladybug import LadybugStore
from flowatlas.stores.ladybug_files import beside, lock_file, log_file
from flowatlas.stores.load import Progress, load_shards
from flowatlas.stores.writer_lock import WriterLock


def rebuild(path: Path, shards: Sequence[Shard], progress: Progress | None = None) -> Written:
    """Replace the store at `path` by one made of `shards`; what it holds.

    Readers of the old one see the new one at their next read. Until the swap nothing is changed.
    Raises StoreBusyError, StoreError, ShardError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = WriterLock(lock_file(path), str(path))
    new = beside(path)
    try:
        with LadybugStore(new, mode="write") as store:
            done = load_shards(store, shards, progress)
        # The old log goes first: beside the new file it would be taken for that file's own.
        log_file(path).unlink(missing_ok=True)
        new.rename(path)
    finally:
        for left in (new, log_file(new), lock_file(new)):
            left.unlink(missing_ok=True)
        lock.release()
    return done
