"""The graph that the page asks for, by an address of its own.

Elements as a property of a Dash component would be copied into the page's state, compared whole and sent
back with every change. So the page's scripts fetch them here and give them to Cytoscape at once.
"""

from __future__ import annotations

from typing import Final

from dash import Dash
from flask import Response, request

from dashboard.source import Source
from dashboard.view import parse_graph

PATH: Final = "/_flowatlas/graph"


def draw(app: Dash, source: Source) -> None:
    """Answer PATH?p=0&l=2-3&... (the address's own keys) with a `dashboard.picture.Picture` as JSON."""

    @app.server.route(PATH)
    def _draw() -> Response:
        return Response(source.picture(parse_graph(request.args)).json(), mimetype="application/json", headers={"Cache-Control": "no-store"})
