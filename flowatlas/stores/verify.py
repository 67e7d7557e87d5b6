"""Is a store what its shards say? Keys, counts and checksums of every table of every prompt, invariants of some."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from flowatlas.shards import Shard
from flowatlas.stores.base import Store
from flowatlas.stores.invariants import violations
from flowatlas.vocabulary import (
    NODE_TABLES,
    RELATIONSHIP_TABLES,
    STATE_STRIDE,
    Column,
    Label,
    NodeTable,
    RelationshipTable,
)

_TOLERANCE: Final = 1e-6
"""Of the sum of absolute values: sums are made in another order."""

_TINY: Final = 1e-30

SAMPLE: Final = 8
"""Prompts whose invariants are checked, evenly from all in the order of their keys, which are hashes."""

Sums = dict[str, float]


@dataclass(frozen=True)
class Difference:
    """Something that the store has otherwise than the shards: of a prompt (or model) `key`, in `table`."""

    key: str
    table: str
    problem: str


@dataclass(frozen=True)
class Verified:
    """What was compared; `extra` prompts are in the store and in no shard, `sampled` ones keep their invariants or not."""

    prompts: int
    models: int
    differences: list[Difference]
    extra: int
    sampled: int


def verify(store: Store, shards: Sequence[Shard], sample: int = SAMPLE) -> Verified:
    """Compare `store` with `shards`, whose own bytes are checked first; look into `sample` prompts.

    Raises ShardError, QueryError.
    """
    for shard in shards:
        shard.check()
    ids = store.read("MATCH (p:Prompt) RETURN p.key AS key, p.id AS id")
    known: dict[str, int] = dict(zip(ids["key"].to_pylist(), ids["id"].to_pylist(), strict=True))
    differences: list[Difference] = []
    wanted: dict[str, tuple[Shard, int]] = {}
    models = [shard for shard in shards if shard.manifest.kind == "model"]
    for shard in models:
        differences += _compare_model(store, shard)
    for shard in shards:
        if shard.manifest.kind == "prompts":
            prompts = shard.table(Label.PROMPT)
            numbers = zip(prompts["key"].to_pylist(), prompts["id"].to_pylist(), strict=True)
            wanted |= {key: (shard, number) for key, number in numbers if key not in wanted}
    differences += [Difference(key, Label.PROMPT, "is not in the store") for key in wanted if key not in known]
    present = {key: place for key, place in wanted.items() if key in known}
    for table in (*NODE_TABLES, *RELATIONSHIP_TABLES):
        if table.name not in (Label.MODEL, Label.NEURON):
            differences += _compare_table(store, table, present, known)
    sampled = sorted(known)[:: max(1, -(-len(known) // sample))] if sample else []
    for key in sampled:
        differences += [Difference(key, where, what) for where, what in violations(store, key)]
    return Verified(len(wanted), len(models), differences, len(known.keys() - wanted.keys()), len(sampled))


def _compare_table(
    store: Store,
    table: NodeTable | RelationshipTable,
    wanted: dict[str, tuple[Shard, int]],
    known: dict[str, int],
) -> Iterator[Difference]:
    found = {row.pop("prompt"): row for row in store.read(_sums_query(table)).to_pylist()}
    expected: dict[str, dict[int, Sums]] = {}
    for key, (shard, number) in wanted.items():
        name = shard.path.name
        if name not in expected:
            expected[name] = _sums_of_shard(shard, table)
        problem = _difference(expected[name].get(number, {"rows": 0}), found.get(known[key], {"rows": 0}))
        if problem:
            yield Difference(key, table.name, problem)


def _compare_model(store: Store, shard: Shard) -> Iterator[Difference]:
    model = shard.manifest.model
    columns = NODE_TABLES[1].columns
    found = store.read(
        f"MATCH (n:Neuron) WHERE n.model = $model RETURN {_sums(columns)}", {"model": model}
    ).to_pylist()[0]
    frame = pl.DataFrame(pl.from_arrow(shard.table(Label.NEURON)))
    problem = _difference(frame.select(_expressions(columns)).to_dicts()[0], found)
    if model not in store.model_ids():
        problem = "is not in the store"
    if problem:
        yield Difference(model, Label.NEURON, problem)


def _sums_query(table: NodeTable | RelationshipTable) -> str:
    """Rows of prompt, number of rows, and a sum for each column of numbers and for the local ids."""
    if isinstance(table, NodeTable):
        owner = "n.id" if table.label is Label.PROMPT else "n.prompt"
        return f"MATCH (n:{table.name}) RETURN {owner} AS prompt, {_sums(table.columns)}"
    end = "b" if table.source in (Label.NEURON, Label.PROMPT) else "a"
    local = "".join(f", sum({end}.id % {STATE_STRIDE}) AS `{name}`" for end, name in _ends(table))
    return (
        f"MATCH (a:{table.source})-[n:{table.type}]->(b:{table.target}) "
        f"RETURN {end}.prompt AS prompt, {_sums(table.columns)}{local}"
    )


def _ends(table: RelationshipTable) -> list[tuple[str, str]]:
    """Variables and columns of the ends whose ids do not depend on the prompt's number in the store."""
    return [("a", "from")] * (table.source is not Label.PROMPT) + [("b", "to")]


def _sums(columns: Sequence[Column]) -> str:
    sums = [f"sum(n.`{column.name}`) AS `{column.name}`" for column in columns if _is_number(column)]
    sums += [f"sum(size(n.`{column.name}`)) AS `{column.name}`" for column in columns if _may_lack_ids(column)]
    return ", ".join(["count(*) AS `rows`", *sums])


def _is_number(column: Column) -> bool:
    return column.type in ("int32", "float32")


def _may_lack_ids(column: Column) -> bool:
    """Lists that only some prompts have: how many ids there are is compared."""
    return column.type == "list<int32>" and column.nullable


def _expressions(columns: Sequence[Column]) -> list[pl.Expr]:
    sums = [pl.col(column.name).cast(pl.Float64).sum() for column in columns if _is_number(column)]
    sums += [pl.col(column.name).list.len().cast(pl.Float64).sum() for column in columns if _may_lack_ids(column)]
    scale = [pl.col(c.name).cast(pl.Float64).abs().sum().alias(f"|{c.name}|") for c in columns if _is_number(c)]
    return [pl.len().alias("rows"), *sums, *scale]


def _sums_of_shard(shard: Shard, table: NodeTable | RelationshipTable) -> dict[int, Sums]:
    """The same sums for each prompt of a shard, by its number there."""
    frame = pl.DataFrame(pl.from_arrow(shard.table(table.name)))
    expressions = _expressions(table.columns)
    if isinstance(table, NodeTable):
        owner = pl.col("id" if table.label is Label.PROMPT else "prompt")
    else:
        owner = pl.col("to" if table.source in (Label.NEURON, Label.PROMPT) else "from") // STATE_STRIDE
        expressions += [(pl.col(name) % STATE_STRIDE).sum() for _, name in _ends(table)]
    rows = frame.group_by(owner.alias("number")).agg(expressions).to_dicts()
    return {row.pop("number"): row for row in rows}


def _difference(wanted: Sums, found: Sums) -> str:
    """What differs, or an empty string."""
    if wanted["rows"] != found["rows"]:
        return f"{found['rows']} rows instead of {wanted['rows']}"
    if not wanted["rows"]:
        return ""
    for name, value in wanted.items():
        if name.startswith("|") or name == "rows":
            continue
        got = 0.0 if found[name] is None else float(found[name])
        allowed = _TOLERANCE * max(wanted.get(f"|{name}|", 0.0), _TINY)
        if not math.isclose(got, value, rel_tol=0.0, abs_tol=allowed) and not (math.isnan(got) and math.isnan(value)):
            return f"sum of {name} is {got:.9g} instead of {value:.9g}"
    return ""
