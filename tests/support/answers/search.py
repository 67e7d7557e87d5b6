"""Where a token is."""

from __future__ import annotations

from typing import Any

import polars as pl

from support.answers.common import chosen, of_prompts, reference
from support.shard_tables import ShardTables


def counted(rows: pl.DataFrame, given: dict[str, Any], *more: pl.Expr) -> pl.DataFrame:
    for name in ("kind", "layer"):
        rows = rows.filter(pl.col(name) == given[name]) if name in given else rows
    return rows.group_by("kind", "layer").agg(*more, states=pl.len(), prompts=pl.col("prompt").n_unique())


@reference
def token_search(data: ShardTables, token: str, **given: Any) -> pl.DataFrame:
    rows = of_prompts(data.vectors, chosen(data, given)).filter(pl.col("top_tokens").list.contains(token))
    return counted(rows, given, (pl.col("top_token") == token).sum().alias("first"))


@reference
def token_search_id(data: ShardTables, token_id: int, **given: Any) -> pl.DataFrame:
    return counted(of_prompts(data.vectors, chosen(data, given)).filter(pl.col("top_ids").list.contains(token_id)), given)
