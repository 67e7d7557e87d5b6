"""The summary of a model drawn from a group of prompts: the same boxes and lines, with the group's means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from dashboard.elements.drawing import Box, Drawing
from dashboard.elements.records import Records
from dashboard.elements.summary import summary
from dashboard.elements.text import visible
from flowatlas.vocabulary import Kind, Label, Type
from query.means import Means


def group_drawing(means: Means) -> Drawing:
    """Draw a group. A box says the mean: a head's or output's contribution, a residual's probability of the target."""
    nodes = [_node(number, row) for number, row in enumerate(means.rows.to_dicts())]
    records = Records({"target": "", "foil": None}, means.model, [], nodes, _edges(nodes, int(means.model["n_layer"])))
    drawing = summary(records)
    by_id = {node["id"]: node for node in nodes}
    return replace(drawing, boxes=[_told(box, by_id[box.info["raw"]], means.prompts) for box in drawing.boxes])


def _node(number: int, row: dict[str, Any]) -> dict[str, Any]:
    spoken = row["contribution"] is not None
    words = f"{row['contribution']:+.2f}" if spoken else _percent(row["target_prob"])
    return {
        **row, "id": number, "label": str(Label.HEAD if row["kind"] == Kind.HEAD else Label.STATE), "top_token": words,
        "top_tokens": row["tokens"], "top_probs": row["shares"], "target_rank": None,
    }  # fmt: skip


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 or share == 0 else f"{share:.1%}" if share >= 0.001 else "<0.1%"


def _told(box: Box, row: dict[str, Any], prompts: int) -> Box:
    info = {**box.info, "label": row["top_token"], "n": prompts, "top": row["top"], "tok": [visible(token) for token in row["tokens"]]}
    return replace(box, info=info)


def _edges(nodes: list[dict[str, Any]], layers: int) -> Iterator[dict[str, Any]]:
    """The lines of a summary: what each head and output adds, and the residual."""
    at = {(node["kind"], node["layer"], node["head"]): node for node in nodes}

    def state(kind: str, layer: int) -> dict[str, Any] | None:
        return at.get((kind, layer, None))

    for node in nodes:
        output = state(Kind.ATTENTION_OUTPUT, node["layer"])
        if node["kind"] == Kind.HEAD and output:
            yield _edge(Type.CONCATENATES, node, output)
    residual = state(Kind.EMBEDDING, -1)
    for kind in (Kind.TOKEN_EMBEDDING, Kind.POSITION_EMBEDDING):
        part = state(kind, -1)
        if part and residual:
            yield _edge(Type.ADDS, part, residual)
    for layer in range(layers):
        middle, after = state(Kind.RESIDUAL_MID, layer), state(Kind.RESIDUAL_POST, layer)
        parts = ((Kind.ATTENTION_OUTPUT, Kind.ATTENTION_POST_NORM, middle or after), (Kind.MLP_OUTPUT, Kind.MLP_POST_NORM, after))
        for kind, normed, to in parts:
            output, norm = state(kind, layer), state(normed, layer)
            if output and to and norm:
                yield {**_edge(Type.NORMALIZES, output, norm), "contribution": None}
                yield _edge(Type.ADDS, norm, to)
            elif output and to:
                yield _edge(Type.ADDS, output, to)
        for to in (middle, after):
            if to and residual:
                yield {**_edge(Type.SKIPS, residual, to), "contribution": None, "score": residual["norm"]}
            residual = to or residual
    last = state(Kind.FINAL_NORM, layers)
    if last and residual:
        yield {**_edge(Type.NORMALIZES, residual, last), "contribution": None, "score": last["norm"]}


def _edge(kind: Type, source: dict[str, Any], target: dict[str, Any]) -> dict[str, Any]:
    return {"type": str(kind), "from": source["id"], "to": target["id"], "score": source["score"], "contribution": source["contribution"]}
