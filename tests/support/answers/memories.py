"""What heads attend to and recall."""

from __future__ import annotations

from typing import Any

import polars as pl

from support.answers.common import chosen, recalled, reference, tokens
from support.shard_tables import ShardTables


@reference
def sources_of_promoting_heads(data: ShardTables, rank: int = 10, values: int = 1, **given: Any) -> pl.DataFrame:
    rows = recalled(data, chosen(data, given), "n_tokens")
    rows = rows.filter((pl.col("head_rank") <= rank) & (pl.col("rank") <= values))
    return rows.join(tokens(data), on=["prompt", "source"]).group_by("layer", "head", "token").agg(
        prompts=pl.len(), mean_attention=pl.col("attention").mean(), mean_contribution=pl.col("contribution").mean(),
        mean_distance=(pl.col("n_tokens") - 1 - pl.col("source")).mean(), target_on_top=(pl.col("target_rank") <= rank).sum(),
    )  # fmt: skip


@reference
def attention_pattern(data: ShardTables, prompt: int, layer: int, head: int) -> pl.DataFrame:
    here = (pl.col("layer") == layer) & (pl.col("head") == head)
    rows = recalled(data, data.prompts(id=prompt)).filter(here)
    keys = data["Key"].filter(here, pl.col("prompt") == prompt).select("id", "source", key_tokens="top_tokens")
    attends = data["ATTENDS_Query_Key"].select("logit", id="to", attended="score", order="rank")
    rows = rows.join(keys.join(attends, on="id").drop("id"), on="source").join(tokens(data), on=["prompt", "source"])
    return rows.select(
        "source", "token", "logit", "contribution", "key_tokens", "target_rank", attention="attended", rank="order",
        norm="added", value_tokens="top_tokens",
    )  # fmt: skip


@reference
def attention_pattern_mean(data: ShardTables, layer: int, head: int, from_end: bool = False, **given: Any) -> pl.DataFrame:
    rows = recalled(data, chosen(data, given), "n_tokens").filter((pl.col("layer") == layer) & (pl.col("head") == head))
    place = pl.col("n_tokens") - 1 - pl.col("source") if from_end else pl.col("source")
    return rows.group_by(position=place).agg(
        prompts=pl.len(), mean_attention=pl.col("attention").mean(), top_share=(pl.col("rank") == 1).mean(),
        mean_contribution=pl.col("contribution").mean(), mean_norm=pl.col("added").mean(),
    )  # fmt: skip


@reference
def top_memory_values(data: ShardTables, prompt: int, values: int = 2, layer: int | None = None, head: int | None = None) -> pl.DataFrame:
    rows = recalled(data, data.prompts(id=prompt)).filter(pl.col("rank") <= values)
    for name, wanted in (("layer", layer), ("head", head)):
        rows = rows if wanted is None else rows.filter(pl.col(name) == wanted)
    return rows.join(tokens(data), on=["prompt", "source"]).with_columns(norm="added")
