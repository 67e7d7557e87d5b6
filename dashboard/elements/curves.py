"""S-curves: the shape that makes a dense left-to-right graph readable."""

from __future__ import annotations

from typing import Final

BEND: Final = 0.38
"""How far along x the control points lie, as a share of the distance."""


def control_points(x1: float, y1: float, x2: float, y2: float) -> tuple[list[float], list[float]] | None:
    """Cytoscape's weights and distances of the two control points; None for a straight line.

    The points are (x1 + BEND dx, y1) and (x2 - BEND dx, y2), written in the frame of the line
    between the ends: along it as a share of its length, and across it in px.
    """
    dx, dy = x2 - x1, y2 - y1
    if abs(dy) <= 1:
        return None
    square = dx * dx + dy * dy
    length = square**0.5
    along = [BEND * dx * dx / square, ((1 - BEND) * dx * dx + dy * dy) / square]
    across = BEND * dx * dy / length
    return [round(w, 4) for w in along], [round(-across, 2), round(across, 2)]


def svg_path(x1: float, y1: float, x2: float, y2: float) -> str:
    """The same curve as an SVG path."""
    if abs(y2 - y1) <= 1:
        return f"M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"
    bend = BEND * (x2 - x1)
    middle = f"{(x1 + x2) / 2:.1f} {(y1 + y2) / 2:.1f}"
    return f"M{x1:.1f} {y1:.1f}Q{x1 + bend:.1f} {y1:.1f} {middle}Q{x2 - bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
