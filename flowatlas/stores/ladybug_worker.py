"""The process that answers questions to the embedded store: `python -m flowatlas.stores.ladybug_worker STORE MEMORY_MB`."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import ladybug
import pyarrow as pa

from flowatlas.errors import QueryError
from flowatlas.stores.arrow import plain_types
from flowatlas.stores.base import Parameter
from flowatlas.stores.cypher_text import with_numbers
from flowatlas.stores.ladybug_guard import check_plan, check_text
from flowatlas.stores.ladybug_reader import Reader
from flowatlas.stores.question_process import Question, serve


class Answers:
    """Answers from the store at `path`, whose database may take `memory_mb`."""

    def __init__(self, path: Path, memory_mb: int) -> None:
        self._path = path
        self._memory_mb = memory_mb
        self._reader: Reader | None = None

    def answer(self, question: Question) -> tuple[pa.Table, bool]:
        """At most `rows` rows, and whether there were more. Raises QueryError, StoreError."""
        check_text(question.text)
        if self._reader is None:
            self._reader = Reader(self._path, self._memory_mb)
        return self._reader.use(lambda database: _answer(database, question))


def _answer(database: ladybug.Database, question: Question) -> tuple[pa.Table, bool]:
    text, left = with_numbers(question.text, question.parameters)
    connection = ladybug.Connection(database)
    try:
        _check(connection, text, left)
        result = connection.execute(text, left)
        if isinstance(result, list):
            raise QueryError("One statement at a time.")
        with result:
            return _first_rows(result, question.rows)
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


if __name__ == "__main__":
    serve(Answers(Path(sys.argv[1]), int(sys.argv[2])).answer)
