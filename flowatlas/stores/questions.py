"""Questions of people, answered by a process of their own.

That process looks at the text and at the plan before it runs anything (the stores' guards), and is
killed when it takes too long or too much memory: neither a crash nor a runaway query nor a huge
answer reaches the process that asked.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Final

import psutil
import pyarrow as pa

from flowatlas.errors import QueryError
from flowatlas.stores.base import Answer, Limits, Parameter

_TICK: Final = 0.02
_BASE_MB: Final = 256
"""What the process takes before it runs a query, and may take beside the database's own memory."""


class Questions:
    """Runs one question at a time in a process that lives until it is killed or `close` is called.

    `module` is what the process runs (`python -m module STORE MEMORY_MB`), `store` what it opens.
    """

    def __init__(self, module: str, store: str) -> None:
        self._module = module
        self._store = store
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._memory_mb = 0

    def ask(self, text: str, parameters: Mapping[str, Parameter], limits: Limits) -> Answer:
        """The answer within `limits`. Raises QueryError."""
        with self._lock:
            process = self._started(limits.memory_mb)
            stop = _Watch(process, limits)
            try:
                reply = _exchange(
                    process,
                    {"text": text, "parameters": dict(parameters), "rows": limits.rows, "seconds": limits.seconds},
                )
            finally:
                reason = stop.finish()
            if reason or reply is None:
                self._kill()
                raise QueryError(
                    reason or "The query made the database end.", next_step="Ask for less, or with a LIMIT."
                )
            if isinstance(reply, QueryError):
                raise reply
            return reply

    def start(self, memory_mb: int = Limits().memory_mb) -> None:
        """Start the process now, so that the first question does not wait for it."""
        with self._lock:
            self._started(memory_mb)

    def stop(self) -> None:
        """End the question that is running, from another thread: whoever asked gets a QueryError."""
        process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._kill()

    def _started(self, memory_mb: int) -> subprocess.Popen[bytes]:
        if self._process is not None and (self._process.poll() is not None or memory_mb != self._memory_mb):
            self._kill()
        if self._process is None:
            command = [sys.executable, "-m", self._module, self._store, str(memory_mb)]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            self._memory_mb = memory_mb
            # Its start does not count as the first question's time.
            assert self._process.stdout is not None
            self._process.stdout.readline()
        return self._process

    def _kill(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                # What is left of a question that it never read goes nowhere.
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        self._process = None


class _Watch:
    """Kills a process that runs or grows beyond its limits, and remembers why."""

    def __init__(self, process: subprocess.Popen[bytes], limits: Limits) -> None:
        self._process = process
        self._limits = limits
        self._reason = ""
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def finish(self) -> str:
        """Stop watching; why the process was killed, or an empty string."""
        self._done.set()
        self._thread.join()
        return self._reason

    def _watch(self) -> None:
        deadline = time.monotonic() + self._limits.seconds
        allowed = (self._limits.memory_mb + _BASE_MB) << 20
        while not self._done.wait(_TICK):
            if time.monotonic() > deadline:
                self._reason = f"The query was stopped after {self._limits.seconds:g} seconds."
            elif _memory(self._process.pid) > allowed:
                self._reason = f"The query was stopped: it needs more than {self._limits.memory_mb} MiB of memory."
            if self._reason:
                self._process.kill()
                return


def _memory(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _exchange(process: subprocess.Popen[bytes], question: Mapping[str, object]) -> Answer | QueryError | None:
    """Send a question and wait for the reply; None when the process ended."""
    assert process.stdin is not None
    assert process.stdout is not None
    start = time.monotonic()
    try:
        process.stdin.write(json.dumps(question).encode() + b"\n")
        process.stdin.flush()
        head = json.loads(process.stdout.readline() or "null")
        if head is None:
            return None
        if "problem" in head:
            return QueryError(**head)
        payload = process.stdout.read(head["bytes"])
        table = pa.ipc.open_stream(payload).read_all()
    except (OSError, ValueError, pa.ArrowException):
        return None
    return Answer(table, truncated=head["truncated"], seconds=time.monotonic() - start)
