"""What the store holds: prompts, models, sizes."""

from __future__ import annotations

from typing import Any

import polars as pl

from support.answers.common import chosen, reference
from support.shard_tables import ShardTables


@reference
def prompts(data: ShardTables, **given: Any) -> pl.DataFrame:
    return chosen(data, given).rename({"id": "prompt"})


@reference
def models(data: ShardTables) -> pl.DataFrame:
    counts = data["Prompt"].group_by("model").agg(prompts=pl.len(), correct=pl.col("correct").sum())
    return data["Model"].rename({"id": "model"}).join(counts, on="model")


@reference
def sizes(data: ShardTables, **given: Any) -> pl.DataFrame:
    rows = chosen(data, given)
    states = pl.concat([data[n].select("prompt") for n in ("Query", "Key", "Value", "Head", "State")])
    counted = states.group_by(id="prompt").agg(states=pl.len())
    return rows.join(counted, on="id").select(
        "keep", "text", "states", prompt="id", tokens="n_tokens", relationships="n_relationship"
    )
