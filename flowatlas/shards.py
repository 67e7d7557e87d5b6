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
from collections.abc import Iterator, Mapping
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
ShardKind = Literal["model", "prompts"]
TEMPORARY: Final = ".writing-"
"""Begin of the name of a folder that is being written; the number of its process follows."""


class TableFile(BaseModel):
    """One Parquet file of a shard: its rows, bytes and the BLAKE2 hash of the bytes."""

    rows: int
    bytes: int
    hash: str


class Manifest(BaseModel):
    """What a shard holds; written last, inside the temporary folder."""

    schema_version: int
    flowatlas: str
    kind: ShardKind
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
            if hash_of(file) != expected.hash:
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
        name = shard_name(manifest.kind, manifest.model, manifest.prompts)
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


def shard_name(kind: ShardKind, model: str, keys: list[str]) -> str:
    """Name of a shard's folder: what it holds, not where or when it was made."""
    return f"model-{model}" if kind == "model" else f"prompts-{_digest(sorted(keys))}"


def shards(directory: Path) -> Iterator[Shard]:
    """All shards under `directory`, models first, in the order of their names."""
    if not directory.is_dir():
        return
    found = sorted(path for path in directory.iterdir() if path.is_dir() and not path.name.startswith("."))
    for prefix in ("model-", "prompts-"):
        yield from (Shard(path) for path in found if path.name.startswith(prefix))


def remove_unfinished(directory: Path) -> int:
    """Remove what killed writers left behind (not what living ones are writing); how many folders there were."""
    left = [path for path in directory.glob(f"{TEMPORARY}*") if not _alive(path)] if directory.is_dir() else []
    for path in left:
        shutil.rmtree(path, ignore_errors=True)
    return len(left)


def _alive(temporary: Path) -> bool:
    """Whether the process that writes `temporary` still runs."""
    owner = temporary.name.removeprefix(TEMPORARY).split("-")[0]
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


def hash_of(file: Path) -> str:
    """BLAKE2 hash of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _digest(parts: list[str]) -> str:
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=12).hexdigest()
