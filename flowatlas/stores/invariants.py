"""What must hold inside every stored prompt, whoever wrote it: parts sum to wholes, ranks follow scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import polars as pl

from flowatlas.stores.base import Store
from flowatlas.vocabulary import Label, Type

_SHARE: Final = 1e-3
_LEAST: Final = 1e-4
"""How far a sum may be off: a part of the sum of absolute values, and a number."""

Prompt = Mapping[str, object]
Read = Callable[[str], pl.DataFrame]
Violation = tuple[str, str]
"""The label or relationship type where something is wrong, and what."""

_PROMPT: Final = "id n_state n_tokens keep target_prob target_rank target_logit target_constant".split()


def violations(store: Store, key: str) -> Iterator[Violation]:
    """What does not hold in the prompt `key` of `store`. Raises QueryError."""
    fields = ", ".join(f"p.{name} AS {name}" for name in _PROMPT)
    prompt = store.read(f"MATCH (p:Prompt) WHERE p.key = $key RETURN {fields}", {"key": key}).to_pylist()[0]

    def read(text: str) -> pl.DataFrame:
        table = store.read(text, {"prompt": prompt["id"], "last": prompt["n_tokens"] - 1})
        return pl.DataFrame(pl.from_arrow(table))

    yield from _states(read, prompt)
    yield from _heads(read)
    if prompt["keep"] == "full":
        writes = read(_WRITES)
        yield from _ranks(writes)
        yield from _outputs(read, writes)
        yield from _logit(read, writes, prompt)


_WRITES: Final = (
    "MATCH (:Neuron)-[r:WRITES]->(s:State) WHERE s.prompt = $prompt RETURN s.id AS state, s.kind AS kind, "
    "s.position AS position, r.score AS score, r.rank AS rank, r.contribution AS contribution"
)
_STATES: Final = (
    "MATCH (s:State|Query|Key|Value|Head) WHERE s.prompt = $prompt RETURN s.kind AS kind, s.position AS position, "
    "s.layer AS layer, s.top_probs AS top, s.target_rank AS rank, s.target_prob AS probability"
)
_HEADS: Final = (
    "MATCH (h:Head)-[c:CONCATENATES]->(:State) WHERE h.prompt = $prompt RETURN h.id AS head, h.position AS position, "
    "c.contribution AS whole"
)
_SUMS: Final = (
    "MATCH (:Value)-[r:SUMS]->(h:Head) WHERE h.prompt = $prompt RETURN h.id AS head, r.score AS score, "
    "r.contribution AS contribution"
)
_ADDS: Final = (
    "MATCH (a:State)-[r:ADDS]->(b:State) WHERE b.prompt = $prompt RETURN a.id AS a, a.kind AS kind, b.id AS b, "
    "b.position AS position, r.contribution AS contribution"
)


def _states(read: Read, prompt: Prompt) -> Iterator[Violation]:
    """All are there, their probabilities are some, and the final lens says what the model says."""
    states = read(_STATES)
    if states.height != prompt["n_state"]:
        yield Label.PROMPT, f"n_state is {prompt['n_state']}, but there are {states.height} states"
    top = states["top"].list
    falling = (top.diff(null_behavior="drop").list.max().fill_null(0.0) <= 0) & (top.sum() <= 1 + _SHARE)
    first = (states["rank"] > 1) | ((top.first() - states["probability"]).abs() <= _LEAST)
    for holds, what in ((falling, "top_probs are no falling probabilities"), (first, "rank 1 is not the top token's")):
        if not holds.all():
            yield Label.STATE, f"of {(~holds).sum()} states {what}"
    final = states.filter(
        pl.col("kind").is_in(["residual_post", "final_norm"])
        & (pl.col("position") == int(str(prompt["n_tokens"])) - 1)
        & (pl.col("layer") >= pl.col("layer").max() - 1)
    )
    same = (final["probability"] - float(str(prompt["target_prob"]))).abs() <= _LEAST
    if final.height and not (same & (final["rank"] == prompt["target_rank"])).any():
        yield Label.STATE, "the final lens of the target is not the model's prediction"


def _heads(read: Read) -> Iterator[Violation]:
    """Attention is shared out among the memories, and what they contribute is what the head does."""
    parts = read(_SUMS)
    if (parts.group_by("head").agg(pl.sum("score"))["score"] > 1 + _SHARE).any():
        yield Type.SUMS, "attention probabilities of a head sum to more than 1"
    summed = _summed(parts, "head").join(read(_HEADS), on="head")
    yield from _off(summed, Type.SUMS, "contributions do not sum to their head's")


def _ranks(writes: pl.DataFrame) -> Iterator[Violation]:
    """Ranks are 1, 2, ... in the order of the scores."""
    ordered = writes.sort("state", "rank").with_columns(
        (pl.col("rank") != pl.int_range(1, pl.len() + 1).over("state")).alias("gap"),
        (pl.col("score").abs().diff().over("state") > 0).fill_null(value=False).alias("rises"),
    )
    if ordered["gap"].any() or ordered["rises"].any():
        yield Type.WRITES, "ranks do not follow the scores"


def _outputs(read: Read, writes: pl.DataFrame) -> Iterator[Violation]:
    """Neurons and bias contribute what the output of their layer does."""
    adds = read(_ADDS)
    biases = adds.filter(pl.col("kind").str.ends_with("bias")).select(pl.col("b").alias("state"), "contribution")
    parts = pl.concat([writes.select("state", "contribution"), biases], how="vertical_relaxed")
    whole = adds.filter(pl.col("kind").str.ends_with("output")).select(
        pl.col("a").alias("state"), pl.col("contribution").alias("whole")
    )
    summed = _summed(parts, "state").join(whole, on="state")
    yield from _off(summed, Type.WRITES, "contributions do not sum to their layer's output")


def _logit(read: Read, writes: pl.DataFrame, prompt: Prompt) -> Iterator[Violation]:
    """Everything that reaches the last residual sums to the target's logit."""
    last = pl.col("position") == int(str(prompt["n_tokens"])) - 1
    adds = read(_ADDS).filter(last & (pl.col("kind").str.ends_with("bias") | pl.col("kind").str.ends_with("embedding")))
    heads = read(_HEADS).filter(last).select(pl.col("whole").alias("contribution"))
    mlp = writes.filter(last & (pl.col("kind") == "mlp_output"))
    if not heads.height:
        return
    parts = pl.concat([part.select("contribution") for part in (adds, heads, mlp)], how="vertical_relaxed")
    whole = float(str(prompt["target_logit"])) - float(str(prompt["target_constant"]))
    summed = _summed(parts.with_columns(state=pl.lit(0)), "state").with_columns(whole=pl.lit(whole))
    yield from _off(summed, Label.PROMPT, "contributions do not sum to the target's logit")


def _summed(parts: pl.DataFrame, by: str) -> pl.DataFrame:
    value = pl.col("contribution").cast(pl.Float64)
    return parts.group_by(by).agg(value.sum().alias("sum"), value.abs().sum().alias("scale"))


def _off(summed: pl.DataFrame, where: str, what: str) -> Iterator[Violation]:
    allowed = _SHARE * (pl.col("scale") + pl.col("whole").abs()) + _LEAST
    off = summed.filter(~((pl.col("sum") - pl.col("whole")).abs() <= allowed)).height
    if off:
        yield where, f"{what} ({off} of {summed.height})"
