"""Several processes that serve one page: they share a listening socket, a desk and the ingests.

This process binds the socket, keeps what must be the same for all workers (`Shared`, over a local
socket that only its own children know the key of), and starts a worker again that has ended.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.managers import BaseManager
from typing import Any, Final

from dashboard.desk import Desk
from dashboard.jobs import Jobs
from flowatlas.errors import FlowatlasError
from flowatlas.settings import settings

QUICK_END_SECONDS: Final = 5.0
"""A worker that ends sooner than this after its start is broken, not unlucky."""
MOST_QUICK_ENDS: Final = 3
LEAST_BUFFER_MB: Final = 256
log = logging.getLogger(__name__)


class _Offering(BaseManager):
    """The desk and the ingests of this process, for others."""


class _Reaching(BaseManager):
    """The desk and the ingests of another process."""


@dataclass(frozen=True)
class Shared:
    """Where the desk and the ingests are reached, and the key that only this server's processes know."""

    address: str
    key: bytes


def share(desk: Desk, jobs: Jobs) -> Shared:
    """Offer them to other processes of this user, as long as this one lives."""
    _Offering.register("desk", callable=lambda: desk, exposed=("ask", "reply", "cancel", "warm"))
    _Offering.register("jobs", callable=lambda: jobs, exposed=("start", "status"))
    key = secrets.token_bytes(32)
    server = _Offering(authkey=key).get_server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return Shared(str(server.address), key)


def reach(shared: Shared) -> tuple[Desk, Jobs]:
    """What another process offers; calls go there."""
    _Reaching.register("desk")
    _Reaching.register("jobs")
    manager: Any = _Reaching(address=shared.address, authkey=shared.key)
    manager.connect()
    return manager.desk(), manager.jobs()


class Crew:
    """The workers: `run` keeps them running until it is interrupted."""

    def __init__(self, uri: str, listening: socket.socket, workers: int, password: str | None) -> None:
        self._uri = uri
        self._listening = listening
        self._count = workers
        self._password = password
        self._workers: list[tuple[subprocess.Popen[bytes], float]] = []
        self._quick_ends = 0

    def run(self, ready: Callable[[], None]) -> None:
        """Serve; `ready` is called when the first worker answers. Raises FlowatlasError when they keep ending."""
        desk = Desk(self._uri)
        shared = share(desk, Jobs(self._uri))
        try:
            self._workers = [self._started(shared) for _ in range(self._count)]
            self._await_first()
            ready()
            while True:
                time.sleep(0.5)
                self._replace_ended(shared)
        finally:
            for process, _ in self._workers:
                process.terminate()
            for process, _ in self._workers:
                _end(process)
            desk.close()

    def _started(self, shared: Shared) -> tuple[subprocess.Popen[bytes], float]:
        buffer = max(LEAST_BUFFER_MB, settings().ladybug_buffer_mb // self._count)
        process = subprocess.Popen(
            [sys.executable, "-m", "dashboard.serving.worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[self._listening.fileno()], start_new_session=True,
            env={**os.environ, "FLOWATLAS_LADYBUG_BUFFER_MB": str(buffer)},
        )  # fmt: skip
        told = {"store": self._uri, "socket": self._listening.fileno(), "password": self._password,
                "shared": shared.address, "key": shared.key.hex()}  # fmt: skip
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            # It stays open: a worker ends when this process has gone.
            process.stdin.write(json.dumps(told).encode() + b"\n")
            process.stdin.flush()
        return process, time.monotonic()

    def _await_first(self) -> None:
        first = self._workers[0][0]
        assert first.stdout is not None
        if not first.stdout.readline():
            raise FlowatlasError(f"The dashboard's worker ended with code {first.wait()}.", next_step="Its message is above; --workers 1 serves without workers.")

    def _replace_ended(self, shared: Shared) -> None:
        for index, (process, since) in enumerate(self._workers):
            if process.poll() is None:
                continue
            quick = time.monotonic() - since < QUICK_END_SECONDS
            self._quick_ends = self._quick_ends + 1 if quick else 0
            if self._quick_ends >= MOST_QUICK_ENDS:
                raise FlowatlasError(f"The dashboard's workers keep ending (code {process.returncode}).", next_step="Their message is above.")
            log.warning("a worker ended with code %s; another takes its place", process.returncode)
            _end(process)
            self._workers[index] = self._started(shared)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
