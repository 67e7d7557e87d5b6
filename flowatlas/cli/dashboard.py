"""`flowatlas dashboard`: the page over a store."""

from __future__ import annotations

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
) -> None:
    """Show the store in a browser: see a forward pass, follow it, compare it, ask about it.

    A dashboard on another address than loopback asks for the password in FLOWATLAS_DASHBOARD_PASSWORD.
    """
    from dashboard.serving.server import TLS_HINT, check_address, is_loopback, serve
    from flowatlas.settings import settings
    from flowatlas.stores import open_store

    secret = settings().dashboard_password
    password = secret.get_secret_value() if secret else None
    check_address(host, port, password)
    with open_store(store or settings().store) as opened:
        from dashboard.app import create_app

        app = create_app(opened, password=password)
        shown = f"[{host}]" if ":" in host else host
        people.print(f"flowatlas dashboard on http://{shown}:{port} (store {opened.uri}; stop with Ctrl-C)")
        if not is_loopback(host):
            people.print(f"[yellow]{TLS_HINT}[/]")
        serve(app, host, port)
