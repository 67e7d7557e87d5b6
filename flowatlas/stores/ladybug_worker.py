"""The process that answers people's questions: `python -m flowatlas.stores.ladybug_worker STORE MEMORY_MB`.

Questions come in on stdin as JSON lines (text, parameters, rows); a reply is a JSON line (problem,
or bytes and truncated) and that many bytes of an Arrow stream. The process cannot write a file.
"""

from __future__ import annotations

import json
import resource
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import ladybug
import pyarrow as pa

from flowatlas.errors import FlowatlasError, QueryError
from flowatlas.stores.arrow import plain_types
from flowatlas.stores.base import Parameter
from flowatlas.stores.cypher_text import with_numbers
from flowatlas.stores.ladybug_guard import check_plan, check_text
from flowatlas.stores.ladybug_reader import Reader


def main() -> None:
    """Answer until stdin ends."""
    path, memory_mb = Path(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    reader: Reader | None = None
    for line in sys.stdin.buffer:
        question = Question(**json.loads(line))
        try:
            check_text(question.text)
            reader = reader or Reader(path, memory_mb)
            table, truncated = reader.use(question.answer)
        except FlowatlasError as error:
            _reply({"problem": error.problem, "known": error.known, "next_step": error.next_step})
        else:
            payload = _stream(table)
            _reply({"bytes": len(payload), "truncated": truncated}, payload)


@dataclass(frozen=True)
class Question:
    """A query, its parameters, and how many rows it may return."""

    text: str
    parameters: dict[str, Parameter]
    rows: int

    def answer(self, database: ladybug.Database) -> tuple[pa.Table, bool]:
        """At most `rows` rows, and whether there were more. Raises QueryError."""
        text, left = with_numbers(self.text, self.parameters)
        connection = ladybug.Connection(database)
        try:
            _check(connection, text, left)
            result = connection.execute(text, left)
            if isinstance(result, list):
                raise QueryError("One statement at a time.")
            with result:
                return _first_rows(result, self.rows)
        except RuntimeError as error:
            raise QueryError(str(error).strip()) from error
        finally:
            connection.close()


def _first_rows(result: ladybug.QueryResult, rows: int) -> tuple[pa.Table, bool]:
    if result.get_num_tuples() <= rows:
        return plain_types(result.get_as_arrow()), False
    names = result.get_column_names()
    columns: Iterable[Sequence[object]] = zip(*result.get_n(rows), strict=True)
    return pa.table([pa.array(list(column)) for column in columns], names), True


def _check(connection: ladybug.Connection, text: str, parameters: Mapping[str, Parameter]) -> None:
    """Parse and bind the query as it is (so that positions in messages are those of the text), then see its plan."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        prepared = connection.prepare(text, dict(parameters))
    if not prepared.is_success():
        raise QueryError(prepared.get_error_message().strip())
    plan = connection.execute(f"EXPLAIN {text}", dict(parameters))
    if isinstance(plan, list):
        raise QueryError("One statement at a time.")
    with plan:
        check_plan(str(plan.get_as_arrow().column(0)[0]))


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _reply(head: Mapping[str, object], payload: bytes = b"") -> None:
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + payload)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
