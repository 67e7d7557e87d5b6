"""A view of the page -> what Cytoscape draws and what the page says about it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from dashboard.elements.cytoscape import wire
from dashboard.elements.detail import Show, detail
from dashboard.elements.drawing import Drawing
from dashboard.elements.records import Records
from dashboard.elements.summary import summary
from dashboard.elements.text import visible
from dashboard.view import GraphView
from flowatlas.vocabulary import Label, Type
from query.graph import Graph

MOST_BOXES: Final = 2600
"""More than this a browser draws too slowly: the summary is offered instead."""


@dataclass(frozen=True)
class Picture:
    """Panels, boxes and lines (`parts`, see `dashboard.elements.cytoscape`) and what the page says about them (`meta`)."""

    parts: dict[str, list[list[Any]]]
    meta: dict[str, Any]

    def json(self) -> str:
        """As the page's scripts take it; a number that is none (as of a vector that overflowed) is null."""
        whole = {**self.parts, "meta": self.meta}
        try:
            return json.dumps(whole, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        except ValueError:
            return json.dumps(_finite(whole), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def records_of(graph: Graph) -> Records:
    """The rows of a graph, looked up by what they are."""
    return Records(graph.prompt, graph.model, (graph.whole or graph).tokens, graph.node_records, graph.edge_records)


def draw(graph: Graph, view: GraphView) -> Drawing:
    """The drawing of a graph under a view: the summary when the view names no layers."""
    records = records_of(graph)
    if view.layers is None:
        return summary(records)
    show = Show("attention" not in view.hide, "mlp" not in view.hide, "qk" not in view.hide)
    return detail(records, show)


def picture(graph: Graph, view: GraphView) -> Picture:
    """Everything the Graph tab shows of a graph."""
    drawing = draw(graph, view)
    if len(drawing.boxes) > MOST_BOXES:
        return _too_many(graph, view, len(drawing.boxes))
    return Picture(wire(drawing), {**_about(graph, view), **_size(drawing), **hidden(graph, drawing)})


def _too_many(graph: Graph, view: GraphView, boxes: int) -> Picture:
    """No picture but an offer: the summary, or less of everything."""
    text = (
        f"These layers would draw {boxes:,} nodes, more than a browser shows well ({MOST_BOXES:,}). "
        "Choose fewer layers, neurons or memories, or see the summary."
    )
    size = {"boxes": 0, "lines": 0, "frame": "", "message": text, "showing": f"{boxes:,} nodes are not drawn", "hidden": ""}
    return Picture({}, {**_about(graph, view), **size})


def message(text: str, problems: tuple[str, ...] = ()) -> Picture:
    """An empty picture that says why."""
    return Picture({}, {"boxes": 0, "lines": 0, "message": text, "prompt": None, "problems": list(problems), "tokens": [],
                        "frame": "", "key": text, "summary": True, "n_layer": 0, "range": None})  # fmt: skip


def _about(graph: Graph, view: GraphView) -> dict[str, Any]:
    prompt = graph.prompt
    wanted = ("id", "text", "target", "target_rank", "target_prob", "foil", "predicted", "predicted_prob", "correct", "dataset")
    about = {name: prompt.get(name) for name in wanted}
    about["text"] = str(about["text"]).strip()
    for name in ("text", "target", "foil", "predicted"):
        if prompt.get(name) is not None:
            about[name] = visible(str(about[name]))
    layers = [view.layers[0], view.layers[1]] if view.layers else None
    words = "whole model" if layers is None else f"layer {layers[0]}" if layers[0] == layers[1] else f"layers {layers[0]}–{layers[1]}"
    return {
        "prompt": about,
        "tokens": [{"text": visible(token["text"]), "position": token["position"]} for token in (graph.whole or graph).tokens],
        "layers": words,
        "range": layers,
        "summary": layers is None,
        "n_layer": int(graph.model["n_layer"]),
        "model": graph.model["name"],
        "problems": [*view.problems, *([graph.note] if graph.note else [])],
        "key": f"{prompt['id']}:{layers}:{view.positive}:{view.negative}:{view.memories}:{view.heads}:{view.head_count}:"
        f"{view.score}:{','.join(view.hide)}:{','.join(view.expanded)}",
    }


def _size(drawing: Drawing) -> dict[str, Any]:
    at = {box.id for box in drawing.boxes}
    lines = sum(line.source in at and line.target in at for line in drawing.lines)
    extent = [round(side) for side in drawing.extent()]
    return {"boxes": len(drawing.boxes), "lines": lines, "frame": ",".join(map(str, extent))}


def hidden(graph: Graph, drawing: Drawing) -> dict[str, str]:
    """What is shown of what there is: nodes, and the share of the absolute contribution to the target.

    The share counts heads and MLP neurons, which together with embeddings and biases make up the
    logit; memories and W_O neurons are the same contribution seen more finely, and said apart.
    """
    whole = graph.whole or graph
    shown = {(box.id[0].replace("f", "n"), box.info["raw"]) for box in drawing.boxes}
    total = whole.nodes.filter(pl.col("label") != Label.TOKEN).height
    kept, of = _contributions(whole, shown)
    parts = [f"{name} {kept[name] / of[name]:.0%}".replace("%", " %") for name in kept if of[name] > 0]
    main = of["heads"] + of["MLP neurons"]
    share = (kept["heads"] + kept["MLP neurons"]) / main if main else None
    words = f"showing {len(shown):,} of {total:,} nodes"
    if share is not None:
        words += f", {share:.0%} of the contribution".replace("%", " %")
    return {
        "showing": words,
        "hidden": f"{total - len(shown):,} nodes of {'these layers' if graph.layers else 'the model'} are hidden. Shown of the "
        "absolute direct effect on the target's logit: " + "; ".join(parts),
    }


def _contributions(whole: Graph, shown: set[tuple[str, int]]) -> tuple[dict[str, float], dict[str, float]]:
    """Sums of |contribution| by part: what is shown, and all there is."""
    mlp = whole.nodes.filter((pl.col("label") == Label.STATE) & (pl.col("kind") == "mlp_output"))["id"].implode()
    size = pl.col("contribution").cast(pl.Float64).abs().fill_null(0.0)
    parts = {
        "heads": (Type.CONCATENATES, pl.lit(True), "s"),
        "MLP neurons": (Type.WRITES, pl.col("to").is_in(mlp), "n"),
        "memories": (Type.SUMS, pl.lit(True), "s"),
        "W_O neurons": (Type.WRITES, ~pl.col("to").is_in(mlp), "n"),
    }
    kept, of = {}, {}
    for name, (type_, condition, prefix) in parts.items():
        rows = whole.edges_of(type_).filter(condition)
        visible_ids = pl.Series([number for letter, number in shown if letter == prefix], dtype=pl.Int64).implode()
        of[name] = float(rows.select(size.sum()).item())
        kept[name] = float(rows.filter(pl.col("from").is_in(visible_ids)).select(size.sum()).item())
    return kept, of


