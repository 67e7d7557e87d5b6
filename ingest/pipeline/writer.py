"""Writes to the store beside the computing of what comes next."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from flowatlas.shards import Shard
from flowatlas.stores.base import Store, Written
from ingest.pipeline.batch import Seconds


class StoreWriter:
    """One thread that writes shards in their order; at most one waits, so that memory stays bounded.

    `done` is told of every shard written. What the store raises is raised by the next call.
    """

    def __init__(self, store: Store, seconds: Seconds, done: Callable[[Shard, Written], None]) -> None:
        self._store = store
        self._seconds = seconds
        self._done = done
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._running: Future[None] | None = None

    def write(self, shard: Shard, only: frozenset[str] | None = None) -> None:
        """Write `shard` as soon as the one before it is written."""
        self.wait()
        self._running = self._pool.submit(self._write, shard, only)

    def wait(self) -> None:
        """Wait until everything is written. Raises StoreError."""
        running, self._running = self._running, None
        if running is not None:
            running.result()

    def _write(self, shard: Shard, only: frozenset[str] | None) -> None:
        with self._seconds.of("store"):
            written = self._store.write(shard, only=only)
        self._done(shard, written)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.wait()
        finally:
            self._pool.shutdown(wait=True)
