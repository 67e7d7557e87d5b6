"""A drawing -> SVG, with real text. The same rectangles and curves that Cytoscape draws."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from dashboard.elements.curves import svg_path
from dashboard.elements.drawing import Box, Drawing, Line, Panel, ends
from dashboard.elements.text import short
from dashboard.palette import THEMES, Theme

MARGIN = 24
_OPACITY = {"residual": 0.9, "residual_mlp": 0.9, "norm": 0.75, "sum": 0.78}


def svg(drawing: Drawing, theme: str = "light", *, facts: bool = False, mode: str = "target") -> str:
    """The picture as one SVG element; with `facts` every box and line carries its data as JSON."""
    colours = THEMES[theme]
    left, top, right, bottom = drawing.extent()
    view = (left - MARGIN, top - MARGIN, right - left + 2 * MARGIN, bottom - top + 2 * MARGIN)
    at = {box.id: box for box in drawing.boxes}
    lines = [line for line in drawing.lines if line.source in at and line.target in at]
    parts = [
        (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{" ".join(f"{n:.1f}" for n in view)}" '
        f'width="{view[2]:.0f}" height="{view[3]:.0f}" font-family="Inter, Helvetica, Arial, sans-serif">'),
        (f'<rect class="page" x="{view[0]:.1f}" y="{view[1]:.1f}" width="{view[2]:.1f}" height="{view[3]:.1f}" '
        f'fill="{colours.page}"/>'),
        "<g>",
        *(_panel(panel, colours) for panel in drawing.panels),
        *(_line(line, at[line.source], at[line.target], colours, facts) for line in lines),
        *(_box(box, colours, facts, mode) for box in drawing.boxes),
        "</g></svg>",
    ]
    return "\n".join(parts)


def _attributes(info: Any, facts: bool) -> str:
    return f' data-info="{escape(json.dumps(info, ensure_ascii=False, separators=(",", ":")))}"' if facts else ""


def _panel(panel: Panel, colours: Theme) -> str:
    if panel.look in ("panel", "band"):
        fill, stroke = (colours.panel, colours.border) if panel.look == "panel" else (colours.zebra, "none")
        return (
            f'<rect class="{panel.look}" x="{panel.x - panel.width / 2:.1f}" y="{panel.y - panel.height / 2:.1f}" '
            f'width="{panel.width:.1f}" height="{panel.height:.1f}" rx="6" fill="{fill}" stroke="{stroke}"/>'
        )
    size, weight = (15, 700) if panel.look == "title" else (12, 600) if panel.look == "column" else (12, 400)
    anchor = {"title": "start", "column": "middle", "index": "end"}[panel.look]
    return (
        f'<text class="{panel.look}" x="{panel.x:.1f}" y="{panel.y + 4:.1f}" font-size="{size}" font-weight="{weight}" '
        f'text-anchor="{anchor}" fill="{colours.muted}">{escape(panel.text)}</text>'
    )


def line_colour(line: Line, colours: Theme) -> str:
    """Colour of a line by what it is; a sum is darker for a lower entropy."""
    return colours.sums[line.shade] if line.look == "sum" else str(getattr(colours, line.look))


def _line(line: Line, source: Box, target: Box, colours: Theme, facts: bool) -> str:
    joined = {"s": line.source, "t": line.target, **line.info}
    return (
        f'<path class="e {line.look}" d="{svg_path(*ends(source, target))}" fill="none" '
        f'stroke="{line_colour(line, colours)}" stroke-width="{line.width}" '
        f'stroke-opacity="{_OPACITY.get(line.look, 0.62)}"{_attributes(joined, facts)}/>'
    )


def border(box: Box, colours: Theme) -> tuple[str, float]:
    """Colour and width of a box's border."""
    match box.look:
        case "neuron":
            return (colours.negative if box.info.get("sg") == "-" else colours.positive), 1.5
        case "query" | "key" | "value":
            return colours.attention, 1.2
        case "head":
            return colours.attention, 1.8
        case "norm":
            return colours.norm, 2.0
        case "bias" | "input":
            return colours.residual_mlp, 1.2
    return colours.hub, 2.0


def box_fill(box: Box, colours: Theme, mode: str = "target") -> tuple[str, str]:
    """Fill and text colour of a box, coloured by the target's rank or (`contribution`) by a signed bucket."""
    if mode == "contribution":
        return colours.contribution[box.info["cb"] + 3], colours.contribution_text[box.info["cb"] + 3]
    bucket = int(box.info["rb"])
    if bucket == 5:
        return colours.bottom, colours.bottom_text
    return colours.rank[bucket], colours.rank_text[bucket]


def _box(box: Box, colours: Theme, facts: bool, mode: str) -> str:
    width, height = box.size
    stroke, stroke_width = border(box, colours)
    memory = box.info.get("memory") if box.look == "key" else None
    ranked = mode == "target" and not memory
    fill, text = (colours.panel, colours.attention) if memory and mode == "target" else box_fill(box, colours, mode)
    dash = ' stroke-dasharray="4 2.5"' if ranked and box.info["rb"] == 5 else ""
    weight = 700 if ranked and box.info["rb"] == 0 else 600 if box.look in ("residual", "hub", "head", "norm") else 400
    size = 15 if box.look in ("residual", "hub") else 14 if box.look == "norm" else 13
    if "top" in box.info:
        size, weight = 17, 600  # a mean is a short number
    style = ' font-style="italic"' if memory else ""
    label = short(memory or box.label, int(width / (0.58 * size)))
    return (
        f'<g class="n {box.look}" id="{box.id}"{_attributes(dict(box.info), facts)}>'
        f'<rect x="{box.x - width / 2:.1f}" y="{box.y - height / 2:.1f}" width="{width}" height="{height}" rx="6" '
        f'fill="{fill}" stroke="{stroke}" stroke-width="{stroke_width}"{dash}/>'
        f'<text x="{box.x:.1f}" y="{box.y + size * 0.36:.1f}" font-size="{size}" font-weight="{weight}"{style} '
        f'text-anchor="middle" fill="{text}">{escape(label)}</text></g>'
    )
