"""One of several processes that serve the page: `python -m dashboard.serving.worker`, started by `dashboard.serving.crew`.

Stdin tells it what to serve, and ends when the process that started it has gone.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading

from dashboard.app import create_app
from dashboard.serving.crew import Shared, reach
from dashboard.serving.server import serve_socket
from flowatlas.errors import FlowatlasError
from flowatlas.stores import open_store


def _end_with_starter() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def main() -> int:
    """Serve until terminated; the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    told = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_starter, daemon=True).start()
    desk, jobs = reach(Shared(told["shared"], bytes.fromhex(told["key"])))
    try:
        with open_store(told["store"]) as store:
            app = create_app(store, password=told["password"], desk=desk, jobs=jobs)
            # Everything that is made at the first page must be there when a script is asked for first.
            app.server.test_client().get("/")
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            serve_socket(app, socket.socket(fileno=told["socket"]))
    except FlowatlasError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
