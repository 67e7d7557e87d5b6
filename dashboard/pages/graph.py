"""The Graph tab: a prompt's flow graph, what is shown of it, and what is hidden."""

from __future__ import annotations

from typing import Any

import dash_cytoscape as cyto
import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, ctx, dcc, no_update

from dashboard.clientside import connect
from dashboard.exports import FORMATS, export
from dashboard.source import Source
from dashboard.view import COLOURS, GraphView, parse_graph
from dashboard.widgets import box, grid, html, select, slider
from flowatlas.errors import FlowatlasError

CONTROLS = ("g-layers", "g-pos", "g-neg", "g-mem", "g-heads", "g-head-count", "g-score", "g-parts", "g-color", "g-keys")


def layout() -> Any:
    """The tab; its graph stays mounted when another tab is shown."""
    return html.Div(
        [
            html.Aside(
                [_prompts(), _layers(), _amounts(), _colours(), _exports()], className="fa-side", **{"aria-label": "Graph controls"}
            ),
            html.Main([_heading(), _canvas(), html.Div(id="g-legend", role="note")], className="fa-main"),
            html.Aside(id="fa-inspector", **{"aria-label": "Inspector"}),
        ],
        className="fa-graph",
    )


def _prompts() -> Any:
    columns = [
        {"field": "text", "headerName": "Prompt", "flex": 3, "tooltipField": "text", "filter": False},
        {"field": "target", "headerName": "Target", "flex": 2, "filter": False},
    ]
    options = {"rowSelection": {"mode": "singleRow", "checkboxes": False, "enableClickSelection": True}, "rowHeight": 28, "headerHeight": 28}
    return box(
        "Prompts",
        dmc.TextInput(id="g-search", placeholder="Search prompts", debounce=150, size="xs", mb=6, **{"aria-label": "Search prompts"}),
        html.Div(grid("g-prompts", columns, options=options, columnSize=None, getRowId="params.data.id + ''"), className="fa-prompts"),
    )


def _layers() -> Any:
    return box(
        "Layers",
        dmc.RangeSlider(
            id="g-layers", min=0, max=11, value=[0, 11], minRange=0, step=1, size="sm", color="var(--control)",
            updatemode="mouseup", marks=[], thumbFromLabel="First layer", thumbToLabel="Last layer", mb=20, mt=4,
        ),
        html.Button("Summary of the whole model", id="g-overview", className="fa-button fa-wide", **{"aria-pressed": "true"}),
    )  # fmt: skip


def _amounts() -> Any:
    view = GraphView()
    return box(
        "Show",
        dmc.ChipGroup(
            dmc.Group(
                [
                    dmc.Chip("attention", value="attention", size="xs", color="dark"),
                    dmc.Chip("queries, keys", value="qk", size="xs", color="dark"),
                    dmc.Chip("MLP", value="mlp", size="xs", color="dark"),
                ],
                gap=4,
            ),
            id="g-parts",
            multiple=True,
            value=["attention", "qk", "mlp"],
        ),
        slider("g-pos", "Positive neurons a matrix", 40, view.positive),
        slider("g-neg", "Negative neurons a matrix", 40, view.negative),
        slider("g-mem", "Memory values a head", 12, view.memories),
        html.Div(
            [
                select("g-heads", "Heads", {"all": "all", "norm": "top, by norm", "contribution": "top, by contribution"}, view.heads, flex=1),
                dmc.NumberInput(id="g-head-count", label="a layer", value=view.head_count, min=1, max=64, size="xs", w=70),
            ],
            className="fa-pair",
        ),
        select(
            "g-score", "Neurons kept by",
            {"coefficient": "coefficient (the paper)", "norm": "norm of what they write", "contribution": "contribution"},
            view.score, mt=8,
        ),
    )  # fmt: skip


def _colours() -> Any:
    words = {"target": "target's rank", "foil": "foil's rank", "entropy": "entropy", "contribution": "contribution"}
    return box(
        "Colours and labels",
        select("g-color", "Nodes coloured by", {name: words[name] for name in COLOURS}, "target"),
        select("g-keys", "Keys named by", {"token": "their input token", "projection": "their projection"}, "token", mt=8),
    )


def _exports() -> Any:
    kinds = ("PNG", "SVG", "HTML", "JSON", "GraphML", "CSV", "Sankey")
    buttons = [html.Button(kind, id=f"g-export-{kind.lower()}", className="fa-button") for kind in kinds]
    return box("Export", html.Div(buttons, className="fa-actions fa-tight"), dcc.Download(id="g-download"))


def _heading() -> Any:
    return html.Div(
        [
            html.Div([html.Div(id="g-title"), html.Div(id="g-status", role="status")], className="fa-head"),
            html.Div([html.Div(id="g-tokens", role="group", **{"aria-label": "Input tokens"})], className="fa-strip"),
        ]
    )


def _canvas() -> Any:
    return html.Div(
        [html.Div(id="g-empty", role="status", hidden=True), _cytoscape()], id="cy-box"
    )


def _cytoscape() -> Any:
    return cyto.Cytoscape(
        id="cy", elements=[], stylesheet=[], layout={"name": "preset", "fit": False}, autoRefreshLayout=False,
        autoungrabify=True, boxSelectionEnabled=False, style={"width": "100%", "height": "100%"},
    )  # fmt: skip


def register(app: Dash, source: Source) -> None:
    """Connect the tab."""

    @app.callback(
        Output("g-download", "data"), Output("say", "data", allow_duplicate=True),
        *(Input(f"g-export-{kind}", "n_clicks") for kind in FORMATS),
        State("graph-request", "data"), State("theme", "data"), prevent_initial_call=True,
    )  # fmt: skip
    def _export(*given: Any) -> Any:
        *_, request, theme = given
        return download(source, parse_graph(request), str(ctx.triggered_id).removeprefix("g-export-"), theme or "light")

    connect(app, "openPrompt", Input("g-prompts", "selectedRows"))
    connect(app, "find", Input("g-find", "value"))
    connect(app, "filter", Input("g-search", "value"))
    connect(app, "control", *(Input(control, "value") for control in CONTROLS))


def download(source: Source, view: GraphView, kind: str, theme: str) -> Any:
    """A file of the graph on the page, or why there is none."""
    try:
        checked = source.checked(view)
        name, text = export(source.graph(checked), checked, kind, theme)
    except FlowatlasError as error:
        return no_update, {"text": str(error), "kind": "error"}
    return {"filename": name, "content": text, "base64": False}, no_update
