"""The Cypher tab: a read-only editor with history, limits, cancel, and a table or a graph as result."""

from __future__ import annotations

from typing import Any, Final

import dash_cytoscape as cyto
import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, dcc, no_update

from dashboard.clientside import connect
from dashboard.cypher_graph import graph_of
from dashboard.desk import Reply
from dashboard.pages.queries import ANSWER, QUICK, column, shown
from dashboard.source import Source
from dashboard.widgets import grid, html
from flowatlas.settings import settings
from flowatlas.stores.base import Limits

ROWS: Final = 5000
EXAMPLES: Final = {
    "heads that say the target": "MATCH (h:Head)-[c:CONCATENATES]->(:State)\nWHERE h.target_rank = 1\n"
    "RETURN h.layer AS layer, h.head AS head, count(h) AS prompts, avg(c.contribution) AS contribution\nORDER BY prompts DESC LIMIT 20",
    "where the answer rises": "MATCH (s:State) WHERE s.kind = 'residual_post'\n"
    "RETURN s.layer AS layer, avg(s.target_prob) AS p, count(CASE WHEN s.target_rank = 1 THEN 1 END) AS first\nORDER BY layer",
    "memories of a head, as a graph": "MATCH (q:Query)-[a:ATTENDS]->(k:Key)\nWHERE q.prompt = 0 AND q.layer = 2\n"
    "RETURN q.id AS `from`, k.id AS `to`, a.score AS score",
}




def limits() -> Limits:
    """What a query on the page may take."""
    own = settings()
    return Limits(own.query_timeout, min(ROWS, own.query_rows), own.query_memory_mb)


def layout() -> Any:
    """The tab."""
    allowed = limits()
    editor = html.Div(
        [
            dmc.Textarea(id="y-text", label="Cypher, read-only", autosize=True, minRows=5, maxRows=14, value="", placeholder="MATCH (h:Head) RETURN h.layer, count(h)", className="fa-editor", spellCheck="false"),
            html.Div(
                [
                    html.Button("Run (Ctrl Enter)", id="y-run", className="fa-button strong"),
                    html.Button("Cancel", id="y-cancel", className="fa-button", disabled=True),
                    dmc.SegmentedControl(id="y-shape", data=[{"value": "table", "label": "Table"}, {"value": "graph", "label": "Graph"}], value="table", size="xs"),
                    html.Button("Save CSV", id="y-csv", className="fa-button"),
                    html.Span(f"at most {allowed.rows:,} rows and {allowed.seconds:g} s", className="fa-note"),
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

    def shown_in(*, again: bool) -> list[Output]:
        places = (("y-grid", "rowData"), ("y-grid", "columnDefs"), ("cy2", "elements"), ("y-meta", "data"), ("y-tick", "disabled"), ("y-cancel", "disabled"), ("y-note", "children"))
        return [Output(name, prop, allow_duplicate=again) for name, prop in places]

    @app.callback(Output("y-asked", "data"), *shown_in(again=False), Input("y-question", "data"), prevent_initial_call=True)
    def _run(question: dict[str, Any]) -> Any:
        if not question["text"].strip():
            return no_update, *_said("Type a query first.")
        try:
            name = source.desk.ask("cypher", question["text"], {}, limits())
        except ValueError as error:
            return no_update, *_said(str(error))
        return name, *_progress(source, name, QUICK)

    @app.callback(*shown_in(again=True), Input("y-tick", "n_intervals"), State("y-asked", "data"), prevent_initial_call=True)
    def _watch(_: Any, name: str | None) -> Any:
        return _progress(source, name)

    @app.callback(Output("y-cancel", "n_clicks"), Input("y-cancel", "n_clicks"), State("y-asked", "data"), prevent_initial_call=True)
    def _cancel(_: Any, name: str | None) -> Any:
        source.desk.cancel(name or "")
        return no_update

    @app.callback(Output("y-asked", "id"), Input("tab", "data"), prevent_initial_call=True)
    def _warm(tab: str) -> Any:
        if tab == "cypher":
            source.desk.warm("cypher", limits().memory_mb)
        return no_update

    connect(app, "cypherDrawn", Input("y-meta", "data"))
    connect(app, "cypherShape", Input("y-shape", "value"))
    connect(app, "cypherText", Input("y-text", "value"))
    connect(app, "queryCell", Input("y-grid", "cellClicked"))


def _progress(source: Source, name: str | None, wait: float = 0.0) -> Any:
    """Rows, columns, elements, meta, whether ticking is off, whether cancelling is off, note."""
    reply = source.desk.reply(name, wait) if name else None
    if reply == "running":
        return no_update, no_update, no_update, no_update, False, False, "running …"
    if not isinstance(reply, Reply):
        return no_update, no_update, no_update, no_update, True, True, ""
    if reply.problem:
        return [], [], [], {"boxes": 0, "lines": 0, "asked": name}, True, True, html.Span(reply.problem, className="fa-error")
    rows = [{key: shown(value) for key, value in row.items()} for row in reply.rows]
    columns = [column(one, "", rows) for one in reply.columns]
    drawn, words = graph_of(source.store, reply.rows)
    note = f"{len(rows):,} rows in {reply.seconds:.2f} s" + (", cut at the limit" if reply.truncated else "")
    lines = sum(one["group"] == "edges" for one in drawn)
    return rows, columns, drawn, {"boxes": len(drawn) - lines, "lines": lines, "words": words, "asked": name}, True, True, note


def _said(problem: str) -> tuple[Any, ...]:
    """What `_progress` gives when nothing was asked."""
    return no_update, no_update, no_update, no_update, True, True, html.Span(problem, className="fa-error")
