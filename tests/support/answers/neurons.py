"""Neurons."""

from __future__ import annotations

from typing import Any

import polars as pl

from support.answers.common import active, chosen, reference, writes
from support.shard_tables import ShardTables


@reference
def top_neurons(data: ShardTables, prompt: int, neurons: int = 10, matrix: str = "mlp", layer: int | None = None) -> pl.DataFrame:
    rows = writes(data, data.prompts(id=prompt)).filter((pl.col("rank") <= neurons) & (pl.col("matrix") == matrix))
    rows = rows if layer is None else rows.filter(pl.col("layer") == layer)
    promoted = pl.when(pl.col("score") < 0).then("bottom_tokens").otherwise("top_tokens")
    return rows.with_columns(neuron="index", coefficient="score", promoted=promoted)


def mlp_rows(data: ShardTables) -> pl.DataFrame:
    return data["Neuron"].filter(pl.col("matrix") == "mlp").rename({"index": "neuron"})


@reference
def always_on_neurons(data: ShardTables, rank: int = 100, share: float = 0.85, layer: int | None = None, **given: Any) -> pl.DataFrame:
    selected = chosen(data, given)
    rows = active(data, selected, rank).filter(pl.col("share") >= share)
    rows = rows if layer is None else rows.filter(pl.col("layer") == layer)
    means = mlp_rows(data).group_by("layer").agg(layer_entropy=pl.col("entropy").mean(), layer_norm=pl.col("norm").mean())
    rows = rows.join(mlp_rows(data), on=["layer", "neuron"]).join(means, on="layer")
    return rows.with_columns(prompts=pl.lit(len(selected)))


@reference
def neurons_of_token(data: ShardTables, token: str, matrix: str = "mlp", layer: int | None = None) -> pl.DataFrame:
    rows = data["Neuron"].filter(pl.col("matrix") == matrix)
    rows = rows if layer is None else rows.filter(pl.col("layer") == layer)
    top, bottom = pl.col("top_tokens"), pl.col("bottom_tokens")
    rows = rows.filter(top.list.contains(token) | bottom.list.contains(token))
    return rows.with_columns(
        neuron="index", sign=pl.when(top.list.contains(token)).then(1).otherwise(-1), key_tokens="key_top_tokens",
        first=pl.when(top.list.contains(token)).then(top.list.first() == token).otherwise(bottom.list.first() == token),
    )  # fmt: skip


@reference
def neuron_history(data: ShardTables, layer: int, neuron: int, matrix: str = "mlp", **given: Any) -> pl.DataFrame:
    rows = writes(data, chosen(data, given), "target", "text")
    rows = rows.filter((pl.col("layer") == layer) & (pl.col("index") == neuron) & (pl.col("matrix") == matrix))
    return rows.with_columns(coefficient="score")


@reference
def neurons_by_layer(data: ShardTables, matrix: str = "mlp", **given: Any) -> pl.DataFrame:
    chosen(data, given)
    entropy, norm = pl.col("entropy"), pl.col("norm")
    return data["Neuron"].filter(pl.col("matrix") == matrix).group_by("layer").agg(
        neurons=pl.len(), mean_entropy=entropy.mean(), mean_norm=norm.mean(), least_entropy=entropy.min(),
        most_entropy=entropy.max(), least_norm=norm.min(), most_norm=norm.max(),
    )  # fmt: skip


@reference
def most_activated_neurons(data: ShardTables, rank: int = 100, **given: Any) -> pl.DataFrame:
    rows = writes(data, chosen(data, given)).filter((pl.col("kind") == "mlp_output") & (pl.col("rank") <= rank))
    return rows.group_by("prompt", "layer").agg(
        neurons=pl.len(), mean_entropy=pl.col("entropy").mean(), mean_norm=pl.col("row_norm").mean()
    )
