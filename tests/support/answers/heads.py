"""Heads that promote or demote the target."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from scipy.stats import binom

from support.answers.common import chosen, heads, population_deviation, reference
from support.shard_tables import ShardTables


def control_targets(prompts: pl.DataFrame, seed: int) -> dict[int, int]:
    """For each prompt the target of another one, drawn by the same numbers as the query draws."""
    rows = prompts.select("id", "target_id").rows()
    drawn = {}
    for number, target in rows:
        others = [((i * 48271 + number * 16807 + seed * 69621) % 65537, t) for i, t in rows if t != target]
        drawn[number] = min(others)[1]
    return drawn


@reference
def heads_always_promoting_target(data: ShardTables, rank: int = 10, share: float = 0, seed: int = 1, **given: Any) -> pl.DataFrame:
    selected = chosen(data, given)
    others = control_targets(selected, seed)
    rows = []
    for (layer, head), group in heads(data, selected).group_by("layer", "head"):
        target = group["target_rank"].to_numpy() <= rank
        control = np.array([others[p] in list(ids)[:rank] for p, ids in group.select("prompt", "top_ids").rows()])
        foil = group["foil_rank"].drop_nulls().to_numpy() <= rank
        more, less = int((target & ~control).sum()), int((control & ~target).sum())
        if target.sum() and target.mean() >= share:
            rows.append(
                {
                    "layer": layer, "head": head, "share": target.mean(), "prompts": len(target),
                    "mean_prob": group["target_prob"].mean(), "mean_contribution": group["contribution"].mean(),
                    "foil_share": foil.mean(), "control_share": control.mean(), "only_target": more,
                    "only_control": less, "p_value": binom.sf(more - 1, more + less, 0.5) if more else 1.0,
                }
            )  # fmt: skip
    return pl.DataFrame(rows)


@reference
def heads_always_demoting_target(data: ShardTables, bottom: float = 0.05, share: float = 0, **given: Any) -> pl.DataFrame:
    floor = data["Model"]["vocab_size"][0] * (1 - bottom)
    rows = heads(data, chosen(data, given)).group_by("layer", "head").agg(
        share=(pl.col("target_rank") > floor).mean(), prompts=pl.len(), mean_prob=pl.col("target_prob").mean(),
        mean_rank=pl.col("target_rank").mean(), mean_contribution=pl.col("contribution").mean(),
        foil_share=(pl.col("foil_rank").drop_nulls() > floor).mean(), control_share=pl.lit(bottom),
        demoted=(pl.col("target_rank") > floor).sum(),
    ).filter((pl.col("share") >= share) & (pl.col("demoted") > 0))  # fmt: skip
    tails = [float(binom.sf(k - 1, n, bottom)) for k, n in rows.select("demoted", "prompts").rows()]
    return rows.with_columns(p_value=pl.Series(tails, dtype=pl.Float64))


@reference
def heads_promoting_foil(data: ShardTables, rank: int = 10, share: float = 0, **given: Any) -> pl.DataFrame:
    rows = heads(data, chosen(data, given).filter(pl.col("foil_id").is_not_null()))
    foil, target = pl.col("foil_rank") <= rank, pl.col("target_rank") <= rank
    rows = rows.group_by("layer", "head").agg(
        share=foil.mean(), prompts=pl.len(), mean_prob=pl.col("foil_prob").mean(),
        mean_contribution=pl.col("foil_contribution").mean(), target_share=target.mean(),
        only_foil=(foil & ~target).sum(), only_target=(target & ~foil).sum(),
    ).filter((pl.col("share") >= share) & (pl.col("share") > 0))  # fmt: skip
    tails = [float(binom.sf(a - 1, a + b, 0.5)) if a else 1.0 for a, b in rows.select("only_foil", "only_target").rows()]
    return rows.with_columns(p_value=pl.Series(tails, dtype=pl.Float64))


@reference
def top_heads_by_contribution(data: ShardTables, layer: int | None = None, **given: Any) -> pl.DataFrame:
    rows = heads(data, chosen(data, given)).filter(pl.lit(True) if layer is None else pl.col("layer") == layer)
    effect = pl.col("contribution").cast(pl.Float64)
    return rows.group_by("layer", "head").agg(
        mean_contribution=effect.mean(), mean_absolute=effect.abs().mean(), deviation=population_deviation("contribution"),
        positive_share=(effect > 0).mean(), mean_foil_contribution=pl.col("foil_contribution").mean(),
        mean_norm=pl.col("written").mean(), prompts=pl.len(),
    )  # fmt: skip
