"""A flow graph as PNG: the boxes and curves of its SVG, drawn by Matplotlib."""

from __future__ import annotations

from typing import Final

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path

from dashboard.elements.curves import BEND
from dashboard.elements.drawing import Box, Drawing, ends
from dashboard.elements.svg import MARGIN, border, box_fill, line_colour
from dashboard.palette import LIGHT
from dashboard.picture import draw
from dashboard.report.page import flow_view
from dashboard.report.pictures import saved
from query.analyses.records import Flow

_PER_INCH: Final = 100.0
_SCALE: Final = 72 / _PER_INCH


def flow_png(panel: Flow) -> bytes:
    """The picture of a panel's graph as PNG, in the colours of the light theme."""
    drawing = draw(panel.graph, flow_view(panel))
    left, top, right, bottom = drawing.extent()
    width, height = right - left + 2 * MARGIN, bottom - top + 2 * MARGIN
    with mpl.rc_context({"font.family": ["DejaVu Sans"], "text.parse_math": False}):
        figure = Figure(figsize=(width / _PER_INCH, height / _PER_INCH))
        FigureCanvasAgg(figure)
        axis = figure.add_axes((0, 0, 1, 1))
        axis.set_axis_off()
        axis.set_xlim(left - MARGIN, right + MARGIN)
        axis.set_ylim(bottom + MARGIN, top - MARGIN)
        _lines(axis, drawing)
        for word in drawing.panels:
            if word.look in ("title", "column", "index"):
                anchor = {"title": "left", "column": "center", "index": "right"}[word.look]
                axis.text(word.x, word.y, word.text, color=LIGHT.muted, fontsize=12 * _SCALE, ha=anchor, va="center")
        for box in drawing.boxes:
            _box(axis, box)
        return saved(figure, "png")


def _lines(axis: mpl.axes.Axes, drawing: Drawing) -> None:
    at = {box.id: box for box in drawing.boxes}
    for line in drawing.lines:
        if line.source not in at or line.target not in at:
            continue
        x1, y1, x2, y2 = ends(at[line.source], at[line.target])
        bend = BEND * (x2 - x1)
        path = Path([(x1, y1), (x1 + bend, y1), (x2 - bend, y2), (x2, y2)], [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])
        axis.add_patch(
            PathPatch(path, fill=False, edgecolor=line_colour(line, LIGHT), linewidth=line.width * _SCALE, alpha=0.62, zorder=1)
        )


def _box(axis: mpl.axes.Axes, box: Box) -> None:
    width, height = box.size
    stroke, stroke_width = border(box, LIGHT)
    memory = box.info.get("memory") if box.look == "key" else None
    fill, text = (LIGHT.panel, LIGHT.attention) if memory else box_fill(box, LIGHT)
    axis.add_patch(
        FancyBboxPatch(
            (box.x - width / 2, box.y - height / 2), width, height, boxstyle="round,pad=0,rounding_size=6", facecolor=fill,
            edgecolor=stroke, linewidth=stroke_width * _SCALE, zorder=2,
        )
    )  # fmt: skip
    axis.text(box.x, box.y, str(memory or box.label), color=text, fontsize=12 * _SCALE, ha="center", va="center", zorder=3)
