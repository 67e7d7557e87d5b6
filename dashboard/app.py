"""The Dash application: one page with tabs over one store."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any, Final

import dash_mantine_components as dmc
from dash import Dash, Input, dcc

from dashboard.clientside import connect
from dashboard.desk import Desk
from dashboard.elements.drawing import SIZES
from dashboard.elements.lines import MEANING
from dashboard.jobs import Jobs
from dashboard.pages import compare, cypher, graph, heads, neurons, prompts, queries
from dashboard.palette import themes
from dashboard.serving.health import explain, watch
from dashboard.serving.pictures import draw
from dashboard.serving.safety import protect
from dashboard.source import Source
from dashboard.view import TABS, defaults
from dashboard.widgets import html
from flowatlas.stores.base import Store

NAMES: Final = {
    "graph": "Graph",
    "prompts": "Prompts",
    "heads": "Heads",
    "neurons": "Neurons",
    "compare": "Compare",
    "queries": "Queries",
    "cypher": "Cypher",
}
PAGES: Final = {"graph": graph, "prompts": prompts, "heads": heads, "neurons": neurons, "compare": compare, "queries": queries, "cypher": cypher}
FIELDS: Final = (
    "p-search", "h-token", "r-top", "r-share", "r-layer",
    *(f"{form}-{name}" for form in ("h", "r", "ca", "cb") for name in ("dataset", "group", "correct", "text")),
)  # fmt: skip
"""Controls whose values the address holds together, under `f`."""
KEYS: Final = (
    ("1 … 7", "tabs"),
    ("/", "find a token in the graph, n: the next one"),
    ("s", "summary of the whole model"),
    ("[ ]", "the layer before, the layer after"),
    ("+ − 0", "zoom in, out, fit"),
    ("d", "dark or light"),
    ("Esc", "let go of what is selected"),
    ("?", "this list"),
)


def create_app(store: Store, *, password: str | None = None, desk: Desk | None = None, jobs: Jobs | None = None) -> Dash:
    """The dashboard of a store, as a Dash app (its WSGI application is `.server`).

    With a `password` every request must carry it (HTTP Basic, any user name). Several processes that
    serve the same page share a `desk` and `jobs`; left out, the app has its own and ends them with itself.
    """
    app = Dash(
        __name__,
        title="flowatlas",
        update_title="",
        assets_folder=str(Path(__file__).parent / "assets"),
        serve_locally=True,
        on_error=explain,
    )
    app.index_string = app.index_string.replace("<html>", '<html lang="en">')
    source = Source(store, desk, jobs)
    if desk is None:
        weakref.finalize(app, source.desk.close)
    app.layout = _layout()
    for page in PAGES.values():
        page.register(app, source)
    connect(app, "fields", *(Input(name, "value") for name in FIELDS))
    connect(app, "say", Input("say", "data"))
    connect(app, "start", Input("config", "data"), initially=True)
    watch(app, source)
    draw(app, source)
    protect(app, password)
    return app


def _layout() -> dmc.MantineProvider:
    return dmc.MantineProvider(
        html.Div(
            [
                html.Div(id="fa-banner", role="alert"),
                _header(),
                *(
                    html.Div(page.layout(), hidden=name != "graph", role="tabpanel", **{"data-panel": name, "aria-label": NAMES[name]})
                    for name, page in PAGES.items()
                ),
                html.Div(id="fa-tip", hidden=True),
                html.Div(id="fa-says"),
                _help(),
                *_stores(),
            ],
            id="page",
        ),
        id="mantine",
        forceColorScheme="light",
        theme={"fontFamily": "Inter, Helvetica Neue, Arial, sans-serif", "primaryColor": "dark", "defaultRadius": "md"},
    )


def _stores() -> list[dcc.Store]:
    config = {"defaults": defaults(), "themes": themes(), "tabs": list(TABS), "sizes": SIZES, "meanings": MEANING}
    names = ("view", "tab", "theme", "graph-request", "graph-meta", "drawn", "prompts-changed", "open-prompt", "say")
    return [dcc.Store(id="config", data=config), *(dcc.Store(id=name) for name in names)]


def _header() -> Any:
    tabs = [
        html.Button(NAMES[name], role="tab", type="button", **{"data-tab": name, "aria-selected": "true" if name == "graph" else "false"})
        for name in PAGES
    ]
    find = dmc.TextInput(id="g-find", placeholder="Find token  ( / )", debounce=150, size="xs", w=212, **{"aria-label": "Find a token in the graph"})
    icons = (("g-fit", "⤢", "Fit the graph (0)"), ("theme-flip", "◐", "Dark or light (d)"), ("help-open", "?", "Keyboard (?)"))
    buttons = [html.Button(sign, id=name, title=words, className="fa-icon", **{"aria-label": words}) for name, sign, words in icons]
    return html.Header(
        [
            html.H1([html.Span(className="fa-logo"), "flowatlas", html.Small("follow a forward pass")], className="fa-brand"),
            html.Div(tabs, id="tabs", role="tablist", **{"aria-label": "Pages"}),
            html.Div([html.Div([find, html.Span(id="g-found", role="status")], className="fa-find"), *buttons], className="fa-tools"),
        ],
        id="header",
    )


def _help() -> Any:
    rows = [part for keys, words in KEYS for part in (html.Dt(html.Kbd(keys)), html.Dd(words))]
    return html.Div(html.Div([html.H2("Keyboard"), html.Dl(rows)], role="dialog", **{"aria-label": "Keyboard"}), id="fa-help", hidden=True)
