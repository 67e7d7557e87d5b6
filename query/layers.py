"""Layers of a graph: which vectors belong to a range of layers, and parts of a graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from flowatlas.errors import UsageError
from flowatlas.vocabulary import STATE_LABELS, Kind, Label
from query.graph import Graph


def parse_layers(text: str, n_layer: int) -> range:
    """`9:11` as range(9, 11), `9` as range(9, 10), `:` as all. Raises UsageError."""
    first, colon, last = text.partition(":")
    try:
        start = int(first) if first else 0
        stop = start + 1 if not colon else (int(last) if last else n_layer)
    except ValueError as error:
        raise UsageError(
            f"'{text}' is not a range of layers.", known="Write 9:11 for layers 9 and 10, 9 for one layer, : for all."
        ) from error
    return range(start, stop)


def checked_layers(layers: range | None, model: Mapping[str, Any]) -> range:
    """`layers` or all layers of the model. Raises UsageError when there are none or not such."""
    count = int(model["n_layer"])
    if layers is None:
        return range(count)
    if layers.step != 1 or not 0 <= layers.start < layers.stop <= count:
        asked = f"{layers.start}:{layers.stop}" + (f" in steps of {layers.step}" if layers.step != 1 else "")
        raise UsageError(
            f"The model {model['name']} has no layers {asked}.",
            known=f"Its layers are 0 to {count - 1}; 0:{count} means all of them.",
        )
    return layers


def in_layers(layers: range, model: Mapping[str, Any]) -> pl.Expr:
    """Whether a vector belongs to `layers`: those of the layers and the residual that enters them.

    The embeddings come with layer 0, the final norm with the last layer.
    """
    inside = (pl.col("layer") >= layers.start) & (pl.col("layer") < layers.stop)
    enters = (pl.col("layer") == layers.start - 1) & (
        pl.lit(layers.start == 0) | (pl.col("kind") == Kind.RESIDUAL_POST)
    )
    leaves = (pl.col("kind") == Kind.FINAL_NORM) & pl.lit(layers.stop == model["n_layer"])
    return inside | enters | leaves


def part_of(graph: Graph, layers: range) -> Graph:
    """The part of a graph in some of its layers. Raises UsageError when it does not hold them all."""
    if layers.step != 1 or not graph.layers.start <= layers.start < layers.stop <= graph.layers.stop:
        raise UsageError(
            f"This graph does not hold layers {layers.start}:{layers.stop}.",
            known=f"It holds {graph.layers.start}:{graph.layers.stop}.",
        )
    states = pl.col("label").is_in([str(label) for label in STATE_LABELS])
    kept = graph.nodes.filter(states & in_layers(layers, graph.model)).select("label", "id")
    inner = graph.edges
    for end in ("from", "to"):
        shared = inner[f"{end}_label"].is_in([str(Label.TOKEN), str(Label.NEURON)])
        inside = inner.select(label=f"{end}_label", id=end).join(
            kept.with_columns(there=pl.lit(True)), on=["label", "id"], how="left", maintain_order="left"
        )["there"]
        inner = inner.filter(inside.fill_null(False) | shared)
    ends = pl.concat([inner.select(label="from_label", id="from"), inner.select(label="to_label", id="to")]).unique()
    nodes = graph.nodes.join(ends, on=["label", "id"], how="semi", maintain_order="left")
    whole = None if graph.whole is None else part_of(graph.whole, layers)
    part = graph.with_rows(nodes, inner, layers=layers, whole=whole)
    if graph.pruned is None:
        return part
    from query.pruning import report_again

    return report_again(part)
