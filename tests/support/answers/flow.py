"""Paths and slices."""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from support.answers.common import reference, writes
from support.shard_tables import ShardTables

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
