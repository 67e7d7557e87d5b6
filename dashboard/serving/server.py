"""Run the application: where it may listen, and the server that does it."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
from typing import Final

from dash import Dash

from flowatlas.errors import FlowatlasError, UsageError

THREADS: Final = 16
"""Requests that one process serves at the same time; a person's query runs in a process of its own."""

TLS_HINT: Final = (
    "The connection is not encrypted: put a proxy with TLS in front (Caddy: `reverse-proxy --from your.host --to :8050`; "
    "nginx: `proxy_pass http://127.0.0.1:8050`) and let the dashboard listen on 127.0.0.1 behind it."
)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_address(host: str, password: str | None) -> None:
    """Raises UsageError when listening there would open the data to others without a password."""
    if not is_loopback(host) and not password:
        raise UsageError(
            f"The dashboard would be open to everyone who reaches {host}.",
            known="Only 127.0.0.1 needs no password.",
            next_step="Set FLOWATLAS_DASHBOARD_PASSWORD, or leave --host out.",
        )
    if password is not None and len(password) < 8:
        raise UsageError("The dashboard's password is too short.", known="It needs at least 8 characters.")


def usual_workers() -> int:
    """As many processes as there are processors for, at most four: each holds a few hundred megabytes."""
    return max(1, min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))


def listen(host: str, port: int) -> socket.socket:
    """A socket that workers may share. Raises FlowatlasError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(1024)
    except OSError as error:
        listening.close()
        raise FlowatlasError(
            f"The dashboard cannot listen on {host}:{port}: {error.strerror or error}.",
            next_step="Choose another --port, or stop what listens there.",
        ) from error
    return listening


def serve_socket(app: Dash, listening: socket.socket) -> None:
    """Serve on a listening socket until interrupted."""
    from waitress import serve as run

    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    run(app.server, sockets=[listening], threads=THREADS, ident=None, clear_untrusted_proxy_headers=True)
