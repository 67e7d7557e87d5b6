"""The embedded store (Ladybug): one file, nothing to start, one writer and any number of readers."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import ladybug
import pyarrow as pa

from flowatlas import __version__
from flowatlas.errors import SchemaVersionError, StoreError
from flowatlas.settings import settings
from flowatlas.shards import Shard
from flowatlas.stores.base import Answer, Limits, Parameter, Store, Written
from flowatlas.stores.cypher_text import parameters_in, with_numbers
from flowatlas.stores.ladybug_files import beside, lock_file, log_file, not_a_store, open_files, remove_unfinished
from flowatlas.stores.ladybug_reader import Reader, run
from flowatlas.stores.ladybug_schema import META, as_stored, copy_node, copy_relationship, ddl
from flowatlas.stores.questions import Questions
from flowatlas.stores.shard_rows import counted, missing_model, plan, states_and_relationships, tables_of
from flowatlas.stores.writer_lock import WriterLock
from flowatlas.vocabulary import NODE_TABLES, RELATIONSHIP_TABLE, SCHEMA_VERSION, Label

log = logging.getLogger(__name__)

_OF_A_PROMPT: Final = tuple(
    table.name for table in NODE_TABLES if table.label not in (Label.MODEL, Label.NEURON, Label.PROMPT)
)


class LadybugStore(Store):
    """A store in the file `path`.

    `mode="write"` creates it when it is not there and locks out other writers until `close`.
    Raises StoreError, StoreBusyError, SchemaVersionError.
    """

    dialect = "ladybug"

    def __init__(self, path: Path, *, mode: Literal["read", "write"] = "read") -> None:
        self.path = path
        self.uri = str(path)
        self._buffer_mb = settings().ladybug_buffer_mb
        self._lock: WriterLock | None = None
        self._database: ladybug.Database | None = None
        self._reader: Reader | None = None
        self._questions = Questions("flowatlas.stores.ladybug_worker", str(path.resolve()))
        if path.is_dir():
            raise not_a_store(path, "It is a folder.")
        if mode == "write":
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = WriterLock(lock_file(path), self.uri)
        elif not path.exists():
            raise StoreError(
                f"There is no store at {path}.",
                next_step="Make one with flowatlas ingest PROMPTS, or name another with --store.",
            )
        try:
            if mode == "write":
                remove_unfinished(path)
            if mode == "write" and not path.exists():
                _create(path, self._buffer_mb)
            self._open()
            self._check_version()
        except BaseException:
            self.close()
            raise

    def read(self, text: str, parameters: Mapping[str, Parameter] | None = None) -> pa.Table:
        """Rows of a trusted query; parameters that the text does not use are ignored."""
        used = parameters_in(text)
        text, left = with_numbers(text, {k: v for k, v in (parameters or {}).items() if k in used})
        if self._reader is not None:
            return self._reader.read(text, left)
        return run(self._open_database(), text, left)

    def ask(self, text: str, parameters: Mapping[str, Parameter] | None = None, limits: Limits | None = None) -> Answer:
        """Rows of a person's query, run by a process of its own that only reads and can be killed."""
        return self._questions.ask(text, dict(parameters or {}), limits or Limits())

    def write(self, shard: Shard, *, only: frozenset[str] | None = None) -> Written:
        """Add a shard in one transaction; prompts that are there already are skipped."""
        self._writable()
        shard.check()
        if shard.manifest.kind == "prompts":
            return self._write_prompts([shard], only)
        if shard.manifest.model not in self.model_ids():
            self._copy((name, shard.table(name)) for name in (Label.MODEL, Label.NEURON))
        return Written(0, 0, 0, 0)

    def write_all(self, shards: Sequence[Shard]) -> Written:
        """Add shards of prompts in one transaction: the cost of a write grows with what the store holds."""
        self._writable()
        for shard in shards:
            shard.check()
        return self._write_prompts(shards, None)

    def _write_prompts(self, shards: Sequence[Shard], only: frozenset[str] | None) -> Written:
        models = self.model_ids()
        for shard in shards:
            if shard.manifest.model not in models:
                raise missing_model(shard)
        parts, skipped = plan(shards, self.prompt_keys(), self._next_prompt(), only)
        if not parts:
            return Written(0, skipped, 0, 0)
        rows = Counter[str]()
        self._copy(counted(tables_of(parts), rows))
        prompts = sum(len(ids) for _, ids in parts)
        return Written(prompts, skipped, *states_and_relationships(rows))

    def delete(self, prompts: Sequence[int]) -> int:
        """Delete prompts and all that is theirs in one transaction."""
        self._writable()
        known = set(self.read("MATCH (p:Prompt) RETURN p.id AS id")["id"].to_pylist())
        chosen = sorted(known.intersection(prompts))
        if not chosen:
            return 0
        with self._transaction() as connection:
            for name in _OF_A_PROMPT:
                connection.execute(f"MATCH (n:`{name}`) WHERE n.prompt IN {chosen} DETACH DELETE n")
            connection.execute(f"MATCH (p:Prompt) WHERE p.id IN {chosen} DETACH DELETE p")
        self._reopen()
        return len(chosen)

    def close(self) -> None:
        """Let go of the files and of the writer's lock."""
        self._questions.close()
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if self._database is not None:
            self._database.close()
            self._database = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _open(self) -> None:
        if self._lock is None:
            self._reader = Reader(self.path, self._buffer_mb)
        else:
            self._database = open_files(self.path, read_only=False, buffer_mb=self._buffer_mb)

    def _reopen(self) -> None:
        """Close and open again: what a COPY leaks is freed, and the log goes into the file."""
        if self._database is not None:
            self._database.close()
            self._database = None
        self._open()

    def _open_database(self) -> ladybug.Database:
        if self._database is None:
            raise StoreError(f"The store {self.uri} is closed.")
        return self._database

    def _writable(self) -> None:
        if self._lock is None:
            raise StoreError(f"{self.uri} is open for reading only.", next_step='Open it with mode="write".')

    def _check_version(self) -> None:
        tables = self.read("CALL show_tables() RETURN name")["name"].to_pylist()
        if META not in tables:
            raise StoreError(
                f"{self.uri} is a graph database, but not one of flowatlas.",
                known=f"It has the tables {', '.join(sorted(tables)) or '(none)'}.",
                next_step="Give another path with --store.",
            )
        found = self.read(f"MATCH (m:{META}) WHERE m.key = 'schema_version' RETURN m.value AS value")
        version = found["value"][0].as_py() if found.num_rows else "unknown"
        if version != str(SCHEMA_VERSION):
            raise SchemaVersionError(
                f"The store {self.uri} was written with schema version {version}.",
                known=f"This flowatlas {__version__} reads version {SCHEMA_VERSION}.",
                next_step="Ingest its prompts again into a new store.",
            )

    def _next_prompt(self) -> int:
        highest = self.read("MATCH (p:Prompt) RETURN max(p.id) AS id")["id"][0].as_py()
        return 0 if highest is None else int(highest) + 1

    def _copy(self, tables: Iterable[tuple[str, pa.Table]]) -> None:
        """Add `tables`, nodes before relationships, in one transaction, holding one of them at a time."""
        with self._transaction() as connection:
            for name, rows in tables:
                if rows.num_rows:
                    relationship = RELATIONSHIP_TABLE.get(name)
                    statement = copy_relationship(relationship) if relationship else copy_node(name)
                    connection.execute(statement, {"rows": as_stored(rows)})
        self._reopen()

    @contextmanager
    def _transaction(self) -> Iterator[ladybug.Connection]:
        """A transaction that commits when the block ends well; otherwise nothing of it stays. Raises StoreError."""
        connection = ladybug.Connection(self._open_database())
        try:
            connection.execute("BEGIN TRANSACTION")
            yield connection
            connection.execute("COMMIT")
        except BaseException as error:
            connection.close()
            # Opened again, the database is at its last commit, whatever state the failure left.
            self._reopen()
            if not isinstance(error, RuntimeError):
                raise
            raise StoreError(
                f"Writing to {self.uri} failed; nothing of this batch was kept.",
                known=str(error).splitlines()[0],
                next_step="Check the space on the disk and run the same command again: it goes on where it stopped.",
            ) from error
        connection.close()


def _create(path: Path, buffer_mb: int) -> None:
    """Make an empty store under a temporary name and rename it: it exists whole or not at all."""
    temporary = beside(path)
    try:
        database = open_files(temporary, read_only=False, buffer_mb=buffer_mb)
        connection = ladybug.Connection(database)
        for statement in ddl():
            connection.execute(statement)
        for key, value in (("schema_version", str(SCHEMA_VERSION)), ("flowatlas", __version__)):
            connection.execute(f"CREATE (:{META} {{key: $key, value: $value}})", {"key": key, "value": value})
        connection.close()
        database.close()
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)
        log_file(temporary).unlink(missing_ok=True)
