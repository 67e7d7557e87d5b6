"""The embedded store (Ladybug): one file, nothing to start, one writer and any number of readers."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final, Literal

import ladybug
import psutil
import pyarrow as pa

from flowatlas import __version__
from flowatlas.errors import SchemaVersionError, StoreError
from flowatlas.settings import settings
from flowatlas.shards import Shard
from flowatlas.stores.base import Answer, Compacted, Limits, Parameter, Store, Written
from flowatlas.stores.cypher_text import parameters_in, with_numbers
from flowatlas.stores.ladybug_copy import Tables, tables_of_store
from flowatlas.stores.ladybug_create import create
from flowatlas.stores.ladybug_files import (
    PoolFullError,
    check_space,
    failed_write,
    lock_file,
    moved,
    not_a_store,
    open_files,
    remove_unfinished,
    replacement,
    size_of,
)
from flowatlas.stores.ladybug_reader import Reader, run
from flowatlas.stores.ladybug_schema import META, as_stored, copy_node, copy_relationship
from flowatlas.stores.memory import RELATIONSHIP_BYTES, give_back, return_early, room, split, weight_of
from flowatlas.stores.questions import Questions
from flowatlas.stores.shard_rows import counted, missing_model, plan, states_and_relationships, tables_of
from flowatlas.stores.writer_lock import WriterLock
from flowatlas.vocabulary import NODE_TABLES, RELATIONSHIP_TABLE, SCHEMA_VERSION, Label

log = logging.getLogger(__name__)

_ROWS_A_COPY: Final = 1_000_000
_ROWS_IN_POOL: Final = 2
_ENTRY_BYTES: Final = 8
"""A write needs room in the pool for its rows twice, and for the longest column that its checkpoint makes anew: the ids
of a neuron's relationships, in a space that doubles when it is full (measured at 690 prompts of GPT-2 small)."""

_OF_A_PROMPT: Final = tuple(
    table.name for table in NODE_TABLES if table.label not in (Label.MODEL, Label.NEURON, Label.PROMPT)
)


class LadybugStore(Store):
    """A store in the file `path`.

    `mode="write"` creates it when it is not there and locks out other writers until `close`.
    Raises StoreError, StoreBusyError, SchemaVersionError.
    """

    dialect = "ladybug"
    # Each write rewrites what the neurons' relationships share pages with: the fewer the cheaper (measured).
    relationships_a_write = 5_000_000

    def __init__(self, path: Path, *, mode: Literal["read", "write"] = "read") -> None:
        self.path = path
        self.uri = str(path)
        # A writer holds rows beside its pool, and an ingest what comes next: it begins with half (a gigabyte less, measured).
        self._buffer_mb = settings().ladybug_buffer_mb // (2 if mode == "write" else 1)
        self._lock: WriterLock | None = None
        self._database: ladybug.Database | None = None
        self._place: tuple[int, int] | None = None
        self._reader: Reader | None = None
        self._questions = Questions("flowatlas.stores.ladybug_worker", str(path.resolve()))
        if path.is_dir():
            raise not_a_store(path, "It is a folder.")
        if mode == "write":
            self._lock = _locked(path)
        elif not path.exists():
            raise StoreError(
                f"There is no store at {path}.",
                next_step="Make one with flowatlas ingest PROMPTS, or name another with --store.",
            )
        try:
            if mode == "write":
                return_early()
                remove_unfinished(path)
            if mode == "write" and not path.exists():
                create(path, self._buffer_mb)
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
        """Add a shard in one transaction (in several, where memory would not hold its rows); known prompts are skipped."""
        self._writable()
        shard.check()
        if shard.manifest.kind == "prompts":
            return self._write_prompts([shard], only)
        if shard.manifest.model not in self.model_ids():
            check_space(self.path, weight_of(shard))
            self.add(lambda: ((name, shard.table(name)) for name in (Label.MODEL, Label.NEURON)))
        return Written(0, 0, 0, 0)

    def write_all(self, shards: Sequence[Shard]) -> Written:
        """Add shards of prompts, in one transaction where memory allows: its cost grows with what the store holds."""
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
        for group, size in split(parts, room(self._buffer_mb << 20)):
            check_space(self.path, size)
            needed = _ROWS_IN_POOL * size + self._longest_column(size // RELATIONSHIP_BYTES)
            if needed > self._buffer_mb << 20:
                self._enlarge_pool(needed >> 20)
            rows += self.add(partial(tables_of, group))
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
        return len(chosen)

    def compact(self) -> Compacted:
        """Write everything that is there into a new file and swap it in: what deletes and many writes left goes."""
        self._writable()
        before = size_of(self.path)
        check_space(self.path, before)
        with replacement(self.path) as new:
            with LadybugStore(new, mode="write") as copy:
                for tables in tables_of_store(self.read, room(self._buffer_mb << 20)):
                    copy.add(tables)
            if size_of(new) < before:
                self._check_place()
                self._close_database()
            else:
                new.unlink()
        self._open()
        return Compacted(before, size_of(self.path))

    def close(self) -> None:
        """Let go of the files and of the writer's lock."""
        self._questions.close()
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._close_database()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _open(self) -> None:
        if self._lock is None:
            self._reader = Reader(self.path, self._buffer_mb)
        else:
            self._database = open_files(self.path, read_only=False, buffer_mb=self._buffer_mb)
            self._place = _place(self.path)

    def _reopen(self) -> None:
        """Close and open again: what a COPY leaks is freed, and the log goes into the file. Raises StoreError."""
        self._close_database()
        self._check_place()
        self._open()

    def _close_database(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            try:
                database.close()
            except RuntimeError as error:
                raise failed_write(self.path, error) from error

    def _check_place(self) -> None:
        """The file is still the one that was opened: opening what is not there would make an empty one."""
        if _place(self.path) != self._place:
            raise moved(self.path)

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

    def _longest_column(self, new: int) -> int:
        """Bytes of the longest column once there are `new` more relationships: half of them are ACTIVATES, or WRITES."""
        found = self.read("MATCH (p:Prompt) RETURN sum(p.n_relationship) AS n")["n"][0].as_py()
        longest = (int(found or 0) + new) // 2
        return _ENTRY_BYTES << max(longest - 1, 0).bit_length()

    def _next_prompt(self) -> int:
        highest = self.read("MATCH (p:Prompt) RETURN max(p.id) AS id")["id"][0].as_py()
        return 0 if highest is None else int(highest) + 1

    def add(self, tables: Callable[[], Tables]) -> Counter[str]:
        """Add rows as they are, nodes before relationships, in one transaction, holding one table at a time.

        `tables` is called again where the buffer pool was too small: what a checkpoint takes grows with the store, so
        the pool grows with it, up to half of the memory that is free. Returns how many rows of each table were added.
        Raises StoreError.
        """
        before = self._counts()
        while True:
            rows = Counter[str]()
            try:
                self._add(counted(tables(), rows))
            except PoolFullError:
                if not self._enlarge_pool(self._buffer_mb * 5 // 4):
                    raise
                if self._counts() == before:
                    continue  # else it was committed, and only its checkpoint failed
            return rows

    def _add(self, tables: Tables) -> None:
        with self._transaction() as connection:
            for name, rows in tables:
                if rows.num_rows:
                    relationship = RELATIONSHIP_TABLE.get(name)
                    statement = copy_relationship(relationship) if relationship else copy_node(name)
                    _copy(connection, statement, as_stored(rows))
            give_back()  # a quarter of a GB less while the checkpoint runs (measured)

    def _counts(self) -> list[int]:
        """What every transaction of rows changes."""
        labels = (Label.MODEL, Label.NEURON, Label.PROMPT)
        return [int(self.read(f"MATCH (n:{label}) RETURN count(*) AS n")["n"][0].as_py()) for label in labels]

    def _enlarge_pool(self, buffer_mb: int) -> bool:
        """Open the files with a larger pool, where memory allows: a write whose checkpoint does not fit is made again."""
        if buffer_mb << 20 > psutil.virtual_memory().available // 2:
            return False
        log.info("The buffer pool of %s is %d MiB from here on.", self.path, buffer_mb)
        self._buffer_mb = buffer_mb
        give_back()
        self._reopen()
        return True

    @contextmanager
    def _transaction(self) -> Iterator[ladybug.Connection]:
        """A transaction that commits when the block ends well; otherwise nothing of it stays. Raises StoreError.

        On a full disk the commit may have been made although the database reports a failure.
        """
        self._check_place()
        connection = ladybug.Connection(self._open_database())
        try:
            connection.execute("BEGIN TRANSACTION")
            yield connection
            connection.execute("COMMIT")
        except BaseException as error:
            connection.close()
            # Opened again, the database is at its last commit, whatever state the failure left.
            with suppress(StoreError):  # no room even for that: then it stays closed, and is mended when next opened
                self._reopen()
            if not isinstance(error, RuntimeError):
                raise
            raise failed_write(self.path, error) from error
        connection.close()
        self._reopen()


def _copy(connection: ladybug.Connection, statement: str, rows: pa.Table) -> None:
    """Run a COPY, of many rows in parts: 0.3 GB less, and no slower (measured).

    Of relationships it takes 8 MB for every 131,072 nodes that the tables at their ends hold, whatever its rows. Cypher's
    CREATE does not, but must not be in a transaction beside a COPY: the log holds what it made and not what was copied,
    and gives that part alone back when the checkpoint fails (ladybug 0.22.0).

    The connection would keep a statement that it prepared itself, and with it the rows, until it closes.
    """
    for start in range(0, rows.num_rows, _ROWS_A_COPY):
        given = {"rows": rows.slice(start, _ROWS_A_COPY)}
        connection.execute(ladybug.PreparedStatement(connection, statement, given), given)


def _locked(path: Path) -> WriterLock:
    """The writer's lock of the store at `path`, whose folder is made. Raises StoreBusyError, StoreError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return WriterLock(lock_file(path), str(path))
    except OSError as error:
        raise StoreError(f"Nothing can be written at {path}.", known=error.strerror or str(error)) from error


def _place(path: Path) -> tuple[int, int] | None:
    """What tells a file from others, whatever its name; None when it is not there."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
