"""Every named query on both stores against an answer computed from the shards without Cypher."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from benchmarks.synthetic import TINY, planted
from flowatlas.catalogue import catalogue
from flowatlas.stores.base import Store
from query.run import run
from support.answers.common import references
from support.shard_tables import ShardTables

FACTS = planted(TINY)
REFERENCES = references()
ALL = 100_000
CASES: list[tuple[str, dict[str, Any]]] = [
    ("prompts", {}), ("prompts", {"dataset": "names", "correct": True}), ("prompts", {"role": "clean"}),
    ("models", {}), ("sizes", {"group": "first"}),
    ("heads_always_promoting_target", {}), ("heads_always_promoting_target", {"rank": 3, "share": 0.6, "seed": 7}),
    ("heads_always_promoting_target", {"dataset": "facts", "rank": 50}),
    ("heads_always_demoting_target", {}), ("heads_always_demoting_target", {"bottom": 0.2, "share": 0.1, "group": "second"}),
    ("heads_promoting_foil", {}), ("heads_promoting_foil", {"rank": 3, "correct": False}),
    ("top_heads_by_contribution", {}), ("top_heads_by_contribution", {"layer": 1, "role": "corrupted"}),
    ("sources_of_promoting_heads", {}), ("sources_of_promoting_heads", {"rank": 50, "values": 3, "dataset": "names"}),
    ("attention_pattern", {"prompt": 7, "layer": 2, "head": 0}), ("attention_pattern", {"prompt": 0, "layer": 0, "head": 3}),
    ("attention_pattern_mean", {"layer": 2, "head": 0}), ("attention_pattern_mean", {"layer": 1, "head": 2, "from_end": True, "group": "first"}),
    ("attention_pattern_mean", {"layer": 1, "head": 2, "from_end": False}),
    ("top_memory_values", {"prompt": 3}), ("top_memory_values", {"prompt": 11, "values": 4, "layer": 1, "head": 2}),
    ("top_neurons", {"prompt": 3}), ("top_neurons", {"prompt": 20, "neurons": 4, "matrix": "attention_output", "layer": 2}),
    ("always_on_neurons", {"rank": 4}), ("always_on_neurons", {"rank": 6, "share": 0.2, "group": "first", "layer": 1}),
    ("neurons_of_token", {"token": " word50"}), ("neurons_of_token", {"token": "\n", "matrix": "attention_output"}),
    ("neuron_history", {"layer": 2, "neuron": 7}), ("neuron_history", {"layer": 0, "neuron": 5, "matrix": "attention_output", "correct": True}),
    ("target_by_layer", {"prompt": 4}), ("token_by_layer", {"prompt": 4, "token_id": 100}),
    ("trajectory_by_correctness", {}), ("trajectory_by_correctness", {"text": "word1"}),
    ("first_layer_target_on_top", {}), ("layers_with_target_on_top", {}), ("layers_with_target_on_top", {"correct": False}),
    ("contributions", {"prompt": 4}), ("contributions", {"prompt": 6}), ("contributions_mean", {}),
    ("contributions_mean", {"dataset": "facts", "correct": True}),
    ("norm_filter", {"prompt": 9}), ("norm_filter_tokens", {}), ("norm_filter_tokens", {"kind": "mlp_norm", "leaving": True, "layer": 1}),
    ("alignment_heads", {}), ("alignment_heads", {"k": 10, "layer": 1, "group": "first"}),
    ("alignment_values_by_rank", {}), ("alignment_values_by_rank", {"values": 5, "k": 20, "layer": 0}),
    ("alignment_values_by_head", {}), ("alignment_values_by_head", {"values": 2, "k": 5}),
    ("alignment_residuals", {}), ("alignment_residuals", {"k": 25, "correct": True}),
    ("tops_of_states", {"group": "first"}), ("tops_of_heads", {"layer": 1, "correct": True}), ("tops_of_heads", {"dataset": "facts"}),
    ("tops_of_values", {"layer": 2, "values": 2}), ("tops_of_values", {"role": "clean"}),
    ("tops_of_queries", {"layer": 0, "group": "first"}), ("tops_of_keys", {"layer": 2, "correct": True}),
    ("neurons_by_layer", {}), ("neurons_by_layer", {"matrix": "attention_output", "correct": True}),
    ("most_activated_neurons", {"rank": 5}), ("most_activated_neurons", {"rank": 3, "group": "first"}),
    ("token_search", {"token": " word120"}), ("token_search", {"token": "\n", "kind": "value", "layer": 1}),
    ("token_search_id", {"token_id": 120}), ("token_search_id", {"token_id": 3, "group": "first", "kind": "key"}),
    ("similar_prompts", {"prompt": 2}), ("similar_prompts", {"prompt": 8, "rank": 40, "dataset": "facts"}),
    ("compare_prompts", {"a": 4, "b": 5}), ("compare_heads", {"a": 1, "b": 9}),
    ("compare_groups", {"a": "group=first", "b": "group=second"}), ("compare_groups", {"a": "all", "b": "dataset=names,correct=true", "rank": 30}),
    ("minimal_pair", {"pair": "pair-3"}), ("minimal_pair", {"pair": "pair-2"}), ("minimal_pairs_mean", {}), ("minimal_pairs_mean", {"dataset": "facts"}), ("pairs", {}),
    ("shared_heads", {"a": "group=first", "b": "role=clean"}), ("shared_heads", {"a": "all", "b": "all", "rank": 50, "share": 0.2}),
    ("shared_neurons", {"a": "group=first", "b": "correct=true", "rank": 4}), ("shared_neurons", {"a": "group=first", "b": "group=second", "share": 0.3}),
    ("paths_from_token", {"prompt": 1, "source": 1, "minimum": 0.8}), ("paths_from_token", {"prompt": 0, "source": 0, "minimum": 0.25}),
    ("slice_states", {"prompt": 3, "first_layer": 1, "last_layer": 2}), ("slice_states", {"prompt": 2, "values": None}),
    ("slice_edges", {"prompt": 3, "first_layer": 0, "last_layer": 1}), ("slice_edges", {"prompt": 2, "values": None}),
    ("slice_neurons", {"prompt": 3, "first_layer": 1, "last_layer": 1, "neurons": 4}), ("slice_neurons", {"prompt": 2, "neurons": None}),
]  # fmt: skip
APPROXIMATE = {"sizes": {"bytes"}}


def comparable(frame: pl.DataFrame, columns: list[str]) -> list[tuple[Any, ...]]:
    """Rows in an order of their own, floats rounded to what a 32-bit mean holds."""
    texts = frame.select(columns).rows()
    return sorted(texts, key=lambda row: tuple(_key(value) for value in row))


def _key(value: Any) -> tuple[int, Any]:
    if isinstance(value, float):
        return 1, 0.0
    return (0, "") if value is None else (2, str(value))


def assert_same(found: pl.DataFrame, wanted: pl.DataFrame, columns: list[str]) -> None:
    """The same rows: equal values, floats to 1e-4 relative (32-bit numbers summed in another order)."""
    exact = [name for name in columns if not found[name].dtype.is_float()]
    order = [*exact, *(name for name in columns if name not in exact)]
    rows, expected = comparable(found, order), comparable(wanted, order)
    assert len(rows) == len(expected)
    for row, other in zip(rows, expected, strict=True):
        for name, value, right in zip(order, row, other, strict=True):
            if isinstance(value, float):
                assert value == pytest.approx(right, rel=1e-4, abs=2e-6), (name, row, other)
            else:
                assert value == right, (name, row, other)


@pytest.mark.parametrize(("name", "given"), CASES, ids=[f"{n}-{'-'.join(f'{k}={v}' for k, v in g.items())}" for n, g in CASES])
def test_query_gives_what_the_shards_hold(name: str, given: dict[str, Any], store: Store, data: ShardTables) -> None:
    query = catalogue().get(name)
    limit = {"limit": ALL} if any(p.name == "limit" for p in query.parameters) else {}
    result = run(store, name, **given, **limit)
    wanted = REFERENCES[name](data, **given)
    columns = [c.name for c in query.columns if c.name not in APPROXIMATE.get(name, set())]
    assert result.frame.columns == [c.name for c in query.columns]
    assert wanted.height > 0, "the case asks for nothing"
    assert_same(result.frame, wanted, columns)


def test_every_query_has_a_case() -> None:
    assert {name for name, _ in CASES} == set(catalogue().queries) == set(REFERENCES)


ORDERS = [
    ("heads_always_promoting_target", {}, "share", True), ("heads_promoting_foil", {}, "share", True),
    ("top_heads_by_contribution", {}, "mean_contribution", True), ("token_search_id", {"token_id": 120}, "states", True),
    ("similar_prompts", {"prompt": 2}, "similarity", True), ("target_by_layer", {"prompt": 2}, "layer", False),
    ("contributions", {"prompt": 2}, "layer", False), ("norm_filter_tokens", {}, "prompts", True),
    ("sizes", {}, "bytes", True), ("neuron_history", {"layer": 2, "neuron": 7}, "rank", False),
]  # fmt: skip


@pytest.mark.parametrize(("name", "given", "column", "descending"), ORDERS, ids=[o[0] for o in ORDERS])
def test_rows_come_in_the_order_promised(name: str, given: dict[str, Any], column: str, descending: bool, store: Store) -> None:
    found = run(store, name, **given).frame[column].to_list()
    assert len(found) > 1
    assert found == sorted(found, reverse=descending)


@pytest.mark.parametrize("name", ["compare_prompts", "compare_heads"])
def test_comparisons_show_the_largest_change_first(name: str, store: Store) -> None:
    change = run(store, name, a=4, b=5).frame["change"].abs().to_list()
    assert change == sorted(change, reverse=True)


def test_limit_takes_the_first_rows_and_says_so(store: Store) -> None:
    whole = run(store, "top_heads_by_contribution", limit=ALL)
    few = run(store, "top_heads_by_contribution", limit=3)
    assert few.frame.equals(whole.frame.head(3))
    assert any("first 3 rows" in note for note in few.notes)
    assert not whole.notes


def test_planted_facts_are_found(store: Store) -> None:
    promoting = run(store, "heads_always_promoting_target", share=1).frame
    assert promoting.select("layer", "head").rows() == [FACTS.promoting]
    assert promoting["control_share"][0] < 0.2
    assert promoting["p_value"][0] < 1e-4
    demoting = run(store, "heads_always_demoting_target", share=1).frame
    assert demoting.select("layer", "head").rows() == [FACTS.demoting]
    assert run(store, "heads_promoting_foil", rank=1, share=1).frame.select("layer", "head").rows() == [FACTS.foil]
    best = run(store, "top_heads_by_contribution", limit=1).frame
    assert best.select("layer", "head").rows() == [FACTS.promoting]
    always = run(store, "always_on_neurons", rank=1, share=1).frame
    assert FACTS.always_on in always.select("layer", "neuron").rows()
    row = always.filter((pl.col("layer") == FACTS.always_on[0]) & (pl.col("neuron") == FACTS.always_on[1]))
    assert row["norm"][0] > row["layer_norm"][0]
    assert row["entropy"][0] > row["layer_entropy"][0]


def test_group_and_pair_facts_are_found(store: Store) -> None:
    first = run(store, "always_on_neurons", rank=2, share=1, group="first").frame.select("layer", "neuron").rows()
    second = run(store, "always_on_neurons", rank=2, share=1, group="second").frame.select("layer", "neuron").rows()
    assert FACTS.group_only in first
    assert FACTS.group_only not in second
    pair = run(store, "minimal_pair", pair="pair-3").frame
    here = pair.filter((pl.col("layer") == FACTS.clean_only[0]) & (pl.col("head") == FACTS.clean_only[1]))
    assert here["clean_rank"][0] == 1 < here["corrupted_rank"][0]
    values = run(store, "top_memory_values", prompt=5, layer=FACTS.promoting[0], head=FACTS.promoting[1], values=1).frame
    assert values.select("source", "target_rank").rows() == [(FACTS.subject, 1)]


def test_contributions_sum_to_the_logit(store: Store, data: ShardTables) -> None:
    for row in data["Prompt"].head(5).to_dicts():
        found = run(store, "contributions", prompt=row["id"]).frame
        assert found["contribution"].sum() == pytest.approx(row["target_logit"], rel=1e-4, abs=1e-4)
    means = run(store, "contributions_mean").frame
    assert means["mean_contribution"].sum() == pytest.approx(data["Prompt"]["target_logit"].mean(), rel=1e-4, abs=1e-4)
