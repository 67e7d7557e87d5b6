"""Colours of lines: a control has the colour of the line that it is the control of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from query.analyses.records import Curve

LINES: Final = ("#2563EB", "#D97706", "#0F9F8F", "#DC2626", "#7C3AED", "#334155", "#BE185D", "#4D7C0F")
TEXT: Final = "#0F172A"
MUTED: Final = "#526077"
GRID: Final = "#E2E8F0"
SEQUENTIAL: Final = "Viridis"
SIGNED: Final = "RdBu"


def colour_of(curves: Sequence[Curve]) -> dict[str, str]:
    """The colour of every line by its name."""
    found: dict[str, str] = {}
    for number, curve in enumerate(c for c in curves if not c.control):
        found[curve.name] = LINES[number % len(LINES)]
    for curve in curves:
        if curve.control:
            found[curve.name] = found.get(curve.name.partition(", shuffled")[0], MUTED)
    return found


def faint(colour: str, opacity: float) -> str:
    """`#RRGGBB` as rgba()."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
