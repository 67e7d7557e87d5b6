"""Panels -> one Plotly figure, panels side by side on axes of the same range."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboard.elements.text import visible
from dashboard.report.colours import GRID, LINES, MUTED, SEQUENTIAL, SIGNED, TEXT, colour_of, faint
from query.analyses.records import Curves, Heat, Panel, Points

HEIGHT = 420
PER_ROW = 3


def drawable(panels: Sequence[Panel]) -> list[Curves | Heat | Points]:
    """The panels that are plots; tables and graphs are no plots."""
    return [panel for panel in panels if isinstance(panel, (Curves, Heat, Points))]


def interactive(panels: Sequence[Panel]) -> go.Figure | None:
    """The plots among the panels as one figure; None when there are none."""
    plots = drawable(panels)
    if not plots:
        return None
    columns = min(PER_ROW, len(plots))
    rows = -(-len(plots) // columns)
    made = make_subplots(
        rows, columns, subplot_titles=[plain(p.title) for p in plots], shared_yaxes=_shared(plots),
        horizontal_spacing=0.06, vertical_spacing=0.16 / rows,
    )  # fmt: skip
    shown: set[str] = set()
    for number, panel in enumerate(plots):
        row, column = number // columns + 1, number % columns + 1
        match panel:
            case Curves():
                _curves(made, panel, row, column, shown)
            case Heat():
                _heat(made, panel, row, column, last=number == len(plots) - 1)
            case Points():
                _points(made, panel, row, column, shown)
        made.update_xaxes(title_text=plain(panel.x_label), row=row, col=column)
        if column == 1 or not _shared(plots):
            made.update_yaxes(title_text=plain(panel.y_label), row=row, col=column)
    made.update_layout(
        height=HEIGHT * rows, template="simple_white", font={"family": "Inter, Helvetica, Arial, sans-serif", "color": TEXT},
        legend={"orientation": "h", "y": -0.22 / rows}, margin={"l": 60, "r": 20, "t": 50, "b": 60}, hovermode="closest",
    )  # fmt: skip
    made.update_xaxes(gridcolor=GRID, showgrid=True, zeroline=False)
    made.update_yaxes(gridcolor=GRID, showgrid=True, zeroline=False)
    return made


def _shared(plots: Sequence[Curves | Heat | Points]) -> bool:
    return len({(type(p), p.y_label) for p in plots}) == 1 and not isinstance(plots[0], Points)


def _curves(made: go.Figure, panel: Curves, row: int, column: int, shown: set[str]) -> None:
    colours = colour_of(panel.curves)
    place: dict[str, Any] = {"row": row, "col": column}
    for curve in panel.curves:
        name, colour = plain(curve.name), colours[curve.name]
        common = {"legendgroup": name, "x": list(curve.x)}
        if curve.low is not None and curve.high is not None and len(curve.x) > 1:
            edge = {"mode": "lines", "line": {"width": 0}, "showlegend": False, "hoverinfo": "skip"}
            made.add_trace(go.Scatter(y=list(curve.high), **common, **edge), **place)
            fill = {"fill": "tonexty", "fillcolor": faint(colour, 0.08 if curve.control else 0.18)}
            made.add_trace(go.Scatter(y=list(curve.low), **common, **edge, **fill), **place)
        band = list(zip(curve.low or curve.y, curve.high or curve.y, strict=True))
        made.add_trace(
            go.Scatter(
                y=list(curve.y), name=name, customdata=band, showlegend=name not in shown, **common,
                mode="lines+markers" if len(curve.x) < 40 else "lines", marker={"size": 4},
                line={"color": colour, "dash": "dot" if curve.control else "solid", "width": 1.4 if curve.control else 2.2},
                hovertemplate="%{x}: %{y:.4g} (%{customdata[0]:.4g} to %{customdata[1]:.4g})<extra>" + name + "</extra>",
            ),
            **place,
        )  # fmt: skip
        shown.add(name)
    if panel.level is not None:
        made.add_hline(y=panel.level[1], line={"dash": "dash", "color": MUTED, "width": 1}, annotation_text=plain(panel.level[0]),
                       annotation_font_size=10, **place)  # fmt: skip
    if panel.x_names is not None:
        made.update_xaxes(tickvals=list(range(len(panel.x_names))), ticktext=[plain(n) for n in panel.x_names], **place)


def _heat(made: go.Figure, panel: Heat, row: int, column: int, *, last: bool) -> None:
    top = panel.top if panel.top is not None else float(np.nanmax(np.abs(panel.z)))
    made.add_trace(
        go.Heatmap(
            z=[[None if np.isnan(v) else v for v in row] for row in panel.z.tolist()], zmax=top, zmin=-top if panel.signed else 0.0,
            colorscale=SIGNED if panel.signed else SEQUENTIAL, showscale=last,
            colorbar={"title": {"text": plain(panel.z_label), "side": "right"}},
            x=list(range(first_column(panel), first_column(panel) + panel.z.shape[1])),
            hovertemplate=f"{plain(panel.y_label)} %{{y}}, {plain(panel.x_label)} %{{x}}: %{{z:.4g}}<extra></extra>",
        ),
        row=row, col=column,
    )  # fmt: skip
    if len(panel.z) <= 12:
        made.update_yaxes(dtick=1, row=row, col=column)


def first_column(panel: Heat) -> int:
    """Ranks are counted from 1, everything else from 0."""
    return 1 if panel.x_label.startswith("rank") else 0


def _points(made: go.Figure, panel: Points, row: int, column: int, shown: set[str]) -> None:
    for number, cloud in enumerate(panel.clouds):
        name, texts = plain(cloud.name), [plain(t) for t in cloud.texts]
        made.add_trace(
            go.Scattergl(
                x=list(cloud.x), y=list(cloud.y), name=name, legendgroup=name, showlegend=name not in shown,
                mode="markers+text" if any(texts) else "markers", text=texts or None, textposition="top center",
                textfont={"size": 9}, marker={"size": 4 if len(cloud.x) > 200 else 8, "color": LINES[number % len(LINES)]},
            ),
            row=row, col=column,
        )  # fmt: skip
        shown.add(name)


def plain(text: str) -> str:
    """Plotly reads a little HTML in labels: a token must not become markup."""
    return visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
