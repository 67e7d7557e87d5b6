"""A drawing -> Cytoscape elements, with preset positions and the control points of every S-curve."""

from __future__ import annotations

from typing import Any

from dashboard.elements.curves import control_points
from dashboard.elements.drawing import Box, Drawing, Line, Panel, ends

Element = dict[str, Any]


def elements(drawing: Drawing) -> list[Element]:
    """Panels first (they lie lowest), then lines, then boxes."""
    at = {box.id: box for box in drawing.boxes}
    return [
        *(_panel(panel) for panel in drawing.panels),
        *(_box(box) for box in drawing.boxes),
        *(_line(line, at[line.source], at[line.target]) for line in drawing.lines if line.source in at and line.target in at),
    ]


def _panel(panel: Panel) -> Element:
    return {
        "group": "nodes",
        "data": {"id": panel.id, "label": panel.text, "w": panel.width, "h": panel.height, "layer": panel.layer},
        "position": {"x": panel.x, "y": panel.y},
        "classes": f"d {panel.look}",
        "selectable": False,
        "grabbable": False,
    }


def _box(box: Box) -> Element:
    width, height = box.size
    return {
        "group": "nodes",
        "data": {"id": box.id, "label": box.label, "w": width, "h": height, **box.info},
        "position": {"x": round(box.x, 1), "y": round(box.y, 1)},
        "classes": f"n {box.look}",
    }


def _line(line: Line, source: Box, target: Box) -> Element:
    data: dict[str, Any] = {
        "id": line.id,
        "source": line.source,
        "target": line.target,
        "w": line.width,
        "sh": line.shade,
        **line.info,
    }
    curve = control_points(*ends(source, target))
    if curve is not None:
        data["cw"], data["cd"] = (" ".join(map(str, numbers)) for numbers in curve)
    return {"group": "edges", "data": data, "classes": f"e {line.look}" + (" curve" if curve else "")}
