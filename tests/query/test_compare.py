"""Comparisons, overlaps and paths: laws, and answers found by trying everything."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import networkx as nx
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import query
from benchmarks.synthetic import TINY, planted, write
from flowatlas.errors import QueryError, UsageError
from flowatlas.stores import open_store
from flowatlas.stores.base import Store
from query.names import node_names
from query.paths import widest
from support.shard_tables import ShardTables

FACTS = planted(TINY)
GRAPHS: dict[int, query.Graph] = {}


@pytest.fixture(scope="module", autouse=True)
def graphs(ladybug: Store) -> Iterator[None]:
    GRAPHS.update({n: query.slice(ladybug, n) for n in (0, 4, 5, 9)})
    yield
    GRAPHS.clear()


def test_names_are_unique_and_say_what_a_node_is() -> None:
    names = node_names(GRAPHS[4])
    assert names["name"].n_unique() == len(names) == len(GRAPHS[4].nodes)
    for wanted in ("token.0", "-1.embedding", "2.head.1", "0.value.3.2", "1.mlp.7", "2.attention_output.0", "3.final_norm", "1.residual_mid"):
        assert wanted in names["name"]


@pytest.mark.parametrize("by", ["contribution", "score", "norm", "foil_contribution"])
def test_a_graph_does_not_differ_from_itself(by: Any) -> None:
    assert query.compare(GRAPHS[4], GRAPHS[4], by).empty
    same = query.overlap(GRAPHS[4], GRAPHS[4])
    assert same.node_share == same.edge_share == 1


@pytest.mark.parametrize("by", ["contribution", "score"])
def test_difference_is_antisymmetric(by: Any) -> None:
    forth, back = query.difference(GRAPHS[4], GRAPHS[9], by), query.difference(GRAPHS[9], GRAPHS[4], by)
    assert len(forth) > 50
    swapped = back.with_columns(change=-pl.col("change")).rename({"value_a": "value_b", "value_b": "value_a"}).select(forth.columns)
    key = ["type", "from", "to"]
    assert_frame_equal(forth.sort(key), swapped.sort(key))
    assert forth["change"].abs().to_list() == sorted(forth["change"].abs().to_list(), reverse=True)


def test_difference_is_that_of_the_shards(data: ShardTables) -> None:
    found = query.difference(GRAPHS[4], GRAPHS[5]).filter(pl.col("type") == "CONCATENATES")
    edges = data["CONCATENATES_Head_State"].join(data["Head"].select("id", "prompt", "layer", "head"), left_on="from", right_on="id")
    effect = {(p, layer, head): float(c) for p, layer, head, c in edges.select("prompt", "layer", "head", "contribution").iter_rows()}
    assert found.height == TINY.n_layer * TINY.n_head
    for row in found.to_dicts():
        layer, _, head = row["from"].split(".")
        assert row["change"] == pytest.approx(effect[5, int(layer), int(head)] - effect[4, int(layer), int(head)], rel=1e-6)


def test_relationships_that_one_graph_lacks_count_as_nothing_there() -> None:
    pruned = GRAPHS[4].prune("top:3,1,2@contribution")
    rows = query.difference(pruned, GRAPHS[4])
    assert rows["value_a"].null_count() == len(rows)
    assert_frame_equal(rows.select(a="change"), rows.select(a="value_b"))
    assert query.difference(pruned, GRAPHS[4]).height == query.difference(GRAPHS[4], pruned).height
    compared = query.compare(pruned, GRAPHS[4])
    assert not compared.only_a
    assert len(compared.only_b) == len(GRAPHS[4].nodes) - len(pruned.nodes)


def test_nodes_of_a_comparison(data: ShardTables) -> None:
    found = query.compare(GRAPHS[4], GRAPHS[5])
    row = found.nodes.filter(pl.col("name") == f"{FACTS.clean_only[0]}.head.{FACTS.clean_only[1]}").to_dicts()[0]
    assert row["rank_a"] == 1 < row["rank_b"]
    assert row["change"] == pytest.approx(row["prob_b"] - row["prob_a"])
    assert row["top_a"] == data["Prompt"]["target"][4]
    assert any("different targets" in note for note in found.notes)


def test_overlap_counts_what_is_shared() -> None:
    a, b = (GRAPHS[n].prune("top:5,1,2@score") for n in (4, 5))
    found = query.overlap(a, b)
    names = [set(node_names(g)["name"]) for g in (a, b)]
    assert found.shared_nodes == len(names[0] & names[1])
    assert found.node_share == len(names[0] & names[1]) / len(names[0] | names[1])
    assert set(found.nodes) == names[0] & names[1]
    assert 0 < found.edge_share < 1


def test_prompts_of_two_models_are_not_compared(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("other")
    with open_store(str(folder / "store.lbug"), mode="write") as store:
        for shard in write(folder / "shards", TINY, 1, seed=77):
            store.write(shard)
        other = query.slice(store, 0)
    with pytest.raises(QueryError, match="different models"):
        query.compare(GRAPHS[4], other)
    with pytest.raises(UsageError, match="no measure 'loudness'"):
        query.compare(GRAPHS[4], GRAPHS[5], "loudness")  # type: ignore[arg-type]


def strongest_by_trying(edges: list[tuple[int, int, float]], start: int, end: int) -> float | None:
    graph: nx.MultiDiGraph[int] = nx.MultiDiGraph()
    graph.add_nodes_from([start, end])
    for a, b, strength in edges:
        graph.add_edge(a, b, strength=strength)
    ways = nx.all_simple_edge_paths(graph, start, end)
    return max((min(graph.edges[e]["strength"] for e in way) for way in ways), default=None)


edge_lists = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.floats(0, 1)).filter(lambda e: e[0] != e[1]), max_size=14)


@settings(max_examples=200, deadline=None)
@given(edges=edge_lists)
def test_bottleneck_is_that_of_the_best_of_all_paths(edges: list[tuple[int, int, float]]) -> None:
    out: dict[Any, list[tuple[Any, float, int]]] = {}
    for number, (a, b, strength) in enumerate(edges):
        out.setdefault(a, []).append((b, strength, number))
    way = widest(out, 0, 5)
    wanted = strongest_by_trying(edges, 0, 5)
    assert (way is None) == (wanted is None)
    if way is not None and wanted is not None:
        assert min(edges[i][2] for i in way) == wanted
        assert edges[way[0]][0] == 0
        assert edges[way[-1]][1] == 5
        assert all(edges[i][1] == edges[j][0] for i, j in itertools.pairwise(way))


@pytest.mark.parametrize("by", ["score", "share", "contribution"])
def test_paths_of_a_graph_start_at_the_token_and_end_at_the_prediction(by: Any) -> None:
    graph = GRAPHS[4]
    found = query.paths(graph, FACTS.subject, by=by, count=4)
    assert [p.strength for p in found] == sorted((p.strength for p in found), reverse=True)
    names = set(node_names(graph)["name"])
    for path in found:
        assert path.nodes[0] == f"token.{FACTS.subject}"
        assert path.nodes[-1] == "3.final_norm"
        assert set(path.nodes) <= names
        assert path.strength == min((s for s in path.strengths if s is not None), default=math.inf)
        assert not {"ACTIVATES", "WRITES"} & set(path.types)
    assert len({p.nodes for p in found}) == len(found)


def test_strongest_path_of_a_token_is_the_planted_one() -> None:
    found = query.paths(GRAPHS[4], FACTS.subject, by="score")[0]
    layer, head = FACTS.promoting
    assert f"{layer}.value.{head}.{FACTS.subject}" in found.nodes
    assert f"{layer}.head.{head}" in found.nodes
    assert found.strength == pytest.approx(0.9)


def test_paths_that_are_not_there() -> None:
    with pytest.raises(UsageError, match="no token at position 40"):
        query.paths(GRAPHS[4], 40)
    with pytest.raises(UsageError, match="no strength 'force'"):
        query.paths(GRAPHS[4], 0, by="force")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="At least one"):
        query.paths(GRAPHS[4], 0, count=0)
    pruned = GRAPHS[4].prune("top:1,1,1@contribution")
    used = set(pruned.nodes.filter(pl.col("kind") == "value")["source"])
    alone = next(iter(set(range(5)) - used), None)
    assert alone is not None
    with pytest.raises((UsageError, QueryError)):
        query.paths(pruned, alone)
