"""The target's way through the layers."""

from __future__ import annotations

from typing import Any

import polars as pl

from support.answers.common import RESIDUALS, chosen, of_prompts, reference
from support.shard_tables import ShardTables


def residuals(data: ShardTables, prompts: pl.DataFrame, *columns: str) -> pl.DataFrame:
    return of_prompts(data["State"].filter(pl.col("kind").is_in(RESIDUALS)), prompts, *columns)


@reference
def target_by_layer(data: ShardTables, prompt: int) -> pl.DataFrame:
    return residuals(data, data.prompts(id=prompt))


@reference
def token_by_layer(data: ShardTables, prompt: int, token_id: int) -> pl.DataFrame:
    rows = residuals(data, data.prompts(id=prompt))
    places = [list(ids).index(token_id) + 1 if token_id in ids else None for ids in rows["top_ids"].to_list()]
    return rows.with_columns(rank=pl.Series(places, dtype=pl.Int64))


@reference
def trajectory_by_correctness(data: ShardTables, **given: Any) -> pl.DataFrame:
    return residuals(data, chosen(data, given), "correct").group_by("layer", "kind", "correct").agg(
        prompts=pl.len(), mean_target_prob=pl.col("target_prob").mean(), mean_log_rank=pl.col("target_rank").log(10).mean(),
        first_share=(pl.col("target_rank") == 1).mean(), mean_foil_prob=pl.col("foil_prob").mean(),
        mean_entropy=pl.col("entropy").mean(),
    )  # fmt: skip


def after_layers(data: ShardTables, prompts: pl.DataFrame, *columns: str) -> pl.DataFrame:
    return of_prompts(data["State"].filter(pl.col("kind") == "residual_post"), prompts, *columns)


@reference
def first_layer_target_on_top(data: ShardTables, **given: Any) -> pl.DataFrame:
    first = pl.col("target_rank") == 1
    return after_layers(data, chosen(data, given), "correct", "target", "text").group_by("prompt", "correct", "target", "text").agg(
        first_layer=pl.col("layer").filter(first).min(), layers_on_top=first.sum()
    )


@reference
def layers_with_target_on_top(data: ShardTables, **given: Any) -> pl.DataFrame:
    first = pl.col("target_rank") == 1
    return after_layers(data, chosen(data, given)).group_by("layer").agg(prompts=pl.len(), on_top=first.sum(), share=first.mean())
