"""Edges' rows -> lines: what each is called, its width against its like, its shade."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

from dashboard.elements.buckets import entropy_bucket, width
from dashboard.elements.drawing import Line, LineLook
from dashboard.elements.records import Records, Row
from flowatlas.vocabulary import Type

NORM_WIDTH: Final = 5.0
RESIDUAL_WIDTH: Final = 11.0

MEANING: Final[dict[str, str]] = {
    Type.NORMALIZES: "norm of the normalized vector",
    Type.PROJECTS: "norm of the product",
    Type.SPLITS: "norm of the query",
    Type.ATTENDS: "attention probability",
    Type.RECALLS: "attention probability",
    Type.SUMS: "attention probability",
    Type.CONCATENATES: "norm of head · W_O",
    Type.ACTIVATES: "coefficient before the nonlinearity",
    Type.WRITES: "coefficient",
    Type.ADDS: "norm of what is added",
    Type.SKIPS: "norm of the residual",
}


class Scales:
    """The largest |score| of each (type, layer, matrix) among the edges shown: widths are relative to it."""

    def __init__(self) -> None:
        self._largest: dict[tuple[str, int, str], float] = defaultdict(float)

    def see(self, type_: str, layer: int, group: str, score: float | None) -> None:
        """Take a score into account."""
        if score is not None:
            key = (type_, layer, group)
            self._largest[key] = max(self._largest[key], abs(float(score)))

    def width(self, type_: str, layer: int, group: str, score: float | None) -> float:
        """Width in px of an edge with that score."""
        return width(score, self._largest[type_, layer, group])


def largest_contribution(records: Records) -> float:
    """The largest |contribution| of any single part (head, memory value, neuron) in the graph."""
    values = [
        abs(float(edge["contribution"]))
        for type_ in (Type.SUMS, Type.CONCATENATES, Type.WRITES)
        for edge in records.edges.get(type_, [])
        if edge.get("contribution") is not None
    ]
    return max(values, default=0.0)


def sum_shade(records: Records, source: Row | None) -> int:
    """0 (dark, low entropy) to 4 of a grey sum: the entropy of what is added."""
    return 2 if source is None else entropy_bucket(source.get("entropy"), records.vocabulary)


def signed(score: float) -> LineLook:
    """Blue for a positive coefficient, red for a negative one."""
    return "negative" if score < 0 else "positive"


def line(edge: Row, source: str, target: str, look: LineLook, width_px: float, shade: int = 2) -> Line:
    """One drawn edge; `info` is what the hover panel says."""
    info: dict[str, Any] = {"ty": str(edge["type"]), "me": MEANING.get(edge["type"], "score")}
    names: Mapping[str, str] = {
        "score": "sc",
        "contribution": "co",
        "foil_contribution": "fc",
        "norm": "no",
        "rank": "rk",
        "logit": "lo",
    }
    for name, short in names.items():
        value = edge.get(name)
        if value is not None:
            info[short] = value if isinstance(value, int) else float(f"{float(value):.5g}")
    return Line(f"{edge['type']}:{source}>{target}", source, target, look, round(width_px, 2), shade, info)
