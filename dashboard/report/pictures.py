"""Panels -> SVG and PNG, drawn by Matplotlib: no browser is needed."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dashboard.elements.text import visible
from dashboard.report.colours import GRID, LINES, MUTED, TEXT, colour_of
from dashboard.report.interactive import drawable, first_column
from query.analyses.records import Curves, Heat, Panel, Points, Words

PER_ROW: Final = 3
_STYLE: Final[dict[Any, Any]] = {
    "font.family": ["DejaVu Sans"], "font.size": 9, "axes.titlesize": 10, "axes.edgecolor": MUTED, "text.color": TEXT,
    "axes.labelcolor": TEXT, "axes.spines.top": False, "axes.spines.right": False, "svg.fonttype": "none",
    # A token may hold dollar signs: they are no mathematics.
    "text.parse_math": False,
    # The same data gives the same bytes.
    "svg.hashsalt": "flowatlas",
}  # fmt: skip


def pictures(title: str, panels: Sequence[Panel], kinds: Sequence[str] = ("svg", "png")) -> dict[str, bytes]:
    """The plots and tables among the panels as one picture, by kind of file; empty when there are none."""
    plots = [*drawable(panels), *(p for p in panels if isinstance(p, Words))]
    if not plots:
        return {}
    columns = min(PER_ROW, len(plots))
    rows = -(-len(plots) // columns)
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # A PNG shows a box where the font lacks a sign; the SVG holds the text itself.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        heights = [_height(plots[r * columns : (r + 1) * columns]) for r in range(rows)]
        figure = Figure(figsize=(max(6.4, 4.6 * columns), 0.5 + sum(heights)), layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(_text(title), fontsize=11, fontweight="bold")
        axes = figure.subplots(rows, columns, squeeze=False, height_ratios=heights)
        _same_range(plots, axes.flat)
        for axis in axes.flat[len(plots) :]:
            axis.set_axis_off()
        for axis, panel in zip(axes.flat, plots, strict=False):
            _draw(figure, axis, panel)
        _legend(figure, axes.flat)
        # The layout is found once, not for every kind of file.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        return {kind: saved(figure, kind) for kind in kinds}


def saved(figure: Figure, kind: str) -> bytes:
    """A figure as the bytes of a file, without a date: the same data gives the same bytes."""
    buffer = io.BytesIO()
    metadata: dict[str, str | None] = {"Date": None, "Creator": "flowatlas"} if kind == "svg" else {"Software": "flowatlas"}
    figure.savefig(buffer, format=kind, dpi=130, metadata=metadata, facecolor="white")
    return buffer.getvalue()


def _legend(figure: Figure, axes: Any) -> None:
    """One legend for all panels, below them."""
    entries = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    if entries:
        width = figure.get_figwidth() * 14
        columns = max(1, min(len(entries), int(width // (max(len(label) for label in entries) + 6))))
        figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=columns, fontsize=7.5, frameon=False)


def _height(row: Sequence[Panel]) -> float:
    return max(0.6 + 0.24 * (len(p.rows) + 1) if isinstance(p, Words) else 3.6 for p in row)


def _same_range(plots: Sequence[Panel], axes: Any) -> None:
    curves = [p for p in plots if isinstance(p, Curves)]
    if len({p.y_label for p in curves}) != 1:
        return
    values = [v for p in curves for c in p.curves for v in (*(c.low or c.y), *(c.high or c.y))]
    finite = np.asarray(values)[np.isfinite(values)]
    if len(finite) == 0:
        return
    margin = 0.04 * float(np.ptp(finite)) or 0.05
    for axis, panel in zip(axes, plots, strict=False):
        if isinstance(panel, Curves):
            axis.set_ylim(float(finite.min()) - margin, float(finite.max()) + margin)


def _draw(figure: Figure, axis: Any, panel: Panel) -> None:
    axis.set_title(_text(panel.title))
    match panel:
        case Curves():
            _curves(axis, panel)
        case Heat():
            _heat(figure, axis, panel)
        case Points():
            _points(axis, panel)
        case Words():
            _words(axis, panel)
            return
        case _:
            return
    axis.set_xlabel(_text(panel.x_label))
    axis.set_ylabel(_text(panel.y_label))


def _curves(axis: Any, panel: Curves) -> None:
    colours = colour_of(panel.curves)
    for curve in panel.curves:
        colour = colours[curve.name]
        style = {"linestyle": ":", "linewidth": 1.1} if curve.control else {"linestyle": "-", "linewidth": 1.8}
        marker = "o" if len(curve.x) < 40 else ""
        axis.plot(curve.x, curve.y, color=colour, label=_text(curve.name), marker=marker, markersize=2.5, **style)
        if curve.low is not None and curve.high is not None:
            axis.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.08 if curve.control else 0.2, linewidth=0)
    if panel.level is not None:
        axis.axhline(panel.level[1], color=MUTED, linestyle="--", linewidth=0.8, label=_text(panel.level[0]))
    if panel.x_names is not None:
        axis.set_xticks(range(len(panel.x_names)), [_text(n) for n in panel.x_names], rotation=90, fontsize=7)
    else:
        axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(color=GRID, linewidth=0.6)


def _heat(figure: Figure, axis: Any, panel: Heat) -> None:
    top = panel.top if panel.top is not None else float(np.nanmax(np.abs(panel.z)))
    rows, columns = panel.z.shape
    start = first_column(panel) - 0.5
    image = axis.imshow(
        panel.z, origin="lower", aspect="auto", interpolation="nearest", extent=(start, start + columns, -0.5, rows - 0.5),
        cmap="RdBu" if panel.signed else "viridis", vmin=-top if panel.signed else 0.0, vmax=top or 1.0,
    )  # fmt: skip
    for scale in (axis.xaxis, axis.yaxis):
        scale.get_major_locator().set_params(integer=True)
    figure.colorbar(image, ax=axis, label=_text(panel.z_label))


def _points(axis: Any, panel: Points) -> None:
    for number, cloud in enumerate(panel.clouds):
        colour, many = LINES[number % len(LINES)], len(cloud.x) > 200
        # Very many points are a picture inside the SVG, or the file grows by tens of megabytes.
        axis.scatter(cloud.x, cloud.y, s=3 if many else 22, color=colour, label=_text(cloud.name), alpha=0.7, linewidths=0, rasterized=many)
        for x, y, text in zip(cloud.x, cloud.y, cloud.texts, strict=False):
            if text:
                axis.annotate(_text(text), (x, y), fontsize=6.5, xytext=(0, 4), textcoords="offset points", ha="center")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(color=GRID, linewidth=0.6)


def _words(axis: Any, panel: Words) -> None:
    axis.set_axis_off()
    cells = [[_short(cell) for cell in row] for row in panel.rows]
    table = axis.table(cellText=cells, colLabels=[_short(h) for h in panel.header], loc="upper center", cellLoc="left", edges="horizontal")
    table.auto_set_font_size(False)
    table.set_fontsize(7)
    table.auto_set_column_width(list(range(len(panel.header))))


def _short(text: str) -> str:
    return _text(text if len(text) <= 34 else f"{text[:33]}…")


def _text(text: str) -> str:
    """Tokens with what is invisible written out."""
    return visible(text)
