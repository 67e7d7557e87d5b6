"""What the vectors of a group of prompts have in common: means over its prompts at the last position.

The summary of a model drawn from one prompt has its values; drawn from these it has a group's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from flowatlas.errors import QueryError, UsageError
from flowatlas.selection import Selection
from flowatlas.stores.base import Store
from query.prompts import model_of

TOP: Final = 10
"""A vector holds the target when it is among so many top tokens."""

TOKENS: Final = 10
"""How many of a vector's most frequent top tokens are told."""

_HEADS: Final = (
    "MATCH (p:Prompt) WHERE p.complete {0} MATCH (s:Head)-[c:CONCATENATES]->(o:State) "
    "WHERE s.prompt = p.id AND s.position = p.n_tokens - 1 "
    "RETURN s.kind AS kind, s.layer AS layer, s.head AS head, s.top_token AS token, {1}, "
    "sum(c.contribution) AS contribution, sum(c.score) AS score"
)
_STATES: Final = (
    "MATCH (p:Prompt) WHERE p.complete {0} MATCH (s:State) "
    "WHERE s.prompt = p.id AND s.position = p.n_tokens - 1 AND NOT s.kind IN ['qkv', 'concatenated_heads', 'attention_norm', 'mlp_norm'] "
    "RETURN s.kind AS kind, s.layer AS layer, s.top_token AS token, {1}"
)
_ADDED: Final = (
    "MATCH (p:Prompt) WHERE p.complete {0} MATCH (s:State)-[a:ADDS]->(o:State) "
    "WHERE s.prompt = p.id AND s.position = p.n_tokens - 1 "
    "RETURN s.kind AS kind, s.layer AS layer, avg(a.contribution) AS contribution, avg(a.score) AS score"
)
_SUMS: Final = (
    f"count(s) AS prompts, sum(s.target_prob) AS target_prob, sum(s.norm) AS norm, sum(s.entropy) AS entropy, "
    f"count(CASE WHEN s.target_rank <= {TOP} THEN 1 END) AS top"
)
_KEY: Final = ["kind", "layer", "head"]


@dataclass(frozen=True)
class Means:
    """A row for every head, residual and output: kind, layer, head, prompts, the means of
    contribution, score, target_prob, norm and entropy (bits), `top` (the share of prompts in which
    the target is among its TOP tokens), and its most frequent top tokens with their shares.
    """

    model: Mapping[str, Any]
    prompts: int
    rows: pl.DataFrame


def means(store: Store, chosen: Selection) -> Means:
    """Means over the prompts of a selection. Raises UsageError (none), QueryError (several models)."""
    conditions, parameters = chosen.conditions("p")
    counted = store.read(f"MATCH (p:Prompt) WHERE p.complete {conditions} RETURN p.model AS model, count(p) AS prompts ORDER BY model", parameters).to_pylist()
    if not counted:
        raise UsageError(f"No prompt fits the selection '{chosen}'.", next_step="Choose less narrowly.")
    if len(counted) > 1:
        raise QueryError(
            "The selection holds prompts of several models: their layers and heads are not the same things.",
            known=f"Models: {', '.join(row['model'] for row in counted)}.", next_step="Choose a data set of one model.",
        )  # fmt: skip
    heads, states = (_frame(store, text.format(conditions, _SUMS), parameters) for text in (_HEADS, _STATES))
    added = _frame(store, _ADDED.format(conditions), parameters).with_columns(pl.col("contribution", "score").cast(pl.Float64))
    others = _averaged(states.with_columns(head=pl.lit(None, pl.Int64)), []).join(added, on=["kind", "layer"], how="left")
    rows = pl.concat([_averaged(heads, ["contribution", "score"]), others], how="diagonal").sort("layer", "kind", "head")
    return Means(model_of(store, {"id": None, "model": counted[0]["model"]}), int(counted[0]["prompts"]), rows)


def _frame(store: Store, text: str, parameters: dict[str, Any]) -> pl.DataFrame:
    frame = pl.from_arrow(store.read(text, parameters))
    assert isinstance(frame, pl.DataFrame)
    return frame.with_columns(pl.col(name).cast(pl.Int64) for name in ("layer", "head") if name in frame.columns)


def _averaged(rows: pl.DataFrame, more: list[str]) -> pl.DataFrame:
    """From sums by top token to means over prompts."""
    sums = ["target_prob", "norm", "entropy", "top", *more]
    rows = rows.with_columns(pl.col(*sums).cast(pl.Float64), pl.col("prompts").cast(pl.Int64)).sort("prompts", "token", descending=[True, False])
    total = pl.col("prompts").sum()
    return rows.group_by(_KEY, maintain_order=True).agg(
        total, *(pl.col(name).sum() / total for name in sums),
        tokens=pl.col("token").head(TOKENS), shares=(pl.col("prompts") / total).head(TOKENS),
    )  # fmt: skip
