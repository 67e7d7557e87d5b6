"""The embedded store as files: opening them, and seeing that another process has changed them."""

from __future__ import annotations

import glob
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import ladybug

from flowatlas.disk import sync
from flowatlas.errors import StoreError
from flowatlas.stores.writer_lock import busy

_HEADER: Final = 4096
RETRIES: Final = 40
_PAUSE: Final = 0.05
_NOT_A_DATABASE: Final = ("not a valid", "cannot be a directory")
_FULL: Final = ("No space left", "File too large", "Disk quota exceeded")
_POOL: Final = "buffer pool is full"
_CLAIM: Final = "The committed data is durable and will be recovered on restart: "
"""What the database says of a commit whose checkpoint failed: true at times (measured)."""
_SLACK: Final = 32 << 20
_REWRITTEN: Final = 4
"""A write of a few prompts takes some MB; of the file about a quarter at most is written anew (measured)."""


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
        """The stamp of the files as they are now. Raises StoreError when they are not there."""
        try:
            with path.open("rb") as stream:
                inode = os.fstat(stream.fileno()).st_ino
                header = stream.read(_HEADER)
        except FileNotFoundError as error:
            raise moved(path) from error
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


@contextmanager
def replacement(path: Path) -> Iterator[Path]:
    """A name beside `path`: the store made there takes its place when the block ends well, otherwise it is removed.

    For the holder of the writer's lock.
    """
    new = beside(path)
    try:
        yield new
        sync(new)
        # The old log goes first: beside the new file it would be taken for that file's own.
        log_file(path).unlink(missing_ok=True)
        new.rename(path)
        sync(path.parent)
    finally:
        for left in (new, *new.parent.glob(f"{glob.escape(new.name)}.*")):
            left.unlink(missing_ok=True)


def size_of(path: Path) -> int:
    """Bytes of a store's files."""
    return sum(file.stat().st_size for file in (path, log_file(path)) if file.exists())


def check_space(path: Path, size: int) -> None:
    """Refuse to begin what the disk has no room for: rows of `size` bytes into the store at `path`. Raises StoreError."""
    needed = size + _SLACK + (path.stat().st_size // _REWRITTEN if path.exists() else 0)
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise StoreError(
            f"There is not enough space on the disk of {path}; nothing was written.",
            known=f"{free >> 20} MiB are free; {needed >> 20} MiB may be needed.",
            next_step="Make room and run the same command again: it goes on where it stopped.",
        )


class PoolFullError(StoreError):
    """The database's buffer pool was too small for a write."""


def failed_write(path: Path, error: RuntimeError) -> StoreError:
    """The error of a write that the database gave up."""
    message = str(error)
    reason = message.partition(_CLAIM)[2] or message
    problem, again = f"Writing to {path} failed; no prompt is in it in part.", "it goes on where it stopped"
    if _POOL in message and not any(sign in message for sign in _FULL):
        return PoolFullError(
            problem,
            known="The database's buffer pool is too small for what was to be written, and memory for a larger one is short.",
            next_step=f"Close what takes memory, or set FLOWATLAS_LADYBUG_BUFFER_MB higher, and run the same command again: {again}.",
        )
    known = "The disk is full." if any(sign in message for sign in _FULL) else reason.splitlines()[0]
    return StoreError(
        problem, known=known, next_step=f"Make room on the disk and run the same command again: {again}."
    )


def moved(path: Path) -> StoreError:
    """The error of a store whose file is not where it was opened."""
    return StoreError(
        f"{path} was moved, replaced or deleted while it was open.",
        known="What had been written is in the file that was moved.",
        next_step="Move it back, or give its new path with --store, and run the same command again.",
    )


class NotAStoreError(StoreError):
    """What is at a path is no embedded store."""


def open_files(
    path: Path, *, read_only: bool, buffer_mb: int, retries: int = RETRIES, create: bool = False
) -> ladybug.Database:
    """Open a database (one that is not there is made only where `create` says so), waiting a little while another
    process is in a checkpoint.

    Raises NotAStoreError, StoreBusyError when another process writes to it, StoreError.
    """
    for attempt in range(retries + 1):
        if not create and not path.exists():
            raise moved(path)
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
