"""Shards: folders of Parquet files, one per table, that exist whole or not at all.

Shards are the source of truth: a store can be rebuilt from them, and another machine's can be added.
There are two kinds. A *model* shard holds `Model` and `Neuron`. A *prompts* shard holds everything
else for some prompts; in it prompts are numbered 0, 1, ... and state ids start from that number, so
that a store can give them ids of its own (`renumber`).

    flowatlas.shards/
        model-3f2a.../      manifest.json  Model.parquet  Neuron.parquet
        prompts-91bc.../    manifest.json  Prompt.parquet  Token.parquet  ...  WRITES_Neuron_State.parquet
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

from flowatlas import __version__
from flowatlas.errors import SchemaVersionError, ShardError
from flowatlas.schema import SCHEMAS
from flowatlas.vocabulary import NODE_TABLES, RELATIONSHIP_TABLES, SCHEMA_VERSION, STATE_STRIDE, Label

MANIFEST: Final = "manifest.json"
_TEMPORARY: Final = ".writing-"


class TableFile(BaseModel):
    """One Parquet file of a shard: its rows, bytes and the BLAKE2 hash of the bytes."""

    rows: int
    bytes: int
    hash: str


class Manifest(BaseModel):
    """What a shard holds; written last, inside the temporary folder."""

    schema_version: int
    flowatlas: str
    kind: Literal["model", "prompts"]
    model: str
    prompts: list[str]
    tables: dict[str, TableFile]


@dataclass(frozen=True)
class Shard:
    """A shard on disk. Tables are read when asked for."""

    path: Path

    @cached_property
    def manifest(self) -> Manifest:
        """The shard's manifest. Raises ShardError, SchemaVersionError."""
        try:
            manifest = Manifest.model_validate_json((self.path / MANIFEST).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise ShardError(
                f"{self.path} is not a shard: its {MANIFEST} cannot be read.",
                known=str(error).splitlines()[0],
                next_step="Remove the folder and ingest its prompts again.",
            ) from error
        if manifest.schema_version != SCHEMA_VERSION:
            raise SchemaVersionError(
                f"{self.path} was written with schema version {manifest.schema_version}.",
                known=f"This flowatlas {__version__} reads version {SCHEMA_VERSION}.",
                next_step="Ingest its prompts again with this version.",
            )
        return manifest

    def table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """One table, by its name in `flowatlas.vocabulary` (`Head`, `SUMS_Value_Head`), or some of its columns."""
        file = self.path / f"{name}.parquet"
        if name not in self.manifest.tables:
            empty = SCHEMAS[name].empty_table()
            return empty if columns is None else empty.select(columns)
        try:
            return pq.read_table(file, columns=columns, schema=SCHEMAS[name], memory_map=False)
        except (OSError, pa.ArrowException) as error:
            raise ShardError(
                f"{file} cannot be read.",
                known=str(error).splitlines()[0],
                next_step="Remove the shard and ingest its prompts again.",
            ) from error

    def check(self) -> None:
        """Compare every file with its hash, and the manifest with both. Raises ShardError naming what differs."""
        for name, expected in self.manifest.tables.items():
            file = self.path / f"{name}.parquet"
            if not file.is_file():
                raise ShardError(f"{file} is missing.", next_step="Remove the shard and ingest its prompts again.")
            if _hash(file) != expected.hash:
                raise ShardError(
                    f"{file} has changed since it was written: its hash differs.",
                    next_step="Remove the shard and ingest its prompts again.",
                )
            if pq.read_metadata(file).num_rows != expected.rows or file.stat().st_size != expected.bytes:
                raise self._changed()
        self._check_manifest()

    def _check_manifest(self) -> None:
        """A manifest has no hash of its own, but the folder's name and the files say the same."""
        manifest = self.manifest
        name = _name(manifest.kind, manifest.model, manifest.prompts)
        tables = {Label.MODEL, Label.NEURON} if manifest.kind == "model" else {Label.PROMPT}
        if self.path.name != name or not tables <= manifest.tables.keys() <= SCHEMAS.keys():
            raise self._changed()
        if manifest.kind == "model":
            whose, keys = self.table(Label.MODEL)["id"].to_pylist(), []
        else:
            prompts = self.table(Label.PROMPT, ["key", "model"])
            whose, keys = prompts["model"].to_pylist(), prompts["key"].to_pylist()
        if set(whose) != {manifest.model} or keys != manifest.prompts:
            raise self._changed()

    def _changed(self) -> ShardError:
        return ShardError(
            f"{self.path / MANIFEST} has changed since it was written: it does not fit the shard.",
            next_step="Remove the shard and ingest its prompts again.",
        )


def _name(kind: str, model: str, keys: list[str]) -> str:
    return f"model-{model}" if kind == "model" else f"prompts-{_digest(sorted(keys))}"


def write_shard(directory: Path, kind: Literal["model", "prompts"], tables: Mapping[str, pa.Table]) -> Shard:
    """Write `tables` (name -> rows in the schema of `flowatlas.schema`) as one shard under `directory`.

    The folder is written under a temporary name, synchronised to disk and renamed; writing the same
    content again replaces nothing and returns the shard that is there. Raises ShardError when the disk is full.
    """
    model = str(tables["Model"]["id"][0]) if kind == "model" else str(tables["Prompt"]["model"][0])
    keys = [] if kind == "model" else tables["Prompt"]["key"].to_pylist()
    target = directory / _name(kind, model, keys)
    if target.exists():
        return Shard(target)
    temporary = directory / f"{_TEMPORARY}{os.getpid()}-{uuid.uuid4().hex}"
    try:
        temporary.mkdir(parents=True)
        files = _write_tables(temporary, tables)
        manifest = Manifest(
            schema_version=SCHEMA_VERSION, flowatlas=__version__, kind=kind, model=model, prompts=keys, tables=files
        )
        _write_synced(temporary / MANIFEST, manifest.model_dump_json(indent=1))
        _sync_directory(temporary)
        temporary.rename(target)
        _sync_directory(directory)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if target.exists():  # another process wrote the same content first
            return Shard(target)
        if isinstance(error, OSError):
            raise ShardError(
                f"A shard could not be written into {directory}; nothing of it is left there.",
                known=error.strerror or str(error),
                next_step="Make room on the disk and run the same command again: it goes on where it stopped.",
            ) from error
        raise
    return Shard(target)


def shards(directory: Path) -> Iterator[Shard]:
    """All shards under `directory`, models first, in the order of their names."""
    if not directory.is_dir():
        return
    found = sorted(path for path in directory.iterdir() if path.is_dir() and not path.name.startswith("."))
    for prefix in ("model-", "prompts-"):
        yield from (Shard(path) for path in found if path.name.startswith(prefix))


def remove_unfinished(directory: Path) -> int:
    """Remove what killed writers left behind (not what living ones are writing); how many folders there were."""
    left = [path for path in directory.glob(f"{_TEMPORARY}*") if not _alive(path)] if directory.is_dir() else []
    for path in left:
        shutil.rmtree(path, ignore_errors=True)
    return len(left)


def _alive(temporary: Path) -> bool:
    """Whether the process that writes `temporary` still runs."""
    owner = temporary.name.removeprefix(_TEMPORARY).split("-")[0]
    return owner.isdigit() and int(owner) != os.getpid() and psutil.pid_exists(int(owner))


def renumber(tables: Mapping[str, pa.Table], ids: Mapping[int, int]) -> dict[str, pa.Table]:
    """Keep the prompts in `ids` (number in the shard -> id in a store) and give everything of theirs its id.

    Neuron ids are of the model, not of the prompt, and stay. Order is kept.
    """
    highest = max(ids, default=0)
    target = np.full(highest + 1, -1, dtype=np.int64)
    target[list(ids.keys())] = list(ids.values())
    renumbered = {}
    for node in NODE_TABLES:
        if node.name in tables and node.label not in (Label.MODEL, Label.NEURON):
            renumbered[node.name] = _renumber_nodes(tables[node.name], node.label, target)
    for relationship in RELATIONSHIP_TABLES:
        if relationship.name in tables:
            ends = {"from": relationship.source, "to": relationship.target}
            renumbered[relationship.name] = _renumber_ends(tables[relationship.name], ends, target)
    return renumbered


def _renumber_nodes(table: pa.Table, label: Label, target: np.ndarray) -> pa.Table:
    if label is Label.PROMPT:
        return _replace_prompt_ids(table, ["id"], [], target)
    return _replace_prompt_ids(table, ["prompt"], ["id"], target)


def _renumber_ends(table: pa.Table, ends: Mapping[str, Label], target: np.ndarray) -> pa.Table:
    prompts = [end for end, label in ends.items() if label is Label.PROMPT]
    states = [end for end, label in ends.items() if label not in (Label.PROMPT, Label.NEURON)]
    return _replace_prompt_ids(table, prompts, states, target)


def _replace_prompt_ids(table: pa.Table, prompts: list[str], states: list[str], target: np.ndarray) -> pa.Table:
    """Rows whose prompt has an id in `target`, with prompt and state ids replaced."""
    number = table[prompts[0]].to_numpy() if prompts else table[states[0]].to_numpy() // STATE_STRIDE
    known = number < len(target)
    keep = known & (target[np.where(known, number, 0)] >= 0)
    if not keep.all():
        table = table.filter(pa.array(keep))
        number = number[keep]
    new = target[number]
    for name in prompts:
        table = _set(table, name, new)
    for name in states:
        table = _set(table, name, new * STATE_STRIDE + table[name].to_numpy() % STATE_STRIDE)
    return table


def _set(table: pa.Table, name: str, values: np.ndarray) -> pa.Table:
    index = table.schema.get_field_index(name)
    return table.set_column(index, table.schema.field(name), pa.array(values, pa.int64()))


def _write_tables(directory: Path, tables: Mapping[str, pa.Table]) -> dict[str, TableFile]:
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        written = pool.map(lambda item: _write_table(directory, *item), tables.items())
        return dict(written)


def _write_table(directory: Path, name: str, table: pa.Table) -> tuple[str, TableFile]:
    file = directory / f"{name}.parquet"
    pq.write_table(table.cast(SCHEMAS[name]), file, compression="zstd", compression_level=1, store_schema=True)
    _sync_file(file)
    return name, TableFile(rows=table.num_rows, bytes=file.stat().st_size, hash=_hash(file))


def _hash(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _digest(parts: list[str]) -> str:
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=12).hexdigest()


def _write_synced(file: Path, text: str) -> None:
    file.write_text(text, "utf-8")
    _sync_file(file)


def _sync_file(file: Path) -> None:
    with file.open("rb") as stream:
        os.fsync(stream.fileno())


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
