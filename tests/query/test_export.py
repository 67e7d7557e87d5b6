"""Exports: what they hold, their provenance, and that a store still gives them."""

from __future__ import annotations

import json
from pathlib import Path

import networkx as nx
import polars as pl
import pytest

import query
from benchmarks.synthetic import TINY, write
from flowatlas.errors import InputError
from flowatlas.stores import open_store
from flowatlas.stores.base import Store
from query.export import records
from query.provenance import content_hash, read_provenance
from support.cli import flowatlas

SUFFIXES = ["json", "graphml", "svg", "html"]


def test_json_holds_every_node_and_edge_with_its_numbers(store: Store) -> None:
    graph = query.slice(store, 6, range(1, 3), policy="paper:3,2,2")
    whole = json.loads(query.to_json(graph))
    assert len(whole["nodes"]) == len(graph.nodes)
    assert len(whole["edges"]) == len(graph.edges)
    names = {node["name"] for node in whole["nodes"]}
    assert len(names) == len(graph.nodes)
    assert all({edge["from"], edge["to"]} <= names for edge in whole["edges"])
    head = next(node for node in whole["nodes"] if node["name"] == "2.head.0")
    row = graph.nodes.filter((pl.col("kind") == "head") & (pl.col("layer") == 2) & (pl.col("head") == 0)).to_dicts()[0]
    assert head["top_tokens"] == row["top_tokens"]
    assert head["target_prob"] == pytest.approx(row["target_prob"], rel=1e-7)
    about = whole["flowatlas"]
    assert about["model"] == graph.model["id"]
    assert about["prune"] == "paper:3,2,2"
    assert about["layers"] == "1:3"
    assert "MATCH" in about["queries"]["slice_edges"]
    assert about["content_hash"] == content_hash(whole["nodes"], whole["edges"])


def test_both_stores_give_the_same_hash(store: Store, ladybug: Store) -> None:
    one, other = (query.provenance(query.slice(s, 6, range(3), policy="mass:0.8"))["content_hash"] for s in (store, ladybug))
    assert one == other


def test_networkx_and_graphml_hold_the_same_graph(ladybug: Store) -> None:
    graph = query.slice(ladybug, 2, range(1), policy="paper")
    direct = query.to_networkx(graph)
    assert direct.number_of_nodes() == len(graph.nodes)
    assert direct.number_of_edges() == len(graph.edges)
    assert nx.is_directed_acyclic_graph(direct)
    read = nx.parse_graphml(query.to_graphml(graph), force_multigraph=True)
    assert set(read.nodes) == set(direct.nodes)
    assert sorted(read.edges(keys=True)) == sorted(direct.edges(keys=True))
    edge = next(e for e in direct.edges(keys=True, data=True) if e[2] == "SUMS")
    assert read.edges[edge[:3]]["score"] == edge[3]["score"]
    node = "0.head.1"
    assert json.loads(read.nodes[node]["top_tokens"]) == direct.nodes[node]["top_tokens"]


def test_cytoscape_elements_refer_to_each_other(ladybug: Store) -> None:
    graph = query.slice(ladybug, 2, range(1), policy="paper")
    elements = query.to_cytoscape(graph)
    nodes = {e["data"]["id"] for e in elements if "source" not in e["data"]}
    edges = [e["data"] for e in elements if "source" in e["data"]]
    assert len(nodes) == len(graph.nodes)
    assert len({e["id"] for e in edges}) == len(edges) == len(graph.edges)
    assert {e["source"] for e in edges} | {e["target"] for e in edges} == nodes
    json.dumps(elements, allow_nan=False)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_is_verified_on_both_stores(suffix: str, store: Store, tmp_path: Path) -> None:
    out = tmp_path / f"graph.{suffix}"
    made = flowatlas("graph", "6", "--layers", "1:3", "--prune", "paper:4,2,1", "--out", out, "--store", store.uri)
    assert made.code == 0, made.stderr
    assert made.stdout == ""
    assert "pruned" in made.stderr
    assert not query.verify(store, out).problems
    again = tmp_path / f"again.{suffix}"
    flowatlas("graph", "6", "--layers", "1:3", "--prune", "paper:4,2,1", "--out", again, "--store", store.uri)
    assert again.read_bytes() == out.read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_store_that_lacks_the_prompt_or_gives_another_graph_is_told(
    suffix: str, ladybug: Store, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = tmp_path / f"graph.{suffix}"
    assert flowatlas("graph", "6", "--layers", "1", "--out", out, "--store", ladybug.uri).code == 0
    text = out.read_text()
    out.write_text(text.replace("paper:18,7,2", "paper:18,7,1"))
    result = flowatlas("graph", "--verify", out, "--store", ladybug.uri)
    assert result.code == 1
    assert "another graph" in result.stderr
    folder = tmp_path_factory.mktemp("other")
    with open_store(str(folder / "store.lbug"), mode="write") as other:
        for shard in write(folder / "shards", TINY, 1, seed=8):
            other.write(shard)
    result = flowatlas("graph", "--verify", out, "--store", folder / "store.lbug")
    assert result.code == 1
    assert "does not hold the prompt" in " ".join(result.stderr.split())


def test_a_changed_number_is_noticed(ladybug: Store, tmp_path: Path) -> None:
    out = tmp_path / "graph.json"
    flowatlas("graph", "6", "--layers", "1", "--out", out, "--store", ladybug.uri)
    whole = json.loads(out.read_text())
    whole["edges"][0]["score"] = 1.25
    out.write_text(json.dumps(whole))
    assert any("changed after it was made" in problem for problem in query.verify(ladybug, out).problems)


@pytest.mark.parametrize("text", ["", "{}", "[1]", "no graph", '{"flowatlas": {}}', "<svg></svg>"])
def test_files_without_provenance(text: str, tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    file.write_text(text)
    with pytest.raises(InputError, match="no provenance"):
        read_provenance(file)


def test_content_hash_does_not_depend_on_order(ladybug: Store) -> None:
    nodes, edges = records(query.slice(ladybug, 1, range(1), policy="paper"))
    assert content_hash(nodes, edges) == content_hash(nodes[::-1], edges[::-1])
    assert content_hash(nodes[1:], edges) != content_hash(nodes, edges)
