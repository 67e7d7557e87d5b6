"""The process that answers named queries, so that one can be ended: `python -m query.question_process STORE MEMORY_MB`.

A question's text is the query's name. What a reader must know about the answer goes along as the
table's metadata. The texts are the project's own, so nothing is guarded but time, rows and memory.
"""

from __future__ import annotations

import json
import sys
from typing import Final

import pyarrow as pa

from flowatlas.stores import open_store
from flowatlas.stores.base import Store
from flowatlas.stores.question_process import Question, serve
from query.run import run

NOTES: Final = b"notes"


class Answers:
    """Answers from the store at `uri`, opened when the first question comes."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._store: Store | None = None

    def answer(self, question: Question) -> tuple[pa.Table, bool]:
        """At most `rows` rows, and whether there were more. Raises FlowatlasError."""
        if self._store is None:
            self._store = open_store(self._uri)
        result = run(self._store, question.text, **question.parameters)
        rows = result.table.slice(0, question.rows).replace_schema_metadata({NOTES: json.dumps(result.notes)})
        return rows, result.table.num_rows > question.rows


if __name__ == "__main__":
    serve(Answers(sys.argv[1]).answer)
