"""The Heads tab: a map of layer by head over chosen prompts, and one head over its prompts."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, dcc

from dashboard.clientside import connect
from dashboard.measures import MEASURES, choices, head_map, head_values
from dashboard.selecting import form, inputs, selection
from dashboard.source import Source
from dashboard.widgets import grid, html, number, select

COLUMNS = (
    {"field": "text", "headerName": "Prompt", "flex": 3, "minWidth": 180, "cellClass": "fa-link", "tooltipField": "text"},
    {"field": "target", "headerName": "Target", "flex": 1, "minWidth": 84},
    {"field": "top_token", "headerName": "Head says", "flex": 1, "minWidth": 90},
    number("rank", "Rank", ",d", 84),
    number("prob", "p(target)", ".1%", 96),
    number("contribution", "Contribution", "+.3f", 128),
    number("norm", "Norm", ".3f", 84),
)


def layout() -> Any:
    """The tab."""
    controls = html.Aside(
        [
            select("h-measure", "Show", MEASURES, "promotes"),
            html.Div(dmc.TextInput(id="h-token", label="Token", placeholder="Japan", size="xs", debounce=300), id="h-token-box", hidden=True),
            form("h"),
            html.P(id="h-note", className="fa-note", role="status"),
        ],
        className="fa-controls",
    )
    main = html.Div(
        [
            html.Div(id="h-map", className="fa-map", role="grid", **{"aria-label": "Heads by layer"}),
            html.Div(
                [html.H2("Click a head to see it over the prompts", id="h-title"),
                 html.Button("Save CSV", id="h-csv", className="fa-button")], className="fa-row fa-split",
            ),
            html.Div(grid("h-grid", COLUMNS, columnSize=None), className="fa-grow"),
            dcc.Store(id="h-data"),
            dcc.Store(id="h-cell"),
        ],
        className="fa-stack",
    )  # fmt: skip
    return html.Main(html.Div([controls, main], className="fa-columns"), className="fa-page")


def register(app: Dash, source: Source) -> None:
    """Connect the tab."""

    @app.callback(
        *(Output(f"{prefix}-{name}", "data") for prefix in ("h", "r", "ca", "cb") for name in ("dataset", "group")),
        Input("prompts-changed", "data"),
    )
    def _choices(_: Any) -> Any:
        known = choices(source.store)
        return (known["dataset"], known["group"]) * 4

    @app.callback(
        Output("h-data", "data"), Input("tab", "data"), Input("h-measure", "value"), Input("h-token", "value"), *inputs("h")
    )
    def _map(tab: str, measure: str, token: str | None, *chosen: Any) -> Any:
        return None if tab != "heads" else the_map(source, measure, token, *chosen)

    @app.callback(Output("h-grid", "rowData"), Input("h-cell", "data"), *inputs("h"), prevent_initial_call=True)
    def _values(cell: dict[str, int] | None, *chosen: Any) -> Any:
        return head_values(source.store, selection(*chosen), int(cell["layer"]), int(cell["head"])) if cell else []

    connect(app, "heads", Input("h-data", "data"))
    connect(app, "headCell", Input("h-grid", "cellClicked"))


def the_map(source: Source, measure: str, token: str | None, *chosen: Any) -> dict[str, Any]:
    """Rows of the map with the words that go with them."""
    known = measure if measure in MEASURES else "promotes"
    if known == "attention" and not (token or "").strip():
        return {"rows": [], "measure": known, "words": MEASURES[known], "note": "Type a token to see which heads look at it."}
    rows = head_map(source.store, selection(*chosen), known, token)
    count = max((row["prompts"] for row in rows), default=0)
    note = f"{count:,} prompts" if rows else "No prompt fits this selection."
    return {"rows": rows, "measure": known, "words": MEASURES[known], "note": note}
