"""Shards as CSV files for neo4j-admin database import."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow.compute as pc

from flowatlas import __version__
from flowatlas.errors import StoreError
from flowatlas.shards import Shard, renumber
from flowatlas.stores.neo4j_schema import META
from flowatlas.stores.shard_rows import PROMPT_TABLES, plan
from flowatlas.vocabulary import NODE_TABLE, RELATIONSHIP_TABLE, SCHEMA_VERSION, Column, Label

MODEL_TABLES: Final = (str(Label.MODEL), str(Label.NEURON))
DELIMITERS: Final = tuple(chr(code) for code in range(0xE000, 0xE010))
"""Private characters between the values of a list: no token of a tokenizer has them, and if one has, another is taken."""

_TYPES: Final = {"bool": "boolean", "int32": "int", "int64": "long", "float32": "float", "string": "string"}


@dataclass
class ImportFiles:
    """What the import is told: files of each node label and relationship type, header first."""

    nodes: dict[str, list[Path]] = field(default_factory=dict)
    relationships: dict[str, list[tuple[str, list[Path]]]] = field(default_factory=dict)
    delimiter: str = DELIMITERS[0]
    prompts: int = 0
    rows: int = 0


def write_csv(shards: Sequence[Shard], directory: Path) -> ImportFiles:
    """Write every table of `shards` under `directory`, in parallel, prompts numbered from 0.

    The same prompt in two shards is written once. Raises StoreError when a prompt's model is missing.
    """
    models = {shard.manifest.model: shard for shard in shards if shard.manifest.kind == "model"}
    prompts = [shard for shard in shards if shard.manifest.kind == "prompts"]
    for shard in prompts:
        if shard.manifest.model not in models:
            raise StoreError(
                f"The model of {shard.path.name} is not among the shards.",
                next_step=f"Add the shard model-{shard.manifest.model}.",
            )
    parts, _ = plan(prompts, (), 0, None)
    files = ImportFiles(
        delimiter=_free_delimiter([*models.values(), *prompts]), prompts=sum(len(ids) for _, ids in parts)
    )
    jobs: list[tuple[str, Shard, dict[int, int] | None, Path]] = []
    for name in MODEL_TABLES:
        jobs += [(name, shard, None, directory / f"{name}-{n}.csv") for n, shard in enumerate(models.values())]
    for name in PROMPT_TABLES:
        jobs += [(name, shard, dict(ids), directory / f"{name}-{n}.csv") for n, (shard, ids) in enumerate(parts)]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        rows = list(pool.map(lambda job: _write_part(*job, delimiter=files.delimiter), jobs))
    files.rows = sum(count for (name, *_), count in zip(jobs, rows, strict=True) if name in RELATIONSHIP_TABLE)
    for name in dict.fromkeys(job[0] for job in jobs):
        written = [job[3] for job, count in zip(jobs, rows, strict=True) if job[0] == name and count]
        if written:
            _list(files, name, [_header(name, directory), *written])
    files.nodes[META] = [_meta(directory)]
    return files


def _list(files: ImportFiles, name: str, paths: list[Path]) -> None:
    relationship = RELATIONSHIP_TABLE.get(name)
    if relationship is None:
        files.nodes[name] = paths
    else:
        files.relationships.setdefault(relationship.type, []).append((name, paths))


def _write_part(name: str, shard: Shard, ids: dict[int, int] | None, path: Path, *, delimiter: str) -> int:
    """One table of one shard; how many rows it has. Polars writes numbers three times as fast as Arrow (measured)."""
    table = shard.table(name)
    if ids is not None:
        table = renumber({name: table}, ids)[name]
    if table.num_rows:
        frame = pl.DataFrame(pl.from_arrow(table))
        lists = [column for column, kind in frame.schema.items() if isinstance(kind, pl.List)]
        text = [pl.col(column).cast(pl.List(pl.String)).list.join(delimiter) for column in lists]
        # Quotes tell an empty text from one that is not there.
        frame.with_columns(text).write_csv(path, include_header=False, quote_style="non_numeric")
    return int(table.num_rows)


def _header(name: str, directory: Path) -> Path:
    relationship = RELATIONSHIP_TABLE.get(name)
    if relationship is not None:
        ends = [f":START_ID({relationship.source})", f":END_ID({relationship.target})"]
        fields = [*ends, *(_field(column) for column in relationship.columns)]
    else:
        key, *others = NODE_TABLE[Label(name)].columns
        # Models have a text id and no relationships: for them it is a property like the others.
        first = _field(key) if name == Label.MODEL else f"{key.name}:ID({name})"
        fields = [first, *(_field(column) for column in others)]
    path = directory / f"{name}-header.csv"
    path.write_text(",".join(fields) + "\n", "utf-8")
    return path


def _field(column: Column) -> str:
    if column.type.startswith("list<"):
        return f"{column.name}:{_TYPES[column.type[5:-1]]}[]"
    return f"{column.name}:{_TYPES[column.type]}"


def _meta(directory: Path) -> Path:
    path = directory / f"{META}.csv"
    path.write_text(f"key:string,value:string\nschema_version,{SCHEMA_VERSION}\nflowatlas,{__version__}\n", "utf-8")
    return path


def _free_delimiter(shards: Iterable[Shard]) -> str:
    """A character that no text of the shards has. Raises StoreError when all are taken."""
    taken: set[str] = set()
    for shard in shards:
        for name in shard.manifest.tables:
            if name in NODE_TABLE:
                taken |= _marks(shard, name)
    free = [mark for mark in DELIMITERS if mark not in taken]
    if not free:
        raise StoreError("Every character that could stand between tokens occurs in a token; nothing was imported.")
    return free[0]


def _marks(shard: Shard, name: str) -> set[str]:
    """Delimiters that occur in the lists of texts of a table."""
    found: set[str] = set()
    for column in NODE_TABLE[Label(name)].columns:
        if column.type == "list<string>":
            values = pc.list_flatten(shard.table(name, [column.name])[column.name])
            odd = values.filter(pc.match_substring_regex(values, f"[{DELIMITERS[0]}-{DELIMITERS[-1]}]"))
            found |= {mark for value in odd.to_pylist() for mark in value if mark in DELIMITERS}
    return found
