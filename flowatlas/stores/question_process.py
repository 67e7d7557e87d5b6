"""What a process that answers questions does: JSON lines in, JSON lines and Arrow streams out.

A question is a line (text, parameters, rows, seconds); a reply is a line (problem, known, next_step;
or bytes and truncated) and that many bytes of an Arrow stream.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from flowatlas.errors import FlowatlasError
from flowatlas.stores.base import Parameter


@dataclass(frozen=True)
class Question:
    """A query, its parameters, how many rows it may return and how many seconds it may run."""

    text: str
    parameters: dict[str, Parameter]
    rows: int
    seconds: float


Answerer = Callable[[Question], tuple[pa.Table, bool]]
"""At most `rows` rows, and whether there were more. Raises FlowatlasError."""


def serve(answer: Answerer) -> None:
    """Answer questions from stdin until it ends. The process cannot write a file from here on."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _reply({"ready": True})
    for line in sys.stdin.buffer:
        try:
            table, truncated = answer(Question(**json.loads(line)))
        except FlowatlasError as error:
            _reply({"problem": error.problem, "known": error.known, "next_step": error.next_step})
        else:
            payload = _stream(table)
            _reply({"bytes": len(payload), "truncated": truncated}, payload)


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _reply(head: Mapping[str, object], payload: bytes = b"") -> None:
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + payload)
    sys.stdout.buffer.flush()
