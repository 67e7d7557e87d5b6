"""Disks that are full: a small file system where one may be mounted, otherwise a limit on the size of files."""

from __future__ import annotations

import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flowatlas.shard_writer import write_shard
from flowatlas.shards import Shard
from flowatlas.stores import ladybug_files, open_store


@dataclass(frozen=True)
class Disk:
    """A folder that holds `size` bytes until `grow` is called; `limit` is for the process that writes, if any."""

    folder: Path
    limit: int | None

    def grow(self) -> None:
        """Make room."""
        if self.limit is None:
            subprocess.run(["mount", "-o", "remount,size=400m", str(self.folder)], check=True)


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Disk]:
    """A disk of `size` bytes at `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    mounted = shutil.which("mount") is not None and subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield Disk(folder, None if mounted else size)
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def load(tell: Callable[[str], None], uri: str, shards: Sequence[Path], limit: int | None) -> None:
    """Load shards without looking at the free space first, as when another process takes it meanwhile."""
    ladybug_files._SLACK = -(1 << 40)
    _cramp(limit)
    with open_store(uri, mode="write") as store:
        for path in shards:
            store.write(Shard(path))
            tell("shard")


def copy(tell: Callable[[str], None], shard: Path, folder: Path, limit: int | None) -> None:
    """Write a shard again, into another folder."""
    found = Shard(shard)
    tables = {name: found.table(name) for name in found.manifest.tables}
    _cramp(limit)
    write_shard(folder, found.manifest.kind, tables)
    tell("written")


def _cramp(limit: int | None) -> None:
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
