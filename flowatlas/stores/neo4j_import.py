"""Bulk load of an empty Neo4j database by neo4j-admin: several times as fast as over Bolt, server stopped."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flowatlas.errors import StoreBusyError, StoreError
from flowatlas.shards import Shard
from flowatlas.stores.neo4j_csv import ImportFiles, write_csv
from flowatlas.stores.neo4j_home import admin


@dataclass(frozen=True)
class Imported:
    """What an import wrote."""

    prompts: int
    relationships: int


def import_shards(
    shards: Sequence[Shard], home: Path, *, database: str = "neo4j", overwrite: bool = False, heap_mb: int = 1024
) -> Imported:
    """Make `database` of the server in `home` from `shards`. Constraints and indexes follow when it is opened.

    Raises StoreBusyError when the server runs, StoreError when there is a database already (unless
    `overwrite`) or the import fails, ShardError when a shard's files have changed.
    """
    lib = home / "lib"
    if not (lib.is_dir() and (home / "conf").is_dir()):
        raise StoreError(
            f"{home} is not the home of a Neo4j server.",
            known="It has the folders conf and lib.",
            next_step="make neo4j makes one in .neo4j; for another server give its NEO4J_HOME.",
        )
    _check_stopped(home)
    if (home / "data" / "databases" / database).exists() and not overwrite:
        raise StoreError(
            f"There is a database '{database}' in {home} already; an import makes a new one.",
            known="Whether it is empty cannot be told while the server is stopped.",
            next_step="Add to it with flowatlas store load, or replace it with --overwrite.",
        )
    for shard in shards:
        shard.check()
    work = Path(tempfile.mkdtemp(prefix="import-", dir=home)).resolve()
    try:
        files = write_csv(shards, work)
        admin(home, lib, arguments(files, database, work, overwrite=overwrite), heap_mb)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Imported(files.prompts, files.rows)


def arguments(files: ImportFiles, database: str, work: Path, *, overwrite: bool) -> list[str]:
    """What neo4j-admin is told. The database comes first: an option with a list would swallow it."""
    told = ["database", "import", "full", database, "--id-type=integer", f"--report-file={work / 'report'}"]
    told += [f"--array-delimiter=U+{ord(files.delimiter):04X}", "--bad-tolerance=0"]
    # 32-bit numbers stay 32-bit: widened by way of their text they would differ from what Bolt writes.
    told += ["--normalize-types=false"]
    told += [f"--overwrite-destination={str(overwrite).lower()}"]
    # Tokens with line breaks are in files of nodes only: those of relationships are read in parallel.
    lines = ",".join(str(path) for paths in files.nodes.values() for path in paths)
    told += ["--multiline-fields-format=v2", f"--multiline-fields={lines}"]
    told += [f"--nodes={label}={_joined(paths)}" for label, paths in files.nodes.items()]
    for kind, tables in files.relationships.items():
        told += [f"--relationships={kind}={_joined(paths)}" for _, paths in tables]
    return told


def _joined(paths: Sequence[Path]) -> str:
    return ",".join(str(path) for path in paths)


def _check_stopped(home: Path) -> None:
    """A running server holds a lock on its databases. Raises StoreBusyError."""
    lock = home / "data" / "databases" / "store_lock"
    if not lock.exists():
        return
    with lock.open("r+b") as stream:
        try:
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StoreBusyError(
                f"The Neo4j server in {home} is running; an import needs it stopped.",
                next_step="Stop it (make neo4j-stop) and run the same command again, or add over Bolt: flowatlas store load.",
            ) from error
