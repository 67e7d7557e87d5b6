"""Processes to be killed or cramped, forked from a server that has imported what they need: started in milliseconds.

The server is a fresh interpreter, so that no thread of this process (and no lock of one) is inherited.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from flowatlas.errors import FlowatlasError
from flowatlas.settings import settings
from support.fork_server import forked_from

_MODULES = ("pytest", "flowatlas.stores.ladybug", "flowatlas.stores.neo4j", "flowatlas.shards", __name__, "support.loader")


@dataclass
class Child:
    """A process that runs `function(tell, *arguments)`; what it told so far is in `told`."""

    process: BaseProcess
    pipe: Connection
    told: list[str] = field(default_factory=list)

    def hear(self, timeout: float = 60.0) -> str:
        """The next thing it tells; an empty string when it has ended."""
        if not self.pipe.poll(timeout):
            raise TimeoutError(f"A child was silent for {timeout} s.")
        try:
            self.told.append(self.pipe.recv())
        except EOFError:
            return ""
        return self.told[-1]

    def kill_after(self, seconds: float) -> list[str]:
        """Kill the process (-9) after a while; all that it told."""
        time.sleep(seconds)
        self.process.kill()
        return self.finish()[0]

    def finish(self, timeout: float = 240.0) -> tuple[list[str], int]:
        """Wait for its end: all that it told, and its exit code."""
        while self.hear(timeout):
            pass
        self.process.join(timeout)
        code = self.process.exitcode
        assert code is not None
        self.pipe.close()
        return self.told, code


def child(function: Callable[..., None], *arguments: object) -> Child:
    """Start `function`, one of a module that can be imported, with a `tell` for its first argument.

    What it raises of the project's errors is told as text, and its exit code is then 1.
    """
    context = forked_from(*_MODULES)
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(theirs, dict(os.environ), function, arguments), daemon=True)
    process.start()
    theirs.close()
    return Child(process, ours)


def _run(
    pipe: Connection, environment: Mapping[str, str], function: Callable[..., None], arguments: tuple[object, ...]
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    settings.cache_clear()
    try:
        function(pipe.send, *arguments)
    except FlowatlasError as error:
        pipe.send(f"error: {error}")
        raise SystemExit(1) from None
