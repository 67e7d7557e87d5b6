"""The Neurons tab: always-on neurons, and norm against entropy (the paper's section 5.3)."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
import plotly.graph_objects as go
from dash import Dash, Input, Output, dcc

from dashboard.elements.text import visible
from dashboard.measures import models, neurons
from dashboard.palette import THEMES
from dashboard.selecting import form, inputs, selection
from dashboard.source import Source
from dashboard.widgets import grid, html, number
from flowatlas.errors import FlowatlasError
from query.run import run

PAPER_SHARE = 100 / 4096
"""The paper counts a neuron as on when it is among the 100 most activated of 4,096."""

COLUMNS = (
    number("layer", "Layer", "d", 76),
    number("neuron", "Neuron", "d", 86),
    number("share", "On in", ".0%", 76),
    number("mean_coefficient", "Coefficient", "+.3f", 120),
    number("mean_contribution", "Contribution", "+.3f", 128),
    number("norm", "Norm", ".2f", 76),
    number("layer_norm", "Layer's", ".2f", 80),
    number("entropy", "Entropy", ".2f", 84),
    number("layer_entropy", "Layer's", ".2f", 80),
    {"field": "tokens", "headerName": "Top tokens", "flex": 2, "minWidth": 160, "tooltipField": "tokens"},
)


def layout() -> Any:
    """The tab."""
    controls = html.Aside(
        [
            dmc.NumberInput(id="r-top", label="On: among this share of a layer", value=0.0244, min=0.0005, max=1, step=0.005, size="xs"),
            dmc.NumberInput(id="r-share", label="in at least this share of prompts", value=0.85, min=0.05, max=1, step=0.05, size="xs"),
            dmc.NumberInput(id="r-layer", label="Layer of the picture", value=0, min=0, max=200, size="xs"),
            form("r"),
            html.P(id="r-note", className="fa-note", role="status"),
        ],
        className="fa-controls",
    )
    main = html.Div(
        [
            html.H2("Norm against entropy of a layer's MLP neurons; the always-on ones in amber"),
            html.Div(id="r-figure", className="fa-figure"),
            html.H2("Neurons that are always on"),
            html.Div(grid("r-grid", COLUMNS, columnSize=None), className="fa-grow"),
        ],
        className="fa-stack",
    )
    return html.Main(html.Div([controls, main], className="fa-columns"), className="fa-page")


def register(app: Dash, source: Source) -> None:
    """Connect the tab."""

    @app.callback(
        Output("r-grid", "rowData"), Output("r-note", "children"),
        Input("tab", "data"), Input("r-top", "value"), Input("r-share", "value"), *inputs("r"),
    )  # fmt: skip
    def _always(tab: str, top: Any, share: Any, *chosen: Any) -> Any:
        return always_on(source, top, share, *chosen) if tab == "neurons" else ([], "")

    @app.callback(
        Output("r-figure", "children"), Input("tab", "data"), Input("r-layer", "value"), Input("r-grid", "rowData"), Input("theme", "data")
    )
    def _figure(tab: str, layer: Any, rows: list[dict[str, Any]], theme: str) -> Any:
        # Plotly's script is large: it is loaded when this tab is first opened.
        return figure(scatter(source, int(layer or 0), rows or [], theme or "light")) if tab == "neurons" else None


def figure(made: go.Figure) -> dcc.Graph:
    """A Plotly figure as a component."""
    return dcc.Graph(figure=made, style={"height": "298px"}, config={"displaylogo": False, "responsive": True})


def always_on(source: Source, top: Any, share: Any, *chosen: Any) -> tuple[list[dict[str, Any]], str]:
    """Rows of the named query `always_on_neurons`, and a line about them."""
    width = max((model["d_mlp"] for model in models(source.store)), default=1)
    rank = max(1, round(float(top or PAPER_SHARE) * width))
    given = {"rank": rank, "share": float(share or 0.85), **selection(*chosen).given}
    try:
        rows = run(source.store, "always_on_neurons", **given).table.to_pylist()
    except FlowatlasError as error:
        return [], str(error)
    for row in rows:
        row["tokens"] = " · ".join(visible(token).strip() for token in row.pop("top_tokens"))
    said = f"{len(rows)} neurons over {rows[0]['prompts']:,} prompts" if rows else "No neuron is on so often"
    hint = "" if rows else " Raise the first share or lower the second."
    return rows, f"{said}; on: among the {rank} largest of {width:,}.{hint}"


def scatter(source: Source, layer: int, always: list[dict[str, Any]], theme: str) -> go.Figure:
    """Norm against entropy of one layer's neurons."""
    colours = THEMES.get(theme, THEMES["light"])
    found = models(source.store)
    rows = neurons(source.store, layer, found[0]["id"]) if found else []
    on = {row["neuron"] for row in always if row["layer"] == layer}
    figure = go.Figure()
    for name, chosen, colour, size in (("neurons", False, colours.residual_mlp, 5), ("always on", True, colours.rank[0], 10)):
        part = [row for row in rows if (row["index"] in on) is chosen]
        words = [f"neuron {row['index']}: " + " · ".join(_plain(t) for t in row["tokens"][:6]) for row in part]
        figure.add_scatter(
            x=[row["entropy"] for row in part], y=[row["norm"] for row in part], mode="markers", name=name, text=words,
            hovertemplate="%{text}<br>entropy %{x:.2f} bits, norm %{y:.2f}<extra></extra>",
            marker={"color": colour, "size": size, "opacity": 0.95 if chosen else 0.45, "line": {"width": 1 if chosen else 0, "color": colours.text}},
        )  # fmt: skip
    axis = {"gridcolor": colours.border, "zeroline": False, "linecolor": colours.border}
    figure.update_layout(
        paper_bgcolor=colours.panel, plot_bgcolor=colours.panel, font={"family": "Inter, Arial, sans-serif", "size": 12, "color": colours.text},
        xaxis={"title": "entropy of the projection, bits", **axis}, yaxis={"title": "norm", **axis},
        margin={"l": 60, "r": 20, "t": 14, "b": 46}, legend={"orientation": "h", "y": 1.08, "x": 1, "xanchor": "right"},
    )  # fmt: skip
    return figure


def _plain(token: str) -> str:
    return visible(token).strip().replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
