"""Connect the page's own scripts (assets/70_callbacks.js)."""

from __future__ import annotations

from typing import Any

from dash import ClientsideFunction, Dash, Output


def connect(app: Dash, name: str, *inputs: Any, initially: bool = False) -> None:
    """Call the script function `name` when an input changes; it acts on the page itself and outputs nothing."""
    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("fa", name),
        Output("drawn", "data", allow_duplicate=True),
        *inputs,
        prevent_initial_call="initial_duplicate" if initially else True,
    )
