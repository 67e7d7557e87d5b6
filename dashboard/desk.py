"""Questions of all users of a server, each in a process of its own: it can be ended, and never blocks another user.

A process stays for the next question, so that only the first one waits until it has started; `warm`
starts one before that. Every worker of a server shares one desk (`dashboard.serving.crew`).
"""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from flowatlas.errors import FlowatlasError
from flowatlas.stores import questions_to
from flowatlas.stores.base import Limits, Parameter
from flowatlas.stores.questions import Questions

Kind = Literal["cypher", "query"]

MOST_AT_ONCE: Final = 4
KEPT: Final = 40
IDLE: Final = 1
"""Processes of a kind that wait for the next question."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reply:
    """What came of a question: rows, or `problem`, a message for people."""

    problem: str = ""
    columns: tuple[str, ...] = ()
    rows: list[dict[str, Any]] = field(default_factory=list)
    truncated: bool = False
    seconds: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass
class _Asked:
    kind: Kind
    process: Questions
    done: threading.Event = field(default_factory=threading.Event)
    cancelled: bool = False
    reply: Reply = field(default_factory=Reply)


class Desk:
    """Where the page's Cypher and named queries are asked, looked after and ended."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._asked: dict[str, _Asked] = {}
        self._idle: dict[str, list[Questions]] = defaultdict(list)
        self._warming: set[str] = set()
        self._closed = False
        self._lock = threading.Lock()

    def ask(self, kind: Kind, text: str, parameters: Mapping[str, Parameter], limits: Limits) -> str:
        """Start a question; its id. Raises ValueError with a message for people."""
        with self._lock:
            if sum(not one.done.is_set() for one in self._asked.values()) >= MOST_AT_ONCE:
                raise ValueError(f"{MOST_AT_ONCE} queries are running already; wait for one, or cancel it.")
            asked = _Asked(kind, self._idle[kind].pop() if self._idle[kind] else self._process(kind))
            name = uuid.uuid4().hex
            self._asked[name] = asked
            for old in [key for key, one in self._asked.items() if one.done.is_set()][:-KEPT]:
                del self._asked[old]
        threading.Thread(target=self._answer, args=(asked, text, parameters, limits), daemon=True).start()
        return name

    def reply(self, name: str, wait: float = 0.0) -> Reply | Literal["running"] | None:
        """What came of a question, after at most `wait` seconds; None when it is not known (any more)."""
        asked = self._asked.get(name)
        if asked is None:
            return None
        return asked.reply if asked.done.wait(wait) else "running"

    def cancel(self, name: str) -> None:
        """End a question."""
        asked = self._asked.get(name)
        if asked is None or asked.done.is_set():
            return
        asked.cancelled = True
        # Its process may still be starting: until it has ended, end it again.
        for _ in range(200):
            asked.process.stop()
            if asked.done.wait(0.05):
                return

    def warm(self, kind: Kind, memory_mb: int) -> None:
        """Have a process of that kind ready soon."""
        with self._lock:
            if self._closed or self._idle[kind] or kind in self._warming:
                return
            self._warming.add(kind)
        threading.Thread(target=self._start, args=(kind, memory_mb), daemon=True).start()

    def close(self) -> None:
        """End every process."""
        with self._lock:
            self._closed = True
            idle = [process for processes in self._idle.values() for process in processes]
            self._idle.clear()
            running = [name for name, asked in self._asked.items() if not asked.done.is_set()]
        for name in running:
            self.cancel(name)
        for process in idle:
            process.close()

    def _process(self, kind: Kind) -> Questions:
        return questions_to(self.uri) if kind == "cypher" else Questions("query.question_process", self.uri)

    def _start(self, kind: Kind, memory_mb: int) -> None:
        process = self._process(kind)
        process.start(memory_mb)
        self._keep(kind, process)
        self._warming.discard(kind)

    def _keep(self, kind: Kind, process: Questions) -> None:
        """Let a process wait for the next question, or end it when enough do."""
        with self._lock:
            kept = not self._closed and len(self._idle[kind]) < IDLE
            if kept:
                self._idle[kind].append(process)
        if not kept:
            process.close()

    def _answer(self, asked: _Asked, text: str, parameters: Mapping[str, Parameter], limits: Limits) -> None:
        try:
            answer = asked.process.ask(text, parameters, limits)
            rows = json.loads(json.dumps(answer.table.to_pylist(), default=str))
            notes = tuple(_notes(answer.table.schema.metadata))
            asked.reply = Reply("", tuple(answer.table.column_names), rows, answer.truncated, answer.seconds, notes)
        except FlowatlasError as error:
            asked.reply = Reply("Cancelled." if asked.cancelled else str(error))
        except Exception as error:  # it would be lost in this thread, and the page would wait for ever
            log.exception("a question failed")
            asked.reply = Reply("Cancelled." if asked.cancelled else f"The server could not do this ({type(error).__name__}).")
        finally:
            asked.done.set()
            if asked.cancelled and not self._closed:
                asked.process.start(limits.memory_mb)
            self._keep(asked.kind, asked.process)


def _notes(metadata: Mapping[bytes, bytes] | None) -> list[str]:
    text = (metadata or {}).get(b"notes")
    return [] if text is None else [str(note) for note in json.loads(text)]
