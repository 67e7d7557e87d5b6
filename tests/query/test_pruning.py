"""Pruning: each policy against a plain choice, and the laws that all of them keep."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import query
from flowatlas.errors import UsageError
from flowatlas.stores.base import Store
from flowatlas.vocabulary import Type
from query.pruning import MEASURES, Mass, Paper, Policy, Threshold, Top, describe, parse_policy, prune

SUMMED = {Type.WRITES: "neurons", Type.SUMS: "memories", Type.CONCATENATES: "heads"}
GRAPHS: dict[str, query.Graph] = {}


@pytest.fixture(scope="module", autouse=True)
def graphs(ladybug: Store) -> Iterator[None]:
    GRAPHS.update({str(n): query.slice(ladybug, n) for n in (0, 7, 13)})
    yield
    GRAPHS.clear()


measures = st.sampled_from(MEASURES)
policies: st.SearchStrategy[Policy] = st.one_of(
    st.builds(Paper, positive=st.integers(1, 30), negative=st.integers(0, 30), values=st.integers(1, 8)),
    st.builds(Top, neurons=st.none() | st.integers(1, 30), values=st.none() | st.integers(1, 8), heads=st.none() | st.integers(1, 5), by=measures),
    st.builds(Threshold, minimum=st.floats(0, 5), by=measures),
    st.builds(Mass, share=st.floats(0.01, 1), by=measures),
)
whole_graphs = st.sampled_from(["0", "7", "13"])


def edge_set(graph: query.Graph) -> set[tuple[str, int, int]]:
    return set(graph.edges.select("type", "from", "to").iter_rows())


def node_set(graph: query.Graph) -> set[tuple[str, int]]:
    return set(graph.nodes.select("label", "id").iter_rows())


def inputs(graph: query.Graph) -> dict[tuple[str, int], list[dict[str, float]]]:
    """The alternatives of every component by (part, node they flow into)."""
    rows: dict[tuple[str, int], list[dict[str, float]]] = {}
    for edge in graph.edge_records:
        if edge["type"] in SUMMED:
            rows.setdefault((SUMMED[Type(edge["type"])], edge["to"]), []).append(edge)
    return rows


def test_paper_keeps_the_strongest_of_each_sign_and_the_best_memories() -> None:
    graph = GRAPHS["7"]
    pruned = graph.prune(Paper(positive=3, negative=2, values=2))
    left = inputs(pruned)
    for (part, to), edges in inputs(graph).items():
        scores = sorted((e["score"] for e in edges), reverse=True)
        kept = sorted((e["score"] for e in left[part, to]), reverse=True)
        if part == "neurons":
            positive, negative = [s for s in scores if s >= 0], [s for s in scores if s < 0]
            assert kept == positive[:3] + sorted(sorted(negative)[:2], reverse=True)
        elif part == "memories":
            assert kept == scores[:2]
        else:
            assert kept == scores


def test_mass_keeps_the_fewest_that_hold_the_share() -> None:
    graph = GRAPHS["0"]
    pruned = graph.prune(Mass(0.7, by="contribution"))
    left = inputs(pruned)
    heads_left = {e["from"] for (part, _), edges in left.items() if part == "heads" for e in edges}
    for (part, to), edges in inputs(graph).items():
        if part == "memories" and to not in heads_left:
            continue
        sizes = sorted((abs(float(e["contribution"])) for e in edges), reverse=True)
        count = len(left.get((part, to), []))
        assert sum(sizes[:count]) >= 0.7 * sum(sizes) * (1 - 1e-9)
        assert sum(sizes[: count - 1]) < 0.7 * sum(sizes)


def test_what_hangs_on_a_pruned_head_or_memory_goes_with_it() -> None:
    pruned = GRAPHS["7"].prune(Top(neurons=1, values=1, heads=1))
    for kind, count in (("head", 1), ("query", 1), ("key", 1), ("value", 1)):
        by_layer = pruned.nodes.filter(pl.col("kind") == kind).group_by("layer").len()["len"].to_list()
        assert by_layer == [count] * 3
    neurons = pruned.nodes.filter(pl.col("label") == "Neuron")
    assert neurons.group_by("layer", "matrix").len()["len"].to_list() == [1] * 6
    assert pruned.edges_of(Type.ACTIVATES).height == pruned.edges_of(Type.WRITES).height == 6
    ends = {(row["from_label"], row["from"]) for row in pruned.edge_records} | {(row["to_label"], row["to"]) for row in pruned.edge_records}
    assert node_set(pruned) == ends


def test_backbone_stays_whatever_is_pruned() -> None:
    pruned = GRAPHS["0"].prune(Threshold(1e9))
    kinds = {"NORMALIZES", "PROJECTS", "ADDS", "SKIPS", "EMBEDS"}
    assert set(pruned.edges["type"]) == kinds
    for kind in kinds:
        assert (pruned.edges["type"] == kind).sum() == (GRAPHS["0"].edges["type"] == kind).sum()


@settings(max_examples=40, deadline=None)
@given(name=whole_graphs, policy=policies)
def test_pruning_is_idempotent_and_a_part(name: str, policy: Policy) -> None:
    graph = GRAPHS[name]
    once = graph.prune(policy)
    twice = once.prune(policy)
    assert_frame_equal(once.edges, twice.edges)
    assert_frame_equal(once.nodes, twice.nodes)
    assert edge_set(once) <= edge_set(graph)
    assert str(once.pruned) == str(twice.pruned)


@settings(max_examples=40, deadline=None)
@given(name=whole_graphs, by=measures, shares=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)), bounds=st.tuples(st.floats(0, 3), st.floats(0, 3)))
def test_pruning_is_monotone(name: str, by: str, shares: tuple[float, float], bounds: tuple[float, float]) -> None:
    graph = GRAPHS[name]
    less, more = sorted(shares)
    assert edge_set(graph.prune(Mass(less, by))) <= edge_set(graph.prune(Mass(more, by)))  # type: ignore[arg-type]
    assert edge_set(graph.prune(Mass(more, by)).prune(Mass(less, by))) == edge_set(graph.prune(Mass(less, by)))  # type: ignore[arg-type]
    low, high = sorted(bounds)
    assert edge_set(graph.prune(Threshold(high, by))) <= edge_set(graph.prune(Threshold(low, by)))  # type: ignore[arg-type]


@settings(max_examples=25, deadline=None)
@given(name=whole_graphs, policy=policies)
def test_report_says_what_went(name: str, policy: Policy) -> None:
    graph = GRAPHS[name]
    pruned = graph.prune(policy)
    report = pruned.pruned
    assert report is not None
    assert report.edges - report.edges_pruned == pruned.edges.height
    assert report.nodes - report.nodes_pruned == pruned.nodes.height
    before, after = inputs(graph), inputs(pruned)
    assert report.components.height == len(before)
    for row in report.components.to_dicts():
        key = (row["part"], row["id"])
        kept = after.get(key, [])
        assert row["inputs"] == len(before[key])
        assert row["inputs"] - row["pruned"] == len(kept)
        for measure in ("score", "contribution"):
            total = sum(abs(float(e[measure])) for e in before[key])
            share = sum(abs(float(e[measure])) for e in kept) / total
            assert share + row[f"{measure}_pruned"] == pytest.approx(1, abs=1e-6)


def test_report_of_a_part_of_a_pruned_graph() -> None:
    pruned = GRAPHS["0"].prune("mass:0.5")
    part = pruned.slice(range(1, 2))
    direct = GRAPHS["0"].slice(range(1, 2)).prune("mass:0.5")
    assert edge_set(part) == edge_set(direct)
    assert part.pruned is not None
    assert direct.pruned is not None
    assert_frame_equal(part.pruned.components, direct.pruned.components)


@settings(max_examples=60, deadline=None)
@given(policy=policies)
def test_policies_are_what_their_text_says(policy: Policy) -> None:
    again = parse_policy(describe(policy))
    assert type(again) is type(policy)
    assert describe(again) == describe(policy)


def test_short_texts() -> None:
    assert parse_policy("paper") == Paper()
    assert parse_policy("paper:5,0,1") == Paper(5, 0, 1)
    assert parse_policy("top:7@norm") == Top(neurons=7, by="norm")
    assert parse_policy("top:7,all,2") == Top(7, None, 2)
    assert parse_policy("mass@score") == Mass(by="score")
    assert parse_policy("threshold:0.25") == Threshold(0.25)


@pytest.mark.parametrize(
    "text",
    ["papers", "mass:0", "mass:1.5", "mass:nan", "mass:x", "top:0", "top:1,2,3,4", "top:1@loudness", "paper:0", "paper:1,2,0", "paper@norm",
     "threshold:-1", "top:2.5", ""],
)  # fmt: skip
def test_policies_that_make_no_sense(text: str) -> None:
    with pytest.raises(UsageError):
        prune(GRAPHS["0"], text)
