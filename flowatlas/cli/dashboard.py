"""`flowatlas dashboard`: the page over a store."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from flowatlas.cli.console import people


def register(app: typer.Typer) -> None:
    """Add `dashboard`."""
    app.command(name="dashboard")(dashboard)


def dashboard(
    host: Annotated[
        str, typer.Option(help="Address to listen on; another than loopback needs a password.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8050,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URI", help="Store: a path or neo4j://host:7687/database [FLOWATLAS_STORE].", show_default=False
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes that serve the page [one a processor, at most 4].", min=1, max=64, show_default=False),
    ] = None,
) -> None:
    """Show the store in a browser: see a forward pass, follow it, compare it, ask about it.

    A dashboard on another address than loopback asks for the password in FLOWATLAS_DASHBOARD_PASSWORD.
    """
    from dashboard.serving.crew import Crew
    from dashboard.serving.server import TLS_HINT, check_address, is_loopback, listen, serve_socket, usual_workers
    from flowatlas.settings import settings
    from flowatlas.stores import open_store

    secret = settings().dashboard_password
    password = secret.get_secret_value() if secret else None
    check_address(host, password)
    uri = store or settings().store
    with listen(host, port) as listening:
        shown = f"[{host}]" if ":" in host else host

        def ready() -> None:
            people.print(f"flowatlas dashboard on http://{shown}:{port} (store {uri}; stop with Ctrl-C)")
            if not is_loopback(host):
                people.print(f"[yellow]{TLS_HINT}[/]")

        if (workers or usual_workers()) > 1:
            open_store(uri).close()
            with contextlib.suppress(KeyboardInterrupt):
                Crew(uri, listening, workers or usual_workers(), password).run(ready)
            return
        with open_store(uri) as opened:
            from dashboard.app import create_app

            app = create_app(opened, password=password)
            ready()
            serve_socket(app, listening)
