"""Prompts, groups and minimal pairs side by side."""

from __future__ import annotations

from typing import Any

import polars as pl

from support.answers.common import active, chosen, heads, reference
from support.answers.neurons import mlp_rows
from support.shard_tables import ShardTables


@reference
def similar_prompts(data: ShardTables, prompt: int, rank: int = 10, **given: Any) -> pl.DataFrame:
    selected = chosen(data, given)
    found = data["Head"].filter(pl.col("target_rank") <= rank).select("prompt", "layer", "head").rows()
    sets: dict[int, set[tuple[int, int]]] = {}
    for number, layer, head in found:
        sets.setdefault(number, set()).add((layer, head))
    own = sets.get(prompt, set())
    rows = [
        {"prompt": n, "similarity": len(own & sets.get(n, set())) / len(own | sets.get(n, set())),
         "shared": len(own & sets.get(n, set())), "heads": len(sets.get(n, set())), "target": target, "text": text}
        for n, target, text in selected.select("id", "target", "text").rows()
        if n != prompt and own & sets.get(n, set())
    ]  # fmt: skip
    return pl.DataFrame(rows)


@reference
def compare_prompts(data: ShardTables, a: int, b: int) -> pl.DataFrame:
    keys = ["layer", "kind", "head", "source"]
    sides = [
        data.vectors.filter(pl.col("prompt") == number).select(
            *keys, pl.col("target_prob").alias(f"prob_{s}"), pl.col("target_rank").alias(f"rank_{s}"), pl.col("top_token").alias(f"top_{s}")
        )
        for s, number in (("a", a), ("b", b))
    ]
    return sides[0].join(sides[1], on=keys, nulls_equal=True).with_columns(change=pl.col("prob_b") - pl.col("prob_a"))


@reference
def compare_heads(data: ShardTables, a: int, b: int) -> pl.DataFrame:
    sides = [
        heads(data, data.prompts(id=number)).select(
            "layer", "head", pl.col("contribution").alias(f"contribution_{s}"), pl.col("target_rank").alias(f"rank_{s}"),
            pl.col("top_token").alias(f"top_{s}"),
        )
        for s, number in (("a", a), ("b", b))
    ]  # fmt: skip
    return sides[0].join(sides[1], on=["layer", "head"]).with_columns(change=pl.col("contribution_b") - pl.col("contribution_a"))


def group_of(data: ShardTables, text: str) -> pl.DataFrame:
    fields = dict(part.split("=") for part in text.split(",")) if text != "all" else {}
    return data.prompts(**{n: v == "true" if n == "correct" else v for n, v in fields.items()})


def both_groups(data: ShardTables, a: str, b: str, rank: int) -> pl.DataFrame:
    sides = [
        heads(data, group_of(data, text)).group_by("layer", "head").agg(
            (pl.col("target_rank") <= rank).mean().alias(f"share_{s}"), pl.col("contribution").mean().alias(f"contribution_{s}"),
            pl.len().alias(f"prompts_{s}"),
        )
        for s, text in (("a", a), ("b", b))
    ]  # fmt: skip
    return sides[0].join(sides[1], on=["layer", "head"])


@reference
def compare_groups(data: ShardTables, a: str, b: str, rank: int = 10) -> pl.DataFrame:
    return both_groups(data, a, b, rank).with_columns(change=pl.col("contribution_b") - pl.col("contribution_a"))


@reference
def shared_heads(data: ShardTables, a: str, b: str, rank: int = 10, share: float = 0.5) -> pl.DataFrame:
    return both_groups(data, a, b, rank).filter(pl.min_horizontal("share_a", "share_b") >= share)


@reference
def shared_neurons(data: ShardTables, a: str, b: str, rank: int = 10, share: float = 0.5) -> pl.DataFrame:
    groups = {s: group_of(data, text) for s, text in (("a", a), ("b", b))}
    one, other = (
        active(data, group, rank).select("layer", "neuron", pl.col("share").alias(f"share_{s}"), pl.lit(len(group)).alias(f"prompts_{s}"))
        for s, group in groups.items()
    )
    rows = one.join(other, on=["layer", "neuron"]).filter(pl.min_horizontal("share_a", "share_b") >= share)
    return rows.join(mlp_rows(data), on=["layer", "neuron"])


def roles(prompts: pl.DataFrame) -> pl.DataFrame:
    """Prompts of pairs with a role each: the first is the clean one where the store holds no roles."""
    rows = prompts.filter(pl.col("pair").is_not_null())
    order = pl.when(pl.col("id") == pl.col("id").min().over("pair")).then(pl.lit("clean")).otherwise(pl.lit("corrupted"))
    both = rows.filter(pl.len().over("pair") == 2)
    return both.with_columns(role=pl.coalesce("role", order))


def by_role(data: ShardTables, prompts: pl.DataFrame) -> pl.DataFrame:
    """Heads of the clean prompts beside those of the corrupted ones of the same pair, both by the clean one's target."""
    both = roles(prompts)
    wanted = both.filter(pl.col("role") == "clean").select("pair", wanted="target_id")
    rows = heads(data, both, "pair", "role", "target_id", "foil_id").join(wanted, on="pair")
    is_foil = (pl.col("wanted") != pl.col("target_id")) & pl.col("wanted").eq_missing(pl.col("foil_id"))
    effect = pl.when(is_foil).then("foil_contribution").otherwise("contribution").cast(pl.Float64)
    clean, corrupted = (
        rows.filter(pl.col("role") == role).select(
            "pair", "layer", "head", effect.alias(role),
            pl.col("target_rank").alias(f"{role}_rank"), pl.col("top_token").alias(f"{role}_token"),
        )
        for role in ("clean", "corrupted")
    )  # fmt: skip
    return clean.join(corrupted, on=["pair", "layer", "head"]).with_columns(change=pl.col("corrupted") - pl.col("clean"))


@reference
def minimal_pair(data: ShardTables, pair: str) -> pl.DataFrame:
    return by_role(data, data["Prompt"]).filter(pl.col("pair") == pair)


@reference
def minimal_pairs_mean(data: ShardTables, **given: Any) -> pl.DataFrame:
    return by_role(data, chosen(data, given)).group_by("layer", "head").agg(
        mean_change=pl.col("change").mean(), mean_clean=pl.col("clean").mean(), mean_corrupted=pl.col("corrupted").mean(), pairs=pl.len()
    )


@reference
def pairs(data: ShardTables, **given: Any) -> pl.DataFrame:
    rows = roles(chosen(data, given))
    clean, corrupted = (
        rows.filter(pl.col("role") == role).select(
            "pair", pl.col("id").alias(role), pl.col("target").alias(f"{role}_target"), pl.col("text").alias(f"{role}_text")
        )
        for role in ("clean", "corrupted")
    )
    return clean.join(corrupted, on="pair", how="full", coalesce=True)
