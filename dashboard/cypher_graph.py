"""Rows of a query -> a graph: rows with `from` and `to` are edges between vectors; other ids are nodes."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

from dashboard.elements.buckets import width
from dashboard.elements.curves import control_points
from dashboard.elements.cytoscape import Element
from dashboard.elements.text import node_title, short, visible
from flowatlas.stores.base import Store
from flowatlas.vocabulary import Kind

MOST_NODES: Final = 400
_ORDER: Final = {kind: number for number, kind in enumerate(Kind)}
_RETURNED: Final = (
    "s.id AS id, s.kind AS kind, s.layer AS layer, s.head AS head, s.source AS source, s.top_tokens AS tok, s.top_probs AS pr, "
    "s.target_rank AS tr, s.target_prob AS tp, s.norm AS `no`, s.entropy AS en"
)


def graph_of(store: Store, rows: list[dict[str, Any]]) -> tuple[list[Element], str]:
    """Elements of the vectors whose ids the rows hold, and a line that says what is drawn."""
    edges = [row for row in rows if isinstance(row.get("from"), int) and isinstance(row.get("to"), int)]
    ids = list(dict.fromkeys(one for row in edges for one in (row["from"], row["to"])))
    ids += [row["id"] for row in rows if isinstance(row.get("id"), int) and row["id"] not in ids]
    if not ids:
        return [], "A graph is drawn of columns named `from` and `to` (or `id`) that hold ids of vectors."
    text = f"UNWIND $ids AS i MATCH (s:State|Query|Key|Value|Head {{id: i}}) RETURN {_RETURNED}"
    found: list[dict[str, Any]] = store.read(text, {"ids": ids[:MOST_NODES]}).to_pylist()
    if not found:
        return [], "None of these ids is a vector's."
    places = _places(found)
    nodes = [_node(row, *places[row["id"]]) for row in found]
    most = max((abs(float(row.get("score") or 0)) for row in edges), default=0.0)
    lines = [_edge(number, row, places, most) for number, row in enumerate(edges) if row["from"] in places and row["to"] in places]
    words = f"{len(nodes)} vectors, {len(lines)} relationships" + (f" (the first {MOST_NODES} vectors)" if len(ids) > MOST_NODES else "")
    return nodes + lines, words


def _places(rows: list[dict[str, Any]]) -> dict[int, tuple[float, float]]:
    """Left to right by layer and kind, top to bottom by head and source."""
    columns: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        columns[row["layer"], _ORDER.get(row["kind"], 99)].append(row)
    places = {}
    longest = max(len(column) for column in columns.values())
    for x, key in enumerate(sorted(columns)):
        column = sorted(columns[key], key=lambda row: (row["head"] or 0, row["source"] or 0, row["id"]))
        for y, row in enumerate(column):
            places[row["id"]] = (x * 260.0, (y + 0.5) / len(column) * longest * 32.0)
    return places


def _node(row: dict[str, Any], x: float, y: float) -> Element:
    tokens = [visible(token) for token in row["tok"]]
    source = None if row["source"] is None else f"position {row['source']}"
    data = {
        **{name: row[name] for name in ("tr", "tp", "no", "en", "kind", "layer")},
        "id": str(row["id"]), "label": short(tokens[0]), "w": 98, "h": 24, "tok": tokens, "pr": row["pr"], "rb": 4, "fb": 4, "eb": 4, "cb": 0,
        "t": node_title(row["kind"], row["layer"], row["head"], source),
    }  # fmt: skip
    look = {"query": "query", "key": "value", "value": "value", "head": "head"}.get(row["kind"], "hub")
    return {"group": "nodes", "data": data, "position": {"x": x, "y": y}, "classes": f"n {look}"}


def _edge(number: int, row: dict[str, Any], places: dict[int, tuple[float, float]], most: float) -> Element:
    (x1, y1), (x2, y2) = places[row["from"]], places[row["to"]]
    score = row.get("score")
    data: dict[str, Any] = {"id": f"e{number}", "source": str(row["from"]), "target": str(row["to"]), "w": width(score, most), "sh": 1, "ty": str(row.get("type", "row")), "me": "score"}
    if score is not None:
        data["sc"] = score
    curve = control_points(x1 + 49, y1, x2 - 49, y2) if x2 > x1 else None
    if curve is not None:
        data["cw"], data["cd"] = (" ".join(map(str, numbers)) for numbers in curve)
    return {"group": "edges", "data": data, "classes": "e attention" + (" curve" if curve else "")}
