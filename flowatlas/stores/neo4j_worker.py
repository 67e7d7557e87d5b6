"""The process that answers questions to a Neo4j server: `python -m flowatlas.stores.neo4j_worker URI MEMORY_MB`."""

from __future__ import annotations

import sys

import neo4j
import pyarrow as pa
from neo4j.exceptions import DriverError, Neo4jError

from flowatlas.stores.neo4j_driver import connect, explained, query_error
from flowatlas.stores.neo4j_guard import check_plan, check_text
from flowatlas.stores.neo4j_rows import table_of
from flowatlas.stores.question_process import Question, serve

_FETCH: int = 200


class Answers:
    """Answers from the database at `uri`, each from a transaction of its own that can only read."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._connection: tuple[neo4j.Driver, str] | None = None

    def answer(self, question: Question) -> tuple[pa.Table, bool]:
        """At most `rows` rows, and whether there were more. Raises QueryError, StoreError."""
        check_text(question.text)
        try:
            driver, database = self._connected()
            with driver.session(database=database, default_access_mode=neo4j.READ_ACCESS, fetch_size=_FETCH) as session:
                with session.begin_transaction(timeout=question.seconds) as transaction:
                    plan = transaction.run(f"EXPLAIN {question.text}", question.parameters).consume()
                    check_plan(plan.query_type, plan.plan, database)
                with session.begin_transaction(timeout=question.seconds) as transaction:
                    result = transaction.run(question.text, question.parameters)
                    names = list(result.keys())
                    rows = [record.values() for record in result.fetch(question.rows + 1)]
        except Neo4jError as error:
            raise query_error(error) from error
        except DriverError as error:
            raise explained(self._uri, error) from error
        cut = rows[: question.rows]
        columns = list(zip(*cut, strict=True)) if cut else [() for _ in names]
        return table_of(names, columns), len(rows) > question.rows

    def _connected(self) -> tuple[neo4j.Driver, str]:
        if self._connection is None:
            self._connection = connect(self._uri)
        return self._connection


if __name__ == "__main__":
    serve(Answers(sys.argv[1]).answer)
