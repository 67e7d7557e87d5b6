"""Slices on both stores against the tables of the shards."""

from __future__ import annotations

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import query
from flowatlas.errors import UsageError
from flowatlas.stores.base import Store
from flowatlas.vocabulary import NODE_TABLES, RELATIONSHIP_TABLES, Label
from support.shard_tables import VECTORS, ShardTables

PROMPT = 7


def members(data: ShardTables, prompt: int, first: int, stop: int) -> pl.DataFrame:
    """Vectors that belong to layers first..stop-1, by the words of `query.slice`."""
    rows = data.vectors.filter(pl.col("prompt") == prompt)
    last = data["Model"]["n_layer"][0]
    return rows.filter(
        pl.col("layer").is_between(first, stop - 1)
        | ((pl.col("layer") == first - 1) & ((pl.col("kind") == "residual_post") | pl.lit(first == 0)))
        | ((pl.col("kind") == "final_norm") & pl.lit(stop == last))
    )


@pytest.mark.parametrize("layers", [(0, 3), (0, 1), (1, 2), (2, 3), (1, 3)], ids=str)
def test_slice_holds_exactly_the_nodes_and_edges_of_its_layers(layers: tuple[int, int], store: Store, data: ShardTables) -> None:
    graph = query.slice(store, PROMPT, range(*layers))
    wanted = members(data, PROMPT, *layers)
    found = graph.nodes.filter(pl.col("label").is_in(VECTORS))
    assert sorted(found["id"]) == sorted(wanted["id"])
    inside = set(wanted["id"])
    tokens = set(data["Token"].filter(pl.col("prompt") == PROMPT)["id"])
    for table in RELATIONSHIP_TABLES:
        if table.name not in data.tables or table.source is Label.PROMPT:
            continue
        rows = data[table.name]
        for end, label in (("from", table.source), ("to", table.target)):
            if label is not Label.NEURON:
                rows = rows.filter(pl.col(end).is_in(list(tokens if label is Label.TOKEN else inside)))
        edges = graph.edges.filter(
            (pl.col("type") == table.type) & (pl.col("from_label") == table.source) & (pl.col("to_label") == table.target)
        ).select(rows.columns)
        assert_frame_equal(edges.sort("from", "to"), rows.sort("from", "to"), check_dtypes=True)


def test_nodes_carry_what_the_shards_hold(store: Store, data: ShardTables) -> None:
    graph = query.slice(store, PROMPT, range(1, 3))
    for table in NODE_TABLES:
        if table.label in (Label.MODEL, Label.PROMPT):
            continue
        found = graph.nodes_of(table.label)
        wanted = data[table.name].filter(pl.col("id").is_in(found["id"].to_list()))
        assert found.height == wanted.height > 0
        assert_frame_equal(found.sort("id"), wanted.sort("id"))
    assert graph.prompt["id"] == PROMPT
    assert graph.model == data["Model"].to_dicts()[0]
    assert [t["position"] for t in graph.tokens] == list(range(graph.prompt["n_tokens"]))


def test_pruning_first_or_later_is_the_same(store: Store) -> None:
    for policy in ("paper:3,2,1", "mass:0.6", "top:4@contribution"):
        later = query.slice(store, PROMPT, range(1, 3)).prune(policy)
        first = query.slice(store, PROMPT, range(1, 3), policy=policy)
        assert_frame_equal(first.nodes, later.nodes)
        assert_frame_equal(first.edges, later.edges)
        assert str(first.pruned) == str(later.pruned)


def test_slice_of_a_slice_is_the_slice(store: Store) -> None:
    whole = query.slice(store, PROMPT)
    for layers in (range(1), range(1, 3), range(2, 3)):
        direct, part = query.slice(store, PROMPT, layers), whole.slice(layers)
        assert_frame_equal(part.nodes.sort("label", "id"), direct.nodes.sort("label", "id"))
        by = ["type", "from_label", "from", "to_label", "to"]
        assert_frame_equal(part.edges.sort(by), direct.edges.sort(by))
    assert whole.slice(range(1, 3)).slice(range(2, 3)).edges.height == whole.slice(range(2, 3)).edges.height


def test_prompts_are_found_by_id_or_text(store: Store, data: ShardTables) -> None:
    text = data["Prompt"]["text"][3]
    assert query.slice(store, text, range(1)).prompt["id"] == 3
    assert query.slice(store, "3", range(1)).prompt["id"] == 3


@pytest.mark.parametrize(
    ("prompt", "layers", "position", "message"),
    [
        (999, None, None, "no prompt 999"), ("no such words", None, None, "No prompt holds"), (" word", None, None, "Several prompts"),
        (1, range(3, 4), None, "no layers 3:4"), (1, range(2, 2), None, "no layers 2:2"), (1, range(-1, 2), None, "no layers"),
        (1, range(0, 3, 2), None, "steps of 2"), (1, None, 99, "no position 99"),
    ],
)  # fmt: skip
def test_wrong_questions_are_told_what_is_there(
    prompt: int | str, layers: range | None, position: int | None, message: str, ladybug: Store
) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        query.slice(ladybug, prompt, layers, position=position)
    assert raised.value.known


@pytest.mark.parametrize(
    ("text", "wanted"), [("9:11", range(9, 11)), ("3", range(3, 4)), (":", range(12)), (":2", range(2)), ("10:", range(10, 12))]
)
def test_layers_as_text(text: str, wanted: range) -> None:
    assert query.parse_layers(text, 12) == wanted


def test_layers_that_are_no_layers() -> None:
    with pytest.raises(UsageError, match="range of layers"):
        query.parse_layers("a:b", 12)
