"""How top tokens overlap (I_k), and the top tokens themselves."""

from __future__ import annotations

from typing import Any

import polars as pl

from support.answers.common import chosen, heads, of_prompts, recalled, reference
from support.shard_tables import ShardTables


def overlaps(rows: pl.DataFrame, one: str, other: str, keys: list[str], k: int | None) -> pl.DataFrame:
    """Mean I_k by `keys`."""
    k = k or 50
    found = [len(set(a[:k]) & set(b[:k])) / k for a, b in rows.select(one, other).rows()]
    return rows.with_columns(i_k=pl.Series(found, dtype=pl.Float64)).group_by(keys).agg(overlap=pl.col("i_k").mean(), pairs=pl.len())


@reference
def alignment_heads(data: ShardTables, layer: int | None = None, k: int | None = None, **given: Any) -> pl.DataFrame:
    selected = chosen(data, given)
    outputs = data["State"].filter(pl.col("kind") == "attention_output").select("prompt", "layer", other="top_ids")
    rows = heads(data, selected).join(outputs, on=["prompt", "layer"])
    return overlaps(rows if layer is None else rows.filter(pl.col("layer") == layer), "top_ids", "other", ["layer", "head"], k)


def value_overlaps(data: ShardTables, keys: list[str], values: int, layer: int | None, k: int | None, given: Any) -> pl.DataFrame:
    rows = recalled(data, chosen(data, given)).filter(pl.col("rank") <= values)
    return overlaps(rows if layer is None else rows.filter(pl.col("layer") == layer), "top_ids", "head_ids", keys, k)


@reference
def alignment_values_by_rank(data: ShardTables, values: int = 3, layer: int | None = None, k: int | None = None, **given: Any) -> pl.DataFrame:
    return value_overlaps(data, ["layer", "rank"], values, layer, k, given)


@reference
def alignment_values_by_head(data: ShardTables, values: int = 1, layer: int | None = None, k: int | None = None, **given: Any) -> pl.DataFrame:
    return value_overlaps(data, ["layer", "head"], values, layer, k, given)


@reference
def alignment_residuals(data: ShardTables, k: int | None = None, **given: Any) -> pl.DataFrame:
    states = of_prompts(data["State"], chosen(data, given)).select("prompt", "layer", "kind", "top_ids")
    attention = states.filter(pl.col("kind") == "attention_output").select("prompt", "layer", one="top_ids")
    parts = []
    for kind, shift, name in (
        ("residual_mid", 0, "residual_mid"), ("residual_post", 0, "residual_post"), ("mlp_output", 0, "mlp_output"),
        ("residual_post", 1, "block_before"), ("embedding", 1, "block_before"), ("attention_output", 1, "attention_before"),
    ):  # fmt: skip
        other = states.filter(pl.col("kind") == kind).select("prompt", pl.col("layer") + shift, other="top_ids")
        parts.append(attention.join(other, on=["prompt", "layer"]).with_columns(compared=pl.lit(name)))
    return overlaps(pl.concat(parts), "one", "other", ["layer", "compared"], k)


@reference
def tops_of_states(data: ShardTables, **given: Any) -> pl.DataFrame:
    kinds = ["embedding", "attention_output", "residual_mid", "mlp_output", "residual_post"]
    return of_prompts(data["State"].filter(pl.col("kind").is_in(kinds)), chosen(data, given))


@reference
def tops_of_heads(data: ShardTables, layer: int | None = None, **given: Any) -> pl.DataFrame:
    rows = heads(data, chosen(data, given)).with_columns(norm="written")
    return rows if layer is None else rows.filter(pl.col("layer") == layer)


@reference
def tops_of_values(data: ShardTables, layer: int | None = None, values: int | None = None, **given: Any) -> pl.DataFrame:
    rows = recalled(data, chosen(data, given)).with_columns(norm="added")
    rows = rows if layer is None else rows.filter(pl.col("layer") == layer)
    return rows if values is None else rows.filter(pl.col("rank") <= values)


@reference
def tops_of_queries(data: ShardTables, layer: int | None = None, **given: Any) -> pl.DataFrame:
    rows = of_prompts(data["Query"], chosen(data, given))
    return rows if layer is None else rows.filter(pl.col("layer") == layer)


@reference
def tops_of_keys(data: ShardTables, layer: int | None = None, **given: Any) -> pl.DataFrame:
    edges = data["ATTENDS_Query_Key"].select("rank", id="to")
    rows = of_prompts(data["Key"], chosen(data, given)).join(edges, on="id")
    return rows if layer is None else rows.filter(pl.col("layer") == layer)
