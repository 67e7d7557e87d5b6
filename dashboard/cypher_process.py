"""A person's Cypher in a process of its own: it can be cancelled, and never blocks another user.

Run as `python -m dashboard.cypher_process`: reads {"store", "text", "rows", "seconds"} from stdin,
writes {"columns", "rows", "truncated", "seconds"} or {"problem"} to stdout.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, Final

MOST_AT_ONCE: Final = 4
KEPT: Final = 40
GRACE_SECONDS: Final = 8.0


@dataclass
class Asked:
    """A query that is running or has ended."""

    process: subprocess.Popen[bytes]
    seconds: float
    started: float = field(default_factory=time.monotonic)
    reply: dict[str, Any] | None = None

    def wait(self, question: bytes) -> None:
        """Send the question and keep the reply; runs in a thread."""
        try:
            out, _ = self.process.communicate(question, timeout=self.seconds + GRACE_SECONDS)
            self.reply = json.loads(out) if out.strip() else {"problem": "Cancelled."}
        except subprocess.TimeoutExpired:
            self.end()
            self.reply = {"problem": f"The query was stopped after {self.seconds:g} seconds."}
        except ValueError:
            self.reply = {"problem": "Cancelled."}

    def end(self) -> None:
        """Kill the process with the one that the store started for it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


class Cyphers:
    """The queries of all users of this server."""

    def __init__(self, store_uri: str) -> None:
        self.store_uri = store_uri
        self._asked: dict[str, Asked] = {}
        self._lock = threading.Lock()

    def start(self, text: str, rows: int, seconds: float) -> str:
        """Start a query; its id. Raises ValueError with a message for people."""
        if not text.strip():
            raise ValueError("Type a query first.")
        with self._lock:
            if sum(one.reply is None for one in self._asked.values()) >= MOST_AT_ONCE:
                raise ValueError(f"{MOST_AT_ONCE} queries are running already; wait for one, or cancel it.")
            process = subprocess.Popen(
                [sys.executable, "-m", "dashboard.cypher_process"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
            asked = Asked(process, seconds)
            name = uuid.uuid4().hex
            self._asked[name] = asked
            for old in [key for key, one in self._asked.items() if one.reply is not None][:-KEPT]:
                del self._asked[old]
        question = json.dumps({"store": self.store_uri, "text": text, "rows": rows, "seconds": seconds}).encode()
        threading.Thread(target=asked.wait, args=(question,), daemon=True).start()
        return name

    def get(self, name: str) -> Asked | None:
        """The query of that id."""
        return self._asked.get(name)

    def cancel(self, name: str) -> None:
        """End a query."""
        asked = self._asked.get(name)
        if asked is not None and asked.reply is None:
            asked.end()


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """The reply to a question; every failure is a message for people."""
    from flowatlas.errors import FlowatlasError
    from flowatlas.stores import open_store
    from flowatlas.stores.base import Limits

    try:
        with open_store(question["store"]) as store:
            found = store.ask(question["text"], limits=Limits(seconds=question["seconds"], rows=question["rows"]))
    except FlowatlasError as error:
        return {"problem": str(error)}
    return {
        "columns": found.table.column_names,
        "rows": found.table.to_pylist(),
        "truncated": found.truncated,
        "seconds": found.seconds,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(answer(json.loads(sys.stdin.read())), ensure_ascii=False, default=str))
