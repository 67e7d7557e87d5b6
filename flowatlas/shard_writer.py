"""Writing a shard: table by table and some prompts at a time, under a temporary name until it is whole."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from flowatlas import __version__
from flowatlas.disk import sync
from flowatlas.errors import ShardError
from flowatlas.schema import SCHEMAS
from flowatlas.shards import MANIFEST, TEMPORARY, Manifest, Shard, ShardKind, TableFile, hash_of, renumber, shard_name
from flowatlas.vocabulary import SCHEMA_VERSION, Label

Tables = Mapping[str, pa.Table]
Made = TypeVar("Made")

_PARQUET: Final = {"store_schema": True, "compression": "zstd", "compression_level": 1}


class ShardWriter:
    """A shard that grows: rows go to disk as they come, so that memory holds one piece of it at a time.

    `add` any number of pieces, each with the same tables (name -> rows in the schema of `flowatlas.schema`)
    and no prompt twice; `finish` makes it a shard. Without that nothing of it stays. All raise ShardError
    when nothing can be written.
    """

    def __init__(self, directory: Path, kind: ShardKind) -> None:
        self._directory = directory
        self._kind = kind
        self._temporary = directory / f"{TEMPORARY}{os.getpid()}-{uuid.uuid4().hex}"
        self._files: dict[str, pq.ParquetWriter] = {}
        self._names_it = Label.MODEL if kind == "model" else Label.PROMPT
        self._held: list[pa.Table] = []
        self._pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="shard")

    def add(self, tables: Tables) -> None:
        """Write some rows; those that tell one shard from another, its model or its prompts, wait for the last."""
        tables = dict(tables)
        self._held.append(tables.pop(self._names_it))
        with self._told():
            self._temporary.mkdir(parents=True, exist_ok=True)
            self._open_files(tables)
            self._each(lambda name: self._append(name, tables[name]), tables)

    def finish(self) -> Shard | None:
        """The shard, or None when nothing was added. What is on disk already is not replaced."""
        if not self._held:
            return None
        with self._told():
            whose = pa.concat_tables(self._held).sort_by("id")
            self._open_files([self._names_it])
            self._append(self._names_it, whose)
            self._close_files()
            if self._kind == "prompts":
                self._close_gaps(whose["id"].to_pylist())
            return self._moved(whose)

    def _close_gaps(self, numbers: list[int]) -> None:
        """Number prompts 0, 1, ...: some that were meant to come may have failed."""
        dense = {number: place for place, number in enumerate(numbers)}
        if numbers == list(dense.values()):
            return
        for name in self._files:
            rows = renumber({name: pq.read_table(self._file(name), schema=SCHEMAS[name])}, dense)[name]
            pq.write_table(rows, self._file(name), **_PARQUET)

    def _moved(self, whose: pa.Table) -> Shard:
        """The finished folder under the name of what it holds, as far as that is not there."""
        model = str(whose["id" if self._kind == "model" else "model"][0])
        keys = [] if self._kind == "model" else whose["key"].to_pylist()
        target = self._directory / shard_name(self._kind, model, keys)
        if target.exists():
            return Shard(target)
        tables = dict(zip(self._files, self._each(self._finished, self._files), strict=True))
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            flowatlas=__version__,
            kind=self._kind,
            model=model,
            prompts=keys,
            tables=tables,
        )
        (self._temporary / MANIFEST).write_text(manifest.model_dump_json(indent=1), "utf-8")
        sync(self._temporary / MANIFEST)
        sync(self._temporary)
        try:
            self._temporary.rename(target)
        except OSError:
            if not target.exists():  # else another process wrote the same content first
                raise
        sync(self._directory)
        return Shard(target)

    def _open_files(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self._files:
                self._files[name] = pq.ParquetWriter(self._file(name), SCHEMAS[name], **_PARQUET)

    def _append(self, name: str, rows: pa.Table) -> None:
        self._files[name].write_table(rows.cast(SCHEMAS[name]))

    def _finished(self, name: str) -> TableFile:
        file = self._file(name)
        sync(file)
        return TableFile(rows=pq.read_metadata(file).num_rows, bytes=file.stat().st_size, hash=hash_of(file))

    def _file(self, name: str) -> Path:
        return self._temporary / f"{name}.parquet"

    def _close_files(self) -> None:
        for writer in self._files.values():
            writer.close()

    def _each(self, work: Callable[[str], Made], names: Iterable[str]) -> list[Made]:
        return list(self._pool.map(work, names))

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Say for people what the system says of a full disk. Raises ShardError."""
        try:
            yield
        except OSError as error:
            raise ShardError(
                f"A shard could not be written into {self._directory}; nothing of it is left there.",
                known=error.strerror or str(error),
                next_step="Make room on the disk and run the same command again: it goes on where it stopped.",
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True)
        for file in self._files.values():
            with suppress(OSError, pa.ArrowException):  # a full disk does not take a file's end either
                file.close()
        shutil.rmtree(self._temporary, ignore_errors=True)


def write_shard(directory: Path, kind: ShardKind, tables: Tables) -> Shard:
    """Write `tables` (name -> rows in the schema of `flowatlas.schema`) as one shard under `directory`.

    The folder is written under a temporary name, synchronised to disk and renamed; writing the same
    content again replaces nothing and returns the shard that is there. Raises ShardError when the disk is full.
    """
    with ShardWriter(directory, kind) as writer:
        writer.add(tables)
        shard = writer.finish()
    assert shard is not None
    return shard
