"""A lock file that keeps a second writer out and tells who holds it."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from flowatlas.errors import StoreBusyError


class WriterLock:
    """An exclusive lock on `path`, held until `release` or the end of the process, whichever is first.

    The file stays (removing it would race with the next writer); it holds the process id of its
    last holder. Raises StoreBusyError with that id.
    """

    def __init__(self, path: Path, store: str) -> None:
        self._descriptor: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
            self.release()
            raise busy(store, holder) from None
        with suppress(OSError):  # a full disk: locked it is, only the holder's name is not told
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let the next writer in. Harmless when called twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def busy(store: str, holder: str = "") -> StoreBusyError:
    """The error of a second writer."""
    return StoreBusyError(
        f"{store} is being written by another process{f' (pid {holder})' if holder else ''}.",
        known="One process writes to an embedded store at a time; any number may read.",
        next_step="Wait until it has finished, or end it, and run the same command again.",
    )
