"""Tokens that enter and leave at a norm."""

from __future__ import annotations

from typing import Any

import polars as pl

from support.answers.common import chosen, of_prompts, reference
from support.shard_tables import ShardTables


def normalized(data: ShardTables, prompts: pl.DataFrame) -> pl.DataFrame:
    """Norms beside what enters them (`before_...`)."""
    states = of_prompts(data["State"], prompts)
    before = states.select(
        "id", before_tokens="top_tokens", entropy_before="entropy", target_rank_before="target_rank"
    )
    rows = data["NORMALIZES_State_State"].join(states, left_on="to", right_on="id")
    return rows.join(before, left_on="from", right_on="id").rename({"entropy": "entropy_after", "target_rank": "target_rank_after"})


def less(a: list[str], b: list[str]) -> list[str]:
    return [token for token in a if token not in b]


@reference
def norm_filter(data: ShardTables, prompt: int) -> pl.DataFrame:
    rows = normalized(data, data.prompts(id=prompt))
    pairs = rows.select("top_tokens", "before_tokens").rows()
    return rows.with_columns(
        entering=pl.Series([less(a, b) for a, b in pairs], dtype=pl.List(pl.String)),
        leaving=pl.Series([less(b, a) for a, b in pairs], dtype=pl.List(pl.String)),
    )


@reference
def norm_filter_tokens(
    data: ShardTables, kind: str = "attention_norm", leaving: bool = False, layer: int | None = None, **given: Any
) -> pl.DataFrame:
    rows = normalized(data, chosen(data, given)).filter(pl.col("kind") == kind)
    rows = rows if layer is None else rows.filter(pl.col("layer") == layer)
    counts: dict[tuple[int, str], int] = {}
    for layer_, after, before in rows.select("layer", "top_tokens", "before_tokens").rows():
        for token in less(before, after) if leaving else less(after, before):
            counts[layer_, token] = counts.get((layer_, token), 0) + 1
    return pl.DataFrame([{"layer": a, "kind": kind, "token": t, "prompts": n} for (a, t), n in counts.items()])
