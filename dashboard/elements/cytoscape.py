"""A drawing -> what the page's scripts make Cytoscape's elements of (assets/25_elements.js), without what they can work out.

Positions are preset; every S-curve comes with its control points.
"""

from __future__ import annotations

from typing import Any

from dashboard.elements.curves import control_points
from dashboard.elements.drawing import Box, Drawing, Line, Panel, ends

Element = dict[str, Any]


def wire(drawing: Drawing) -> dict[str, list[list[Any]]]:
    """Panels (they lie lowest), boxes, and the lines between boxes that are there, as short lists."""
    at = {box.id: box for box in drawing.boxes}
    return {
        "panels": [_panel(panel) for panel in drawing.panels],
        "boxes": [_box(box) for box in drawing.boxes],
        "lines": [_line(line, at[line.source], at[line.target]) for line in drawing.lines if line.source in at and line.target in at],
    }


def _panel(panel: Panel) -> list[Any]:
    place = [round(number, 1) for number in (panel.x, panel.y, panel.width, panel.height)]
    return [panel.id, panel.look, panel.text, panel.layer, *place]


def _box(box: Box) -> list[Any]:
    return [box.id, box.look, box.label, round(box.x, 1), round(box.y, 1), box.info]


def _line(line: Line, source: Box, target: Box) -> list[Any]:
    info = {name: value for name, value in line.info.items() if name not in ("ty", "me")}
    curve = control_points(*ends(source, target))
    points = None if curve is None else [" ".join(map(str, numbers)) for numbers in curve]
    return [line.source, line.target, line.look, line.info["ty"], line.width, line.shade, points, info]
