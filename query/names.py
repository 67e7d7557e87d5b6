"""Names of nodes that mean the same in every prompt and store of a model: `3.head.1`, `2.mlp.45`, `token.4`."""

from __future__ import annotations

import polars as pl

from flowatlas.vocabulary import Label
from query.graph import Graph


def node_names(graph: Graph) -> pl.DataFrame:
    """`label`, `id` and `name` of every node.

    A token is `token.POSITION`, a neuron `LAYER.MATRIX.INDEX`, a vector `LAYER.KIND`, with `.HEAD`
    where it has one and `.SOURCE` where it remembers a position; embeddings have layer -1. A neuron
    of an expert ends with `@EXPERT`.
    """
    number = {c: pl.col(c).cast(pl.String) for c in ("layer", "head", "source", "index", "position", "expert")}
    optional = pl.concat_str(
        [pl.when(pl.col(c).is_not_null()).then(pl.lit(".") + number[c]).otherwise(pl.lit("")) for c in ("head", "source")]
    )
    several = (pl.col("label") == Label.NEURON) & (pl.col("expert") > 0)
    expert = pl.when(several).then(pl.lit("@") + number["expert"]).otherwise(pl.lit(""))
    name = (
        pl.when(pl.col("label") == Label.TOKEN).then(pl.lit("token.") + number["position"])
        .when(pl.col("label") == Label.NEURON)
        .then(pl.concat_str([number["layer"], pl.lit("."), pl.col("matrix"), pl.lit("."), number["index"], expert]))
        .otherwise(pl.concat_str([number["layer"], pl.lit("."), pl.col("kind"), optional]))
    )  # fmt: skip
    return graph.nodes.select("label", "id", name=name)


def named_edges(graph: Graph) -> pl.DataFrame:
    """The edges with `from_name` and `to_name` in front."""
    names = node_names(graph)
    edges = graph.edges
    for end in ("from", "to"):
        edges = edges.join(
            names.rename({"label": f"{end}_label", "id": end, "name": f"{end}_name"}), on=[f"{end}_label", end],
            how="left", maintain_order="left",
        )  # fmt: skip
    return edges.select("from_name", "to_name", *graph.edges.columns)
