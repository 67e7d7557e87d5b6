"""Reading the embedded store while another process may be writing to it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import ladybug
import pyarrow as pa

from flowatlas.errors import QueryError, StoreBusyError, StoreError
from flowatlas.stores.arrow import plain_types
from flowatlas.stores.base import Parameter
from flowatlas.stores.ladybug_files import RETRIES, NotAStoreError, Stamp, lock_file, open_files
from flowatlas.stores.writer_lock import WriterLock

_RETRIES: Final = 5
_FIRST: Final = 2
"""Tries to open before it is seen whether a killed writer left something to finish."""

T = TypeVar("T")


class Reader:
    """A read-only view that follows the commits of other processes.

    Each read looks at the files' stamp first and opens the database again when they have changed;
    a read whose pages a checkpoint overwrote meanwhile is made again. Threads may share it.
    Raises StoreError when the files cannot be opened.
    """

    def __init__(self, path: Path, buffer_mb: int) -> None:
        self._path = path
        self._buffer_mb = buffer_mb
        self._lock = threading.Lock()
        self._snapshot = self._open()

    def read(self, text: str, parameters: Mapping[str, Parameter]) -> pa.Table:
        """Rows of a query. Raises QueryError."""
        return self.use(lambda database: run(database, text, parameters))

    def use(self, read: Callable[[ladybug.Database], T]) -> T:
        """What `read` makes of the newest state. Raises what it raises."""
        for attempt in range(_RETRIES + 1):
            with self._current() as snapshot:
                try:
                    result = read(snapshot.database)
                except QueryError:
                    if attempt == _RETRIES or not self._overwritten(snapshot):
                        raise
                    continue
                if attempt == _RETRIES or not self._overwritten(snapshot):
                    return result
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Let go of the files."""
        with self._lock:
            self._snapshot.retire()

    @contextmanager
    def _current(self) -> Iterator[_Snapshot]:
        """The newest state, kept open until the block ends."""
        with self._lock:
            if Stamp.of(self._path) != self._snapshot.stamp:
                self._snapshot.retire()
                self._snapshot = self._open()
            snapshot = self._snapshot
            snapshot.enter()
        try:
            yield snapshot
        finally:
            snapshot.leave()

    def _overwritten(self, snapshot: _Snapshot) -> bool:
        return snapshot.stamp.overwritten(Stamp.of(self._path))

    def _open(self) -> _Snapshot:
        try:
            return self._opened(_FIRST)
        except NotAStoreError:
            raise
        except StoreError:
            if not self._path.exists():
                raise
            _recover(self._path, self._buffer_mb)
        return self._opened()

    def _opened(self, retries: int = RETRIES) -> _Snapshot:
        stamp = Stamp.of(self._path)
        return _Snapshot(stamp, open_files(self._path, read_only=True, buffer_mb=self._buffer_mb, retries=retries))


class _Snapshot:
    """An open database, closed when it is retired and its last reader has left."""

    def __init__(self, stamp: Stamp, database: ladybug.Database) -> None:
        self.stamp = stamp
        self.database = database
        self._readers = 1
        self._lock = threading.Lock()

    def enter(self) -> None:
        with self._lock:
            self._readers += 1

    def leave(self) -> None:
        with self._lock:
            self._readers -= 1
            if self._readers == 0:
                self.database.close()

    retire = leave


def run(database: ladybug.Database, text: str, parameters: Mapping[str, Parameter]) -> pa.Table:
    """Rows of one statement on a connection of its own. Raises QueryError with the database's message."""
    connection = ladybug.Connection(database)
    try:
        result = connection.execute(text, dict(parameters))
        if isinstance(result, list):
            raise QueryError("One statement at a time.", known=f"This text has {len(result)}.")
        with result:
            return plain_types(result.get_as_arrow())
    except RuntimeError as error:
        raise QueryError(str(error).strip()) from error
    finally:
        connection.close()


def _recover(path: Path, buffer_mb: int) -> None:
    """Let the database finish what a writer that was killed left behind, unless a writer is at work."""
    try:
        lock = WriterLock(lock_file(path), str(path))
    except StoreBusyError:
        return
    try:
        open_files(path, read_only=False, buffer_mb=buffer_mb).close()
    finally:
        lock.release()
