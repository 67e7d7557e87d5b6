"""A store on a Neo4j server (5 or later), through the official driver."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Final, Literal

import neo4j
import pyarrow as pa
from neo4j.exceptions import ClientError, DriverError, Neo4jError, TransientError

from flowatlas import __version__
from flowatlas.errors import SchemaVersionError, StoreError
from flowatlas.shards import Shard
from flowatlas.stores.base import Answer, Compacted, Limits, Parameter, Store, Written
from flowatlas.stores.neo4j_driver import connect, explained, in_words, is_memory, query_error
from flowatlas.stores.neo4j_rows import table_of
from flowatlas.stores.neo4j_schema import META, ddl
from flowatlas.stores.neo4j_write import delete_prompt, known_values, write_model, write_prompts
from flowatlas.stores.questions import Questions
from flowatlas.vocabulary import SCHEMA_VERSION, Label

log = logging.getLogger(__name__)

_FETCH: Final = 1000
_REMEMBERED: Final = 1000
"""Queries whose column names are remembered."""


class Neo4jStore(Store):
    """The store in one database of a server.

    `mode="write"` makes the schema when it is not there; several processes may write at once.
    Raises StoreError, SchemaVersionError.
    """

    dialect = "neo4j"

    def __init__(self, uri: str, *, mode: Literal["read", "write"] = "read") -> None:
        self.uri = uri
        self._mode = mode
        self._driver, self._database = connect(uri)
        self._columns: dict[str, list[str]] = {}
        self._questions = Questions("flowatlas.stores.neo4j_worker", uri)
        try:
            with in_words(uri):
                self._prepare()
        except BaseException:
            self.close()
            raise

    def read(self, text: str, parameters: Mapping[str, Parameter] | None = None) -> pa.Table:
        """Rows of a trusted query.

        The rows come as one record of columns (46,080 rows of four: 0.14 s instead of 1.9 s row by row).
        """
        text = text.rstrip().removesuffix(";")
        try:
            with self._session(neo4j.READ_ACCESS) as session:
                names = self._columns_of(session, text, parameters)
                lists = ", ".join(f"collect(`{name}`), collect(`{name}` IS NULL)" for name in names)
                whole = f"CALL {{ {text}\n}} RETURN count(*), {lists}"
                try:
                    record = session.run(whole, dict(parameters or {})).single(strict=True)
                except TransientError as error:
                    if not is_memory(error):
                        raise
                    # Too much for one record: row by row the server holds less of it.
                    return table_of(names, _columns(session.run(text, dict(parameters or {})), len(names)))
        except (Neo4jError, DriverError) as error:
            raise query_error(error) if isinstance(error, ClientError) else explained(self.uri, error) from error
        count, *values = record.values()
        pairs = zip(values[::2], values[1::2], strict=True)
        return table_of(names, [found if len(found) == count else _with_nulls(found, null) for found, null in pairs])

    def ask(self, text: str, parameters: Mapping[str, Parameter] | None = None, limits: Limits | None = None) -> Answer:
        """Rows of a person's query: looked at, explained, then run in a transaction that can only read.

        A process of its own does that; the server's share of memory is its db.memory.transaction.max.
        """
        return self._questions.ask(text, dict(parameters or {}), limits or Limits())

    def write(self, shard: Shard, *, only: frozenset[str] | None = None) -> Written:
        """Add a shard, one transaction a prompt; a prompt whose key is there is skipped."""
        self._writable()
        shard.check()
        with in_words(self.uri), self._session(neo4j.WRITE_ACCESS) as session:
            if shard.manifest.kind == "model":
                if shard.manifest.model not in known_values(session, Label.MODEL, "id"):
                    write_model(session, shard)
                return Written(0, 0, 0, 0)
            keys, models = known_values(session, Label.PROMPT, "key"), known_values(session, Label.MODEL, "id")
            return write_prompts(session, shard, keys, models, only)

    def delete(self, prompts: Sequence[int]) -> int:
        """Delete prompts and all that is theirs, one transaction a prompt."""
        self._writable()
        with in_words(self.uri), self._session(neo4j.WRITE_ACCESS) as session:
            return sum(session.execute_write(delete_prompt, prompt) for prompt in sorted(set(prompts)))

    def compact(self) -> Compacted:
        """Nothing can be asked of a server here: it uses the room of what was deleted for what is written next."""
        raise StoreError(
            f"The files of {self.uri} are its server's: it uses the room of what was deleted again, and keeps it.",
            next_step="For a smaller database: stop the server, then flowatlas store import SHARDS --neo4j-home DIR --overwrite.",
        )

    def close(self) -> None:
        """Close the connections and end the process that answers questions."""
        self._questions.close()
        self._driver.close()

    def _session(self, access: str) -> neo4j.Session:
        return self._driver.session(database=self._database, default_access_mode=access, fetch_size=_FETCH)

    def _columns_of(self, session: neo4j.Session, text: str, parameters: Mapping[str, Parameter] | None) -> list[str]:
        if text not in self._columns:
            if len(self._columns) >= _REMEMBERED:
                self._columns.clear()
            result = session.run(f"EXPLAIN {text}", dict(parameters or {}))
            self._columns[text] = list(result.keys())
            result.consume()
        return self._columns[text]

    def _writable(self) -> None:
        if self._mode != "write":
            raise StoreError(f"{self.uri} is open for reading only.", next_step='Open it with mode="write".')

    def _prepare(self) -> None:
        """Check what is in the database; make the schema when writing."""
        version = self._version()
        if version is None and (self._mode == "read" or self._has_nodes()):
            raise StoreError(
                f"The database at {self.uri} holds {'other data' if self._has_nodes() else 'no flow graphs'}.",
                next_step="Ingest into it first: flowatlas ingest PROMPTS --store URI."
                if not self._has_nodes()
                else "Name an empty database, or one of flowatlas: neo4j://host:7687/database.",
            )
        if version not in (None, str(SCHEMA_VERSION)):
            raise SchemaVersionError(
                f"The store {self.uri} was written with schema version {version}.",
                known=f"This flowatlas {__version__} reads version {SCHEMA_VERSION}.",
                next_step="Ingest its prompts again into an empty database.",
            )
        missing = dict(ddl()).keys() - self.indexes()
        if self._mode == "write" or missing:
            self._make_schema(missing)

    def _version(self) -> str | None:
        with self._session(neo4j.READ_ACCESS) as session:
            record = session.run(f"MATCH (m:{META} {{key: 'schema_version'}}) RETURN m.value AS value").single()
        return None if record is None else str(record["value"])

    def _has_nodes(self) -> bool:
        with self._session(neo4j.READ_ACCESS) as session:
            return bool(session.run("MATCH (n) RETURN count(n) AS n").single(strict=True)["n"])

    def indexes(self) -> set[str]:
        """Names of the constraints and indexes that the database has."""
        with self._session(neo4j.READ_ACCESS) as session:
            record = session.run("SHOW INDEXES YIELD name RETURN collect(name) AS names").single(strict=True)
        return set(record["names"])

    def _make_schema(self, missing: Collection[str]) -> None:
        """Constraints and indexes that are missing (an import brings none), and the schema's version."""
        with self._session(neo4j.WRITE_ACCESS) as session:
            for name, statement in ddl():
                if name in missing:
                    _make(session, statement)
            if missing:
                session.run("CALL db.awaitIndexes(3600)").consume()
            values = {"schema_version": str(SCHEMA_VERSION), "flowatlas": __version__}
            for key, value in values.items():
                session.execute_write(_remember, key, value)


def _remember(transaction: neo4j.ManagedTransaction, key: str, value: str) -> None:
    transaction.run(f"MERGE (m:{META} {{key: $key}}) ON CREATE SET m.value = $value", key=key, value=value).consume()


def _make(session: neo4j.Session, statement: str) -> None:
    """Make a constraint or index, unless another process just did."""
    try:
        session.execute_write(lambda transaction: transaction.run(statement).consume())
    except ClientError as error:
        if "AlreadyExists" not in (error.code or ""):
            raise


def _columns(result: neo4j.Result, number: int) -> list[list[object]]:
    columns: list[list[object]] = [[] for _ in range(number)]
    for record in result:
        for column, value in zip(columns, record.values(), strict=True):
            column.append(value)
    return columns


def _with_nulls(found: Sequence[object], null: Sequence[bool]) -> list[object]:
    rest = iter(found)
    return [None if missing else next(rest) for missing in null]
