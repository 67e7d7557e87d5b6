"""The paper's own way of drawing: a Plotly Sankey diagram, here with our places and colours."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from dashboard.elements.drawing import Box, Drawing
from dashboard.elements.svg import box_fill, line_colour
from dashboard.palette import THEMES, Theme
from dashboard.picture import draw
from dashboard.view import GraphView
from query.graph import Graph

RESIDUAL_SHARE = 0.35
"""Residuals would dwarf everything else: they are drawn at this share of their width."""


def sankey(graph: Graph, view: GraphView, theme: str = "light") -> go.Figure:
    """The graph of a view as a Sankey diagram: hover a node for its top tokens."""
    drawing = draw(graph, view)
    colours = THEMES[theme]
    index = {box.id: number for number, box in enumerate(drawing.boxes)}
    lines = [line for line in drawing.lines if line.source in index and line.target in index]
    widths = [line.width * (RESIDUAL_SHARE if line.look.startswith("residual") else 1) for line in lines]
    figure = go.Figure(
        go.Sankey(
            arrangement="fixed",
            node={**_nodes(drawing, colours), "pad": 4, "thickness": 14},
            link={
                "source": [index[line.source] for line in lines],
                "target": [index[line.target] for line in lines],
                "value": widths,
                "color": [_faint(line_colour(line, colours)) for line in lines],
                "customdata": [f"{line.info['ty']} {line.info.get('sc', '')}" for line in lines],
                "hovertemplate": "%{source.label} → %{target.label}<br>%{customdata}<extra></extra>",
            },
        )
    )
    title = f"{graph.prompt['text']} → {graph.prompt['target']}"
    figure.update_layout(title=_plain(title), font={"family": "Inter, Arial, sans-serif", "size": 11, "color": colours.text},
                         paper_bgcolor=colours.page, margin={"l": 20, "r": 20, "t": 50, "b": 20})  # fmt: skip
    return figure


def sankey_html(graph: Graph, view: GraphView, theme: str = "light") -> str:
    """One page that works offline (it holds plotly.js, 4.8 MB)."""
    text: str = sankey(graph, view, theme).to_html(include_plotlyjs=True, full_html=True)
    return text


def _nodes(drawing: Drawing, colours: Theme) -> dict[str, Any]:
    left, top, right, bottom = drawing.extent()

    def share(value: float, low: float, high: float) -> float:
        # Plotly reads exactly 0 and 1 as "not placed".
        return min(max((value - low) / max(high - low, 1), 0.001), 0.999)

    return {
        "label": [_plain(box.label) for box in drawing.boxes],
        "x": [share(box.x, left, right) for box in drawing.boxes],
        "y": [share(box.y, top, bottom) for box in drawing.boxes],
        "color": [box_fill(box, colours)[0] for box in drawing.boxes],
        "customdata": [_hover(box) for box in drawing.boxes],
        "hovertemplate": "%{customdata}<extra></extra>",
        "line": {"color": colours.residual_mlp, "width": 0.5},
    }


def _hover(box: Box) -> str:
    tokens = ", ".join(_plain(token.strip()) for token in box.info["tok"][:6])
    rank = box.info.get("tr")
    return f"<b>{_plain(box.info['t'])}</b><br>{tokens}" + ("" if rank is None else f"<br>target's rank {rank}")


def _plain(text: str) -> str:
    """Plotly reads a little HTML in labels: a token must not become markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.45)"
