"""Answers of the named queries computed with Polars from the tables of the shards: no Cypher here.

Each function of this folder that is marked `reference` takes the tables and a query's parameters and
gives the rows with the query's columns. This module keeps them, and has what several start from.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import polars as pl

from support.shard_tables import ShardTables

Reference = Callable[..., pl.DataFrame]
REFERENCES: dict[str, Reference] = {}
SELECTION = ("dataset", "group", "correct", "model", "text", "role")
RESIDUALS = ["embedding", "residual_mid", "residual_post", "final_norm"]


def reference(function: Reference) -> Reference:
    REFERENCES[function.__name__] = function
    return function


def references() -> dict[str, Reference]:
    """The answers of all modules of this folder by the name of the query."""
    for file in Path(__file__).parent.glob("*.py"):
        import_module(f"support.answers.{file.stem}")
    return REFERENCES


def chosen(data: ShardTables, given: dict[str, Any]) -> pl.DataFrame:
    """The selected prompts; the selection is taken out of `given`."""
    return data.prompts(**{name: given.pop(name) for name in SELECTION if name in given})


def of_prompts(rows: pl.DataFrame, prompts: pl.DataFrame, *columns: str) -> pl.DataFrame:
    return rows.join(prompts.select(pl.col("id").alias("prompt"), *columns), on="prompt")


def heads(data: ShardTables, prompts: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """Heads with the contribution and norm of what they write."""
    edges = data["CONCATENATES_Head_State"].select("contribution", "foil_contribution", id="from", written="score")
    return of_prompts(data["Head"], prompts, *columns).join(edges, on="id")


def recalled(data: ShardTables, prompts: pl.DataFrame, *columns: str) -> pl.DataFrame:
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


def active(data: ShardTables, prompts: pl.DataFrame, rank: int) -> pl.DataFrame:
    """MLP neurons with the prompts in which they are on."""
    rows = writes(data, prompts).filter((pl.col("kind") == "mlp_output") & (pl.col("rank") <= rank))
    return rows.group_by("layer", neuron="index").agg(
        share=pl.len() / len(prompts), mean_coefficient=pl.col("score").mean(), mean_contribution=pl.col("contribution").mean()
    )
