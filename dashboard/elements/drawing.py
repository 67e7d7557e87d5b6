"""What a picture is made of, in its own pixels: boxes, lines, panels. Cytoscape and SVG both draw these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

BoxLook = Literal["residual", "hub", "norm", "query", "key", "value", "head", "neuron", "bias", "input"]
LineLook = Literal["residual", "residual_mlp", "norm", "attention", "positive", "negative", "sum"]

SIZES: Final[dict[str, tuple[int, int]]] = {
    "residual": (84, 34),
    "hub": (82, 38),
    "norm": (82, 34),
    "query": (98, 24),
    "key": (98, 22),
    "value": (98, 22),
    "head": (98, 26),
    "neuron": (98, 22),
    "bias": (98, 22),
    "input": (98, 26),
}


@dataclass(frozen=True)
class Box:
    """A node: `x`, `y` its centre; `info` everything that the hover panel and the inspector say."""

    id: str
    x: float
    y: float
    look: BoxLook
    label: str
    info: Mapping[str, Any]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return SIZES[self.look]


@dataclass(frozen=True)
class Line:
    """An edge between two boxes, `width` px wide; `shade` 0-4 is the darkness of a sum."""

    id: str
    source: str
    target: str
    look: LineLook
    width: float
    shade: int
    info: Mapping[str, Any]


@dataclass(frozen=True)
class Panel:
    """A rectangle or a word behind the graph: `look` is panel, band, title, column or index."""

    id: str
    x: float
    y: float
    width: float
    height: float
    look: Literal["panel", "band", "title", "column", "index"]
    text: str = ""
    layer: int | None = None


@dataclass
class Drawing:
    """A whole picture."""

    boxes: list[Box] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    panels: list[Panel] = field(default_factory=list)

    def extent(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of everything drawn; a unit square when there is nothing."""
        sides = [(b.x - b.size[0] / 2, b.y - b.size[1] / 2, b.x + b.size[0] / 2, b.y + b.size[1] / 2) for b in self.boxes]
        sides += [
            (p.x - p.width / 2, p.y - p.height / 2, p.x + p.width / 2, p.y + p.height / 2)
            for p in self.panels
            if p.look == "panel"
        ]
        if not sides:
            return (0.0, 0.0, 1.0, 1.0)
        left, top, right, bottom = zip(*sides, strict=True)
        return (min(left), min(top), max(right), max(bottom))


def ends(source: Box, target: Box) -> tuple[float, float, float, float]:
    """Where a line leaves its source (right side) and enters its target (left side): x1, y1, x2, y2."""
    return (source.x + source.size[0] / 2, source.y, target.x - target.size[0] / 2, target.y)


SCREEN: Final = 1.7
"""Width over height of the part of the screen that shows the graph."""
ENDS: Final = 260
"""Room for the embeddings and the final norm at a row's ends."""


def cells_a_row(count: int, width: float, height: float) -> int:
    """How many cells of that size make the picture largest on a screen."""

    def scale(columns: int) -> float:
        rows = -(-count // columns)
        return min(SCREEN / (columns * width + ENDS), 1 / (rows * height))

    return max(range(1, count + 1), key=lambda columns: (round(scale(columns), 7), -columns))
