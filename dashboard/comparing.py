"""Two prompts, or two groups of them, in the same places: the same nodes of both, the differences coloured, and a table of them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from dashboard.elements.buckets import contribution_bucket
from dashboard.elements.detail import detail
from dashboard.elements.drawing import Box, Drawing
from dashboard.elements.records import Records
from dashboard.elements.summary import summary
from dashboard.group_graph import group_drawing
from dashboard.picture import records_of
from dashboard.source import Source
from dashboard.view import GraphView
from flowatlas.errors import UsageError
from flowatlas.selection import Selection
from flowatlas.vocabulary import STATE_STRIDE, Type
from query.graph import Graph
from query.means import means

ROWS: Final = 200


@dataclass(frozen=True)
class Comparison:
    """Both drawings, rows of the largest differences first, and what a reader must know."""

    a: Drawing
    b: Drawing
    rows: list[dict[str, Any]]
    note: str


def compare(source: Source, view_a: GraphView, view_b: GraphView) -> Comparison:
    """Draw both prompts with the same neurons, memories and heads. Raises FlowatlasError."""
    view_a, view_b = source.checked(view_a), source.checked(view_b)
    first, second = source.graph(view_a), source.graph(view_b)
    if first.prompt["model"] != second.prompt["model"]:
        raise UsageError("These prompts are of different models.", next_step="Compare two prompts of one model.")
    aligned = first.prompt["n_tokens"] == second.prompt["n_tokens"]
    if not aligned:
        # Without the same positions no memory of one prompt is that of the other.
        view_a, view_b = replace(view_a, memories=0), replace(view_b, memories=0)
        first, second = source.graph(view_a), source.graph(view_b)
    shown_a, shown_b = _parts(first), _parts(second)
    shift = (second.prompt["id"] - first.prompt["id"]) * STATE_STRIDE
    neurons = {part for part in shown_a | shown_b if part not in _values(first) | _values(second)}
    values = {one - shift for one in _values(second)} | _values(first) if aligned else set()
    first = source.graph(view_a, frozenset(neurons | values))
    second = source.graph(view_b, frozenset(neurons | {one + shift for one in values}))
    records = (records_of(first), records_of(second))
    order = _common_order(*records)
    for one in records:
        one.order = order
    drawings = tuple(summary(one) if view_a.layers is None else detail(one) for one in records)
    coloured_a, coloured_b, rows = _differences(*drawings)
    note = "" if aligned else "The prompts have different numbers of tokens: memories are left out."
    return Comparison(coloured_a, coloured_b, rows, note)


def compare_groups(source: Source, a: Selection, b: Selection) -> Comparison:
    """Draw the means of two groups of prompts of one model in the same places. Raises FlowatlasError."""
    first, second = means(source.store, a), means(source.store, b)
    if first.model["id"] != second.model["id"]:
        raise UsageError("These groups are of different models.", next_step="Compare groups of one model.")
    coloured_a, coloured_b, rows = _differences(group_drawing(first), group_drawing(second))
    return Comparison(coloured_a, coloured_b, rows, f"A: {first.prompts:,} prompts, B: {second.prompts:,}.")


def _parts(graph: Graph) -> set[int]:
    """Neurons and memory values that a graph shows."""
    rows = graph.edges_of(Type.WRITES, Type.SUMS)
    return set(rows["from"].to_list())


def _values(graph: Graph) -> set[int]:
    """Memory values that a graph shows."""
    return set(graph.edges_of(Type.SUMS)["from"].to_list())


def _common_order(a: Records, b: Records) -> dict[Hashable, float]:
    """For every neuron and memory the stronger of its two scores."""
    order: dict[Hashable, float] = {}
    for records in (a, b):
        for edge in records.edges.get(Type.WRITES, []):
            _stronger(order, edge["from"], float(edge["score"]))
        for edge in records.edges.get(Type.SUMS, []):
            value = records.states.get(edge["from"])
            if value is not None:
                _stronger(order, (value["layer"], value["head"], value["source"]), float(edge["score"]))
    return order


def _stronger(order: dict[Hashable, float], key: Hashable, score: float) -> None:
    if key not in order or abs(score) > abs(order[key]):
        order[key] = score


def place_of(box: Box) -> str:
    """What a box is, the same in both prompts."""
    info = box.info
    if box.id[0] in "nf":
        return box.id
    again = "@" if box.id.endswith("@") else ""
    return f"{info['kind']}.{info['layer']}.{info.get('head')}.{info.get('source')}{again}"


def _differences(a: Drawing, b: Drawing) -> tuple[Drawing, Drawing, list[dict[str, Any]]]:
    in_a = {place_of(box): box for box in a.boxes}
    in_b = {place_of(box): box for box in b.boxes}
    changes = {place: _change(in_a[place].info, in_b[place].info) for place in in_a if place in in_b}
    most = max((abs(change) for change, of_logit in changes.values() if of_logit), default=0.0)
    buckets = {place: contribution_bucket(change, most if of_logit else 1.0) for place, (change, of_logit) in changes.items()}
    rows = [_row(in_a[place], in_b[place], *changes[place]) for place in changes if not place.endswith("@") and place[0] != "f"]
    rows.sort(key=lambda row: (row["change"] is None, -abs(row["change"] or 0.0), -abs(row["prob_change"] or 0.0)))
    coloured = [
        replace(drawing, boxes=[_coloured(box, other.get(place_of(box)), buckets.get(place_of(box), 0), name) for box in drawing.boxes])
        for drawing, other, name in ((a, in_b, "B"), (b, in_a, "A"))
    ]
    return coloured[0], coloured[1], rows[:ROWS]


def _change(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[float, bool]:
    """B less A: of the contribution where there is one, otherwise of the target's probability."""
    if a.get("co") is not None and b.get("co") is not None:
        return b["co"] - a["co"], True
    if a.get("tp") is not None and b.get("tp") is not None:
        return b["tp"] - a["tp"], False
    return 0.0, False


def _row(a: Box, b: Box, change: float, of_logit: bool) -> dict[str, Any]:
    return {
        "place": place_of(a),
        "at": {name: a.info.get(name) for name in ("kind", "layer", "head")},
        "what": a.info["t"],
        "layer": a.info["layer"],
        "says_a": a.label,
        "says_b": b.label,
        "contribution_a": a.info.get("co"),
        "contribution_b": b.info.get("co"),
        "change": change if of_logit else None,
        "prob_change": None if of_logit and a.info.get("tp") is None else (b.info.get("tp") or 0.0) - (a.info.get("tp") or 0.0),
        "rank_a": a.info.get("tr"),
        "rank_b": b.info.get("tr"),
        "prob_a": a.info.get("tp"),
        "prob_b": b.info.get("tp"),
        "top_a": a.info.get("top"),
        "top_b": b.info.get("top"),
    }


def _coloured(box: Box, other: Box | None, bucket: int, name: str) -> Box:
    info: dict[str, Any] = {**box.info, "cb": bucket, "place": place_of(box)}
    if other is not None:
        info["other"] = {"name": name, "label": other.label, **{key: other.info.get(key) for key in ("tr", "tp", "co", "top")}}
    return replace(box, info=info)


