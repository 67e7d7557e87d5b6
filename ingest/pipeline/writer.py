"""Writes to the store beside the computing of what comes next."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from flowatlas.shards import Shard
from flowatlas.stores.base import Store, Written
from flowatlas.stores.memory import give_back
from flowatlas.vocabulary import RELATIONSHIP_TABLE
from ingest.pipeline.batch import Seconds

Work = Callable[[], Written]


class StoreWriter:
    """One thread that writes shards in their order, several together where the store is better at that.

    Shards on disk are safe: what waits here is written by the next run if this one is killed. At most
    one write waits for another, so that memory stays bounded. `done` is told of everything written.
    What the store raises is raised by the next call.
    """

    def __init__(self, store: Store, seconds: Seconds, done: Callable[[Written], None]) -> None:
        self._store = store
        self._seconds = seconds
        self._done = done
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._running: Future[None] | None = None
        self._collected: list[Shard] = []

    def write(self, shard: Shard) -> None:
        """Write `shard`, maybe together with those to come."""
        self._collected.append(shard)
        if sum(map(_relationships, self._collected)) >= self._store.relationships_a_write:
            self._write_collected()

    def write_only(self, shard: Shard, keys: frozenset[str]) -> None:
        """Write the prompts with `keys` of a shard."""
        self._write_collected()
        self._start(lambda: self._store.write(shard, only=keys))

    def wait(self) -> None:
        """Wait for the write at hand. Raises StoreError."""
        running, self._running = self._running, None
        if running is not None:
            running.result()

    def finish(self) -> None:
        """Wait until everything is written. Raises StoreError."""
        self._write_collected()
        self.wait()

    def _write_collected(self) -> None:
        shards, self._collected = self._collected, []
        if len(shards) == 1:
            self._start(lambda: self._store.write(shards[0]))
        elif shards:
            self._start(lambda: self._store.write_all(shards))

    def _start(self, work: Work) -> None:
        self.wait()
        self._running = self._pool.submit(self._run, work)

    def _run(self, work: Work) -> None:
        with self._seconds.of("store"):
            written = work()
        give_back()
        self._done(written)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.finish()
        finally:
            self._pool.shutdown(wait=True)


def _relationships(shard: Shard) -> int:
    tables = shard.manifest.tables
    return sum(file.rows for name, file in tables.items() if name in RELATIONSHIP_TABLE)
