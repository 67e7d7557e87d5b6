"""The embedded store as files: opening them, and seeing that another process has changed them."""

from __future__ import annotations

import glob
import os
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import ladybug

from flowatlas.errors import StoreError
from flowatlas.stores.writer_lock import busy

_HEADER: Final = 4096
_RETRIES: Final = 40
_PAUSE: Final = 0.05
_NOT_A_DATABASE: Final = ("not a valid", "cannot be a directory")


@dataclass(frozen=True)
class Stamp:
    """What tells one state of the files from another.

    The first page changes at each checkpoint, the write-ahead log at each commit between two.
    """

    inode: int
    header: bytes
    log: tuple[int, int]

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """The stamp of the files as they are now. Raises OSError."""
        with path.open("rb") as stream:
            inode = os.fstat(stream.fileno()).st_ino
            header = stream.read(_HEADER)
        try:
            log = log_file(path).stat()
        except FileNotFoundError:
            return cls(inode, header, (0, 0))
        return cls(inode, header, (log.st_size, log.st_mtime_ns))

    def overwritten(self, now: Stamp) -> bool:
        """Whether pages that a reader of this state may still read have been replaced since."""
        return (self.inode, self.header) != (now.inode, now.header)


def log_file(path: Path) -> Path:
    """The write-ahead log beside a store."""
    return path.with_name(path.name + ".wal")


def lock_file(path: Path) -> Path:
    """The file that a writer locks."""
    return path.with_name(path.name + ".lock")


def beside(path: Path) -> Path:
    """A name for a store that is made beside `path`, to be renamed when it is whole."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")


def remove_unfinished(path: Path) -> None:
    """Remove what killed processes left beside `path`; only for the holder of the writer's lock."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        left.unlink(missing_ok=True)


class NotAStoreError(StoreError):
    """What is at a path is no embedded store."""


def open_files(path: Path, *, read_only: bool, buffer_mb: int, retries: int = _RETRIES) -> ladybug.Database:
    """Open a database, waiting a little while another process is in a checkpoint.

    Raises NotAStoreError, StoreBusyError when another process writes to it, StoreError.
    """
    for attempt in range(retries + 1):
        try:
            return ladybug.Database(str(path), read_only=read_only, buffer_pool_size=buffer_mb << 20)
        except RuntimeError as error:
            message = str(error)
            if any(sign in message for sign in _NOT_A_DATABASE):
                raise not_a_store(path, message) from error
            if "lock on file" in message and not read_only:
                raise busy(str(path), _holder(message)) from error
            if attempt == retries:
                raise StoreError(
                    f"The store {path} cannot be opened.",
                    known=message.splitlines()[0],
                    next_step="Make it again from its shards: flowatlas store rebuild.",
                ) from error
        time.sleep(_PAUSE)
    raise AssertionError("unreachable")


def not_a_store(path: Path, message: str) -> NotAStoreError:
    """The error of a path that is no embedded store."""
    return NotAStoreError(
        f"{path} is not a flowatlas store.", known=message.splitlines()[0], next_step="Give another path with --store."
    )


def _holder(message: str) -> str:
    _, _, after = message.partition("PID ")
    return after.split(")")[0] if after else ""
