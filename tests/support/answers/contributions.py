"""What layers add to the logit."""

from __future__ import annotations

from typing import Any

import polars as pl

from support.answers.common import chosen, of_prompts, reference
from support.shard_tables import ShardTables


def added(data: ShardTables, prompts: pl.DataFrame) -> pl.DataFrame:
    """What is added to the residual, and the constant."""
    states = of_prompts(data["State"].select("id", "prompt", "layer", component="kind"), prompts)
    rows = data["ADDS_State_State"].join(states, left_on="from", right_on="id")
    rows = rows.filter(~pl.col("component").is_in(["attention_bias", "mlp_bias"]))
    constants = prompts.join(data["Model"].select("n_layer", model="id"), on="model").select(
        prompt="id", layer="n_layer", component=pl.lit("constant"), contribution="target_constant", foil_contribution="foil_constant"
    )
    columns = ["prompt", "layer", "component", "contribution", "foil_contribution"]
    return pl.concat([rows.select(columns), constants.select(columns)])


@reference
def contributions(data: ShardTables, prompt: int) -> pl.DataFrame:
    return added(data, data.prompts(id=prompt))


@reference
def contributions_mean(data: ShardTables, **given: Any) -> pl.DataFrame:
    return added(data, chosen(data, given)).group_by("layer", "component").agg(
        mean_contribution=pl.col("contribution").cast(pl.Float64).mean(),
        mean_foil_contribution=pl.col("foil_contribution").cast(pl.Float64).mean(), prompts=pl.len(),
    )  # fmt: skip
