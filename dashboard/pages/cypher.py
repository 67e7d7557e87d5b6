"""The Cypher tab: a read-only editor with history, limits, cancel, and a table or a graph as result."""

from __future__ import annotations

from typing import Any, Final

import dash_cytoscape as cyto
import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, dcc, no_update

from dashboard.clientside import connect
from dashboard.cypher_graph import graph_of
from dashboard.cypher_process import Cyphers
from dashboard.pages.queries import ANSWER, column, shown
from dashboard.source import Source
from dashboard.widgets import grid, html
from flowatlas.settings import settings

ROWS: Final = 5000
EXAMPLES: Final = {
    "heads that say the target": "MATCH (h:Head)-[c:CONCATENATES]->(:State)\nWHERE h.target_rank = 1\n"
    "RETURN h.layer AS layer, h.head AS head, count(h) AS prompts, avg(c.contribution) AS contribution\nORDER BY prompts DESC LIMIT 20",
    "where the answer rises": "MATCH (s:State) WHERE s.kind = 'residual_post'\n"
    "RETURN s.layer AS layer, avg(s.target_prob) AS p, count(CASE WHEN s.target_rank = 1 THEN 1 END) AS first\nORDER BY layer",
    "memories of a head, as a graph": "MATCH (q:Query)-[a:ATTENDS]->(k:Key)\nWHERE q.prompt = 0 AND q.layer = 2\n"
    "RETURN q.id AS `from`, k.id AS `to`, a.score AS score",
}


def limits() -> tuple[int, float]:
    """Rows and seconds that a query on the page may take."""
    return min(ROWS, settings().query_rows), settings().query_timeout


def layout() -> Any:
    """The tab."""
    rows, seconds = limits()
    editor = html.Div(
        [
            dmc.Textarea(id="y-text", label="Cypher, read-only", autosize=True, minRows=5, maxRows=14, value="", placeholder="MATCH (h:Head) RETURN h.layer, count(h)", className="fa-editor", spellCheck="false"),
            html.Div(
                [
                    html.Button("Run (Ctrl Enter)", id="y-run", className="fa-button strong"),
                    html.Button("Cancel", id="y-cancel", className="fa-button", disabled=True),
                    dmc.SegmentedControl(id="y-shape", data=[{"value": "table", "label": "Table"}, {"value": "graph", "label": "Graph"}], value="table", size="xs"),
                    html.Button("Save CSV", id="y-csv", className="fa-button"),
                    html.Span(f"at most {rows:,} rows and {seconds:g} s", className="fa-note"),
                    html.Span(id="y-note", role="status"),
                ],
                className="fa-row fa-center",
            ),
            html.Div(grid("y-grid", ANSWER, columnSize=None), id="y-table", className="fa-grow"),
            html.Div(_canvas(), id="y-graph", className="fa-grow fa-canvas", hidden=True),
            dcc.Store(id="y-question"),
            dcc.Store(id="y-asked"),
            dcc.Store(id="y-meta"),
            dcc.Interval(id="y-tick", interval=250, disabled=True),
        ],
        className="fa-stack",
    )
    history = html.Nav([html.H4("Examples"), *_examples(), html.H4("History"), html.Div(id="y-history")], className="fa-list", **{"aria-label": "Examples and history"})
    return html.Main(html.Div([history, editor], className="fa-columns"), className="fa-page")


def _canvas() -> Any:
    return cyto.Cytoscape(
        id="cy2", elements=[], stylesheet=[], layout={"name": "preset"}, autoRefreshLayout=False, autoungrabify=True,
        boxSelectionEnabled=False, style={"width": "100%", "height": "100%"},
    )  # fmt: skip


def _examples() -> list[Any]:
    return [html.Button(name, className="fa-item fa-words", title=text, **{"data-cypher": text}) for name, text in EXAMPLES.items()]


def register(app: Dash, source: Source) -> None:
    """Connect the tab."""
    cyphers = Cyphers(source.store.uri)

    @app.callback(
        Output("y-asked", "data"), Output("y-tick", "disabled"), Output("y-cancel", "disabled"), Output("y-note", "children"),
        Input("y-question", "data"), prevent_initial_call=True,
    )  # fmt: skip
    def _run(question: dict[str, Any]) -> Any:
        try:
            return cyphers.start(question["text"], *limits()), False, False, "running …"
        except ValueError as error:
            return no_update, True, True, html.Span(str(error), className="fa-error")

    @app.callback(
        Output("y-grid", "rowData"), Output("y-grid", "columnDefs"), Output("cy2", "elements"), Output("y-meta", "data"),
        Output("y-tick", "disabled", allow_duplicate=True), Output("y-cancel", "disabled", allow_duplicate=True),
        Output("y-note", "children", allow_duplicate=True),
        Input("y-tick", "n_intervals"), State("y-asked", "data"), prevent_initial_call=True,
    )  # fmt: skip
    def _watch(_: Any, name: str | None) -> Any:
        return _progress(source, cyphers, name)

    @app.callback(Output("y-cancel", "n_clicks"), Input("y-cancel", "n_clicks"), State("y-asked", "data"), prevent_initial_call=True)
    def _cancel(_: Any, name: str | None) -> Any:
        cyphers.cancel(name or "")
        return no_update

    connect(app, "cypherDrawn", Input("y-meta", "data"))
    connect(app, "cypherShape", Input("y-shape", "value"))
    connect(app, "cypherText", Input("y-text", "value"))
    connect(app, "queryCell", Input("y-grid", "cellClicked"))


def _progress(source: Source, cyphers: Cyphers, name: str | None) -> Any:
    """Rows, columns, elements, meta, ticking, cancel, note."""
    asked = cyphers.get(name) if name else None
    if asked is None:
        return no_update, no_update, no_update, no_update, True, True, ""
    reply = asked.reply
    if reply is None:
        return no_update, no_update, no_update, no_update, False, False, no_update
    if "problem" in reply:
        return [], [], [], {"boxes": 0, "lines": 0}, True, True, html.Span(reply["problem"], className="fa-error")
    rows = [{key: shown(value) for key, value in row.items()} for row in reply["rows"]]
    columns = [column(one, "", rows) for one in reply["columns"]]
    drawn, words = graph_of(source.store, reply["rows"])
    note = f"{len(rows):,} rows in {reply['seconds']:.2f} s" + (", cut at the limit" if reply["truncated"] else "")
    lines = sum(one["group"] == "edges" for one in drawn)
    return rows, columns, drawn, {"boxes": len(drawn) - lines, "lines": lines, "words": words}, True, True, note
