"""Answers of the named queries computed with Polars from the tables of the shards: no Cypher here.

Each function takes the tables and the query's parameters and gives the rows with the query's columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import binom

from support.shard_tables import ShardTables

Reference = Callable[..., pl.DataFrame]
REFERENCES: dict[str, Reference] = {}
SELECTION = ("dataset", "group", "correct", "model", "text", "role")
RESIDUALS = ["embedding", "residual_mid", "residual_post", "final_norm"]


def reference(function: Reference) -> Reference:
    REFERENCES[function.__name__] = function
    return function


def chosen(data: ShardTables, given: dict[str, Any]) -> pl.DataFrame:
    """The selected prompts; the selection is taken out of `given`."""
    return data.prompts(**{name: given.pop(name) for name in SELECTION if name in given})


def of_prompts(rows: pl.DataFrame, prompts: pl.DataFrame, *columns: str) -> pl.DataFrame:
    return rows.join(prompts.select(pl.col("id").alias("prompt"), *columns), on="prompt")


def heads(data: ShardTables, prompts: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """Heads with the contribution and norm of what they write."""
    edges = data["CONCATENATES_Head_State"].select("contribution", "foil_contribution", id="from", written="score")
    return of_prompts(data["Head"], prompts, *columns).join(edges, on="id")


def values(data: ShardTables, prompts: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """Values with their head (`head_...`) and the edge to it (`rank`, `attention`, `added`, `contribution`)."""
    edges = data["SUMS_Value_Head"].select(
        "rank", "contribution", id="from", to="to", attention="score", added="norm"
    )  # fmt: skip
    of = data["Head"].select(to="id", head_rank="target_rank", head_ids="top_ids", head_token="top_token")
    return of_prompts(data["Value"], prompts, *columns).join(edges, on="id").join(of, on="to")


def writes(data: ShardTables, prompts: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """What neurons write: edge, output (`layer`, `kind`, `prompt`) and neuron (`neuron_...`)."""
    outputs = of_prompts(data["State"].select("id", "prompt", "layer", "kind"), prompts, *columns)
    return data["WRITES_Neuron_State"].join(outputs, left_on="to", right_on="id").join(
        data["Neuron"].rename({"norm": "row_norm", "top_ids": "row_ids"}).drop("layer"), left_on="from", right_on="id"
    )


def tokens(data: ShardTables) -> pl.DataFrame:
    return data["Token"].select("prompt", source="position", token="text")


def share(condition: pl.Expr) -> pl.Expr:
    return condition.fill_null(False).cast(pl.Float64).mean()


def population_deviation(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.Float64).std(ddof=0)


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


@reference
def sources_of_promoting_heads(data: ShardTables, rank: int = 10, values: int = 1, **given: Any) -> pl.DataFrame:
    rows = globals()["values"](data, chosen(data, given), "n_tokens")
    rows = rows.filter((pl.col("head_rank") <= rank) & (pl.col("rank") <= values))
    return rows.join(tokens(data), on=["prompt", "source"]).group_by("layer", "head", "token").agg(
        prompts=pl.len(), mean_attention=pl.col("attention").mean(), mean_contribution=pl.col("contribution").mean(),
        mean_distance=(pl.col("n_tokens") - 1 - pl.col("source")).mean(), target_on_top=(pl.col("target_rank") <= rank).sum(),
    )  # fmt: skip


@reference
def attention_pattern(data: ShardTables, prompt: int, layer: int, head: int) -> pl.DataFrame:
    here = (pl.col("layer") == layer) & (pl.col("head") == head)
    rows = values(data, data.prompts(id=prompt)).filter(here)
    keys = data["Key"].filter(here, pl.col("prompt") == prompt).select("id", "source", key_tokens="top_tokens")
    attends = data["ATTENDS_Query_Key"].select("logit", id="to", attended="score", order="rank")
    rows = rows.join(keys.join(attends, on="id").drop("id"), on="source").join(tokens(data), on=["prompt", "source"])
    return rows.select(
        "source", "token", "logit", "contribution", "key_tokens", "target_rank", attention="attended", rank="order",
        norm="added", value_tokens="top_tokens",
    )  # fmt: skip


@reference
def attention_pattern_mean(data: ShardTables, layer: int, head: int, from_end: bool = False, **given: Any) -> pl.DataFrame:
    rows = values(data, chosen(data, given), "n_tokens").filter((pl.col("layer") == layer) & (pl.col("head") == head))
    place = pl.col("n_tokens") - 1 - pl.col("source") if from_end else pl.col("source")
    return rows.group_by(position=place).agg(
        prompts=pl.len(), mean_attention=pl.col("attention").mean(), top_share=(pl.col("rank") == 1).mean(),
        mean_contribution=pl.col("contribution").mean(), mean_norm=pl.col("added").mean(),
    )  # fmt: skip


@reference
def top_memory_values(data: ShardTables, prompt: int, values: int = 2, layer: int | None = None, head: int | None = None) -> pl.DataFrame:
    rows = globals()["values"](data, data.prompts(id=prompt)).filter(pl.col("rank") <= values)
    for name, wanted in (("layer", layer), ("head", head)):
        rows = rows if wanted is None else rows.filter(pl.col(name) == wanted)
    return rows.join(tokens(data), on=["prompt", "source"]).with_columns(norm="added")


@reference
def top_neurons(data: ShardTables, prompt: int, neurons: int = 10, matrix: str = "mlp", layer: int | None = None) -> pl.DataFrame:
    rows = writes(data, data.prompts(id=prompt)).filter((pl.col("rank") <= neurons) & (pl.col("matrix") == matrix))
    rows = rows if layer is None else rows.filter(pl.col("layer") == layer)
    promoted = pl.when(pl.col("score") < 0).then("bottom_tokens").otherwise("top_tokens")
    return rows.with_columns(neuron="index", coefficient="score", promoted=promoted)


def active(data: ShardTables, prompts: pl.DataFrame, rank: int) -> pl.DataFrame:
    """MLP neurons with the prompts in which they are on."""
    rows = writes(data, prompts).filter((pl.col("kind") == "mlp_output") & (pl.col("rank") <= rank))
    return rows.group_by("layer", neuron="index").agg(
        share=pl.len() / len(prompts), mean_coefficient=pl.col("score").mean(), mean_contribution=pl.col("contribution").mean()
    )


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
    rows = globals()["values"](data, chosen(data, given)).filter(pl.col("rank") <= values)
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
    rows = globals()["values"](data, chosen(data, given)).with_columns(norm="added")
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
    """Heads of the clean prompts beside those of the corrupted ones of the same pair."""
    rows = heads(data, roles(prompts), "pair", "role")
    clean, corrupted = (
        rows.filter(pl.col("role") == role).select(
            "pair", "layer", "head", pl.col("contribution").cast(pl.Float64).alias(role),
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


FLOWS = ("SUMS_Value_Head", "CONCATENATES_Head_State", "PROJECTS_State_State", "ADDS_State_State", "SKIPS_State_State",
         "NORMALIZES_State_State")  # fmt: skip


@reference
def paths_from_token(data: ShardTables, prompt: int, source: int, minimum: float = 0.3) -> pl.DataFrame:
    out: dict[int, list[int]] = {}
    for name in FLOWS:
        for start, end, score in data[name].select("from", "to", "score").rows():
            if start >> 24 == prompt and np.float32(score) >= minimum:
                out.setdefault(start, []).append(end)
    final = set(data["State"].filter(pl.col("kind") == "final_norm")["id"])
    rows = []
    for value, layer, head, token, rank in (
        data["Value"].filter((pl.col("prompt") == prompt) & (pl.col("source") == source))
        .select("id", "layer", "head", "top_token", "target_rank").rows()
    ):  # fmt: skip
        front = [value]
        for steps in range(1, 17):
            front = [end for node in front for end in out.get(node, [])]
            rows += [{"layer": layer, "head": head, "steps": steps, "value_token": token, "target_rank": rank}] * sum(n in final for n in front)
    return pl.DataFrame(rows)


def bounds(rows: pl.DataFrame, first_layer: int | None, last_layer: int | None, name: str = "layer") -> pl.DataFrame:
    return rows.filter(pl.col(name).is_between(-math.inf if first_layer is None else first_layer, math.inf if last_layer is None else last_layer))


@reference
def slice_states(data: ShardTables, prompt: int, first_layer: int | None = None, last_layer: int | None = None, values: int | None = 2) -> pl.DataFrame:
    rows = bounds(data.vectors.filter(pl.col("prompt") == prompt), first_layer, last_layer)
    ranks = pl.concat([data[n].select(id="from", order="rank") for n in ("RECALLS_Key_Value", "SUMS_Value_Head")])
    rows = rows.join(ranks, on="id", how="left")
    return rows if values is None else rows.filter(pl.col("order").is_null() | (pl.col("order") <= values))


@reference
def slice_edges(data: ShardTables, prompt: int, first_layer: int | None = None, last_layer: int | None = None, values: int | None = 2) -> pl.DataFrame:
    layers = data.vectors.filter(pl.col("prompt") == prompt).select("id", "layer")
    parts = []
    for name, rows in data.tables.items():
        ends = name.split("_")[-2:]
        if name.isupper() or not {*ends} <= {"Query", "Key", "Value", "Head", "State"} or name in ("Query", "Key", "Value", "Head", "State"):
            continue
        kind = name.removesuffix(f"_{ends[0]}_{ends[1]}")
        parts.append(rows.with_columns(type=pl.lit(kind)))
    rows = pl.concat(parts, how="diagonal")
    rows = rows.join(layers.rename({"id": "from", "layer": "from_layer"}), on="from").join(layers.rename({"id": "to"}), on="to")
    rows = bounds(bounds(rows, first_layer, last_layer), first_layer, last_layer, "from_layer")
    return rows if values is None else rows.filter(pl.col("rank").is_null() | (pl.col("rank") <= values))


@reference
def slice_neurons(data: ShardTables, prompt: int, first_layer: int | None = None, last_layer: int | None = None, neurons: int | None = 25) -> pl.DataFrame:
    rows = bounds(writes(data, data.prompts(id=prompt)), first_layer, last_layer).rename({"from": "neuron"})
    states = data["State"].filter(pl.col("prompt") == prompt).select("id")
    before = data["ACTIVATES_State_Neuron"].join(states, left_on="from", right_on="id").select("from", neuron="to", before="score")
    rows = rows.join(before, on="neuron")
    return rows if neurons is None else rows.filter(pl.col("rank") <= neurons)
