"""The Prompts tab: every prompt of the store, and typing a new one."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, dcc, no_update

from dashboard.clientside import connect
from dashboard.jobs import Jobs
from dashboard.source import Source
from dashboard.widgets import grid, html
from flowatlas.settings import settings

COLUMNS = (
    {"field": "id", "headerName": "id", "width": 70, "filter": "agNumberColumnFilter"},
    {"field": "text", "headerName": "Prompt", "flex": 4, "minWidth": 240, "tooltipField": "text", "cellClass": "fa-link"},
    {"field": "target", "headerName": "Target", "flex": 1.2, "minWidth": 90},
    {"field": "foil", "headerName": "Foil", "flex": 1, "minWidth": 80},
    {"field": "predicted", "headerName": "Predicted", "flex": 1.2, "minWidth": 90},
    {
        "field": "target_prob",
        "headerName": "p(target)",
        "width": 104,
        "filter": "agNumberColumnFilter",
        "type": "rightAligned",
        "valueFormatter": {"function": "d3.format('.1%')(params.value)"},
    },
    {"field": "target_rank", "headerName": "Rank", "width": 84, "filter": "agNumberColumnFilter", "type": "rightAligned"},
    {
        "colId": "correct",
        "headerName": "Correct",
        "width": 96,
        "cellDataType": False,
        "valueGetter": {"function": "params.data.correct ? 'yes' : 'no'"},
    },
    {"field": "dataset", "headerName": "Data set", "flex": 1.2, "minWidth": 100},
    {"field": "group", "headerName": "Group", "flex": 1.4, "minWidth": 100},
    {"field": "n_tokens", "headerName": "Tokens", "width": 84, "filter": "agNumberColumnFilter", "type": "rightAligned"},
)


def layout() -> Any:
    """The tab."""
    options = {
        "rowSelection": {"mode": "multiRow", "checkboxes": True, "headerCheckbox": False, "enableClickSelection": False},
        "enableBrowserTooltips": True,
    }
    return html.Main(
        [
            _form(),
            html.Div(
                [
                    dmc.TextInput(id="p-search", placeholder="Search all columns", debounce=150, size="xs", w=260, **{"aria-label": "Search prompts in all columns"}),
                    html.Button("Open", id="p-open", className="fa-button strong", title="Open the graph of the selected prompt"),
                    html.Button("Side by side", id="p-compare", className="fa-button", title="Compare two selected prompts"),
                    html.Button("CSV", id="p-csv", className="fa-button", title="Save the table as CSV"),
                    html.Span(id="p-count", className="fa-note", role="status"),
                ],
                className="fa-row",
            ),
            html.Div(
                grid("p-grid", COLUMNS, options=options, columnSize=None, getRowId="params.data.id + ''", default={"floatingFilter": True}),
                className="fa-grow",
            ),
        ],
        className="fa-page",
    )


def _form() -> Any:
    return html.Section(
        [
            html.H2("Type a prompt"),
            html.Div(
                [
                    dmc.TextInput(id="n-text", label="Prompt", placeholder="The capital of Japan is the city of", size="sm", className="fa-grow"),
                    dmc.TextInput(id="n-target", label="Target (optional)", placeholder=" Tokyo", size="sm", w=150),
                    dmc.TextInput(id="n-foil", label="Foil (optional)", placeholder=" Osaka", size="sm", w=150),
                    dmc.TextInput(id="n-model", label="Model", value=settings().model, size="sm", w=150),
                    html.Button("Run and ingest", id="n-run", className="fa-button strong fa-tall"),
                ],
                className="fa-row",
            ),
            html.Div(
                [dmc.Progress(id="n-bar", value=0, size="sm", color="var(--amber)", className="fa-grow", **{"aria-label": "Progress"}), html.Span(id="n-words", role="status")],
                id="n-progress",
                hidden=True,
                className="fa-row fa-progress",
            ),
            dcc.Store(id="n-job"),
            dcc.Interval(id="n-tick", interval=400, disabled=True),
        ],
        className="fa-box",
    )


def register(app: Dash, source: Source) -> None:
    """Connect the tab."""
    jobs = source.jobs

    @app.callback(Output("p-grid", "rowData"), Output("g-prompts", "rowData"), Input("prompts-changed", "data"))
    def _list(_: Any) -> Any:
        rows = source.prompts()
        return rows, rows

    @app.callback(
        Output("n-job", "data"), Output("n-tick", "disabled"), Output("say", "data", allow_duplicate=True),
        Input("n-run", "n_clicks"), State("n-text", "value"), State("n-target", "value"), State("n-foil", "value"), State("n-model", "value"),
        prevent_initial_call=True,
    )  # fmt: skip
    def _run(_: Any, text: str | None, target: str | None, foil: str | None, model: str | None) -> Any:
        try:
            return jobs.start(text or "", target, foil, (model or "").strip() or settings().model), False, no_update
        except ValueError as error:
            return no_update, no_update, {"text": str(error), "kind": "error"}

    @app.callback(
        Output("n-bar", "value"), Output("n-words", "children"), Output("n-progress", "hidden"),
        Output("n-tick", "disabled", allow_duplicate=True), Output("prompts-changed", "data"), Output("open-prompt", "data"),
        Input("n-tick", "n_intervals"), State("n-job", "data"), prevent_initial_call=True,
    )  # fmt: skip
    def _watch(_: Any, name: str | None) -> Any:
        return _progress(jobs, source, name)

    connect(app, "openPrompt", Input("p-grid", "cellDoubleClicked"))
    connect(app, "promptCell", Input("p-grid", "cellClicked"))
    connect(app, "promptButtons", Input("p-grid", "selectedRows"))
    connect(app, "filterAll", Input("p-search", "value"))
    connect(app, "countRows", Input("p-grid", "virtualRowData"))
    connect(app, "openTyped", Input("open-prompt", "data"))


def _progress(jobs: Jobs, source: Source, name: str | None) -> Any:
    """Bar, words, hidden, ticking, prompts changed, prompt to open."""
    job = jobs.status(name) if name else None
    if job is None:
        return 0, "", True, True, no_update, no_update
    if job.state == "running":
        return job.percent, f"{job.words} · {job.seconds:.0f} s", False, False, no_update, no_update
    if job.state == "failed":
        return 100, html.Span(job.problem, className="fa-error"), False, True, no_update, no_update
    source.forget()
    opened = source.newest(job.text)
    return 100, f"done in {job.seconds:.1f} s", False, True, {"prompt": opened}, opened
