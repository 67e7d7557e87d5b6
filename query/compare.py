"""Two flow graphs of one model side by side: what differs, by how much, and what they share."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from flowatlas.errors import QueryError, UsageError, did_you_mean
from query.graph import Graph
from query.names import named_edges, node_names
from query.pruning import MEASURES, Measure

_KEY = ["type", "from_name", "to_name"]


@dataclass(frozen=True)
class Comparison:
    """What differs between the graphs `a` and `b`; all tables are empty when they are equal.

    `nodes`: vectors whose projection of the target differs (name, prob_a, prob_b, change, rank_a,
    rank_b, top_a, top_b). `edges`: relationships whose measure differs (`difference`). `only_a` and
    `only_b`: names of nodes that only one graph has. Largest changes first.
    """

    nodes: pl.DataFrame
    edges: pl.DataFrame
    only_a: list[str]
    only_b: list[str]
    notes: tuple[str, ...]

    @property
    def empty(self) -> bool:
        """Whether nothing differs."""
        return self.nodes.is_empty() and self.edges.is_empty() and not self.only_a and not self.only_b


@dataclass(frozen=True)
class Overlap:
    """What two graphs share: counts, and Jaccard's share (shared by all), of nodes and relationships."""

    shared_nodes: int
    all_nodes: int
    shared_edges: int
    all_edges: int
    nodes: list[str]

    @property
    def node_share(self) -> float:
        """Shared nodes by all nodes (1 for two empty graphs)."""
        return self.shared_nodes / self.all_nodes if self.all_nodes else 1.0

    @property
    def edge_share(self) -> float:
        """Shared relationships by all relationships (1 for two empty graphs)."""
        return self.shared_edges / self.all_edges if self.all_edges else 1.0


def compare(a: Graph, b: Graph, by: Measure = "contribution") -> Comparison:
    """What differs between two graphs of one model, matched by `query.names`.

    Each graph is judged by its own prompt's target. Raises QueryError when the graphs are of
    different models, UsageError on an unknown measure.
    """
    _checked(a, b, by)
    names = [_projections(graph, side) for graph, side in ((a, "a"), (b, "b"))]
    both = names[0].join(names[1], on="name")
    change = (pl.col("prob_b") - pl.col("prob_a")).alias("change")
    differs = pl.any_horizontal(
        [pl.col(f"{c}_a").ne_missing(pl.col(f"{c}_b")) for c in ("prob", "rank", "top")]
    )
    nodes = both.filter(differs).with_columns(change)
    nodes = nodes.select("name", "prob_a", "prob_b", "change", "rank_a", "rank_b", "top_a", "top_b")
    nodes = nodes.sort(pl.col("change").abs(), "name", descending=[True, False])
    in_a, in_b = (set(node_names(graph)["name"]) for graph in (a, b))
    return Comparison(nodes, difference(a, b, by), sorted(in_a - in_b), sorted(in_b - in_a), tuple(_notes(a, b)))


def difference(a: Graph, b: Graph, by: Measure = "contribution") -> pl.DataFrame:
    """Relationships whose measure differs: type, from, to, value_a, value_b, change = b - a.

    A relationship that one graph lacks counts there as 0. Swapping the graphs changes the sign.
    Largest changes first. Raises QueryError, UsageError.
    """
    _checked(a, b, by)
    sides = [
        named_edges(graph).filter(pl.col(by).is_not_null()).select(*_KEY, pl.col(by).cast(pl.Float64).alias(f"value_{side}"))
        for graph, side in ((a, "a"), (b, "b"))
    ]
    both = sides[0].join(sides[1], on=_KEY, how="full", coalesce=True)
    change = (pl.col("value_b").fill_null(0.0) - pl.col("value_a").fill_null(0.0)).alias("change")
    lacking = pl.col("value_a").is_null() ^ pl.col("value_b").is_null()
    rows = both.with_columns(change).filter((pl.col("change") != 0) | lacking)
    return rows.sort(pl.col("change").abs(), *_KEY, descending=[True, False, False, False]).rename(
        {"from_name": "from", "to_name": "to"}
    )


def overlap(a: Graph, b: Graph) -> Overlap:
    """What two graphs (of one model, pruned or not) share. Raises QueryError."""
    _checked(a, b, "score")
    nodes = [set(node_names(graph)["name"]) for graph in (a, b)]
    edges = [set(named_edges(graph).select(_KEY).iter_rows()) for graph in (a, b)]
    shared = nodes[0] & nodes[1]
    return Overlap(len(shared), len(nodes[0] | nodes[1]), len(edges[0] & edges[1]), len(edges[0] | edges[1]), sorted(shared))


def _projections(graph: Graph, side: str) -> pl.DataFrame:
    rows = graph.nodes.filter(pl.col("target_rank").is_not_null())
    rows = rows.join(node_names(graph), on=["label", "id"], how="left")
    return rows.select(
        "name", pl.col("target_prob").alias(f"prob_{side}"), pl.col("target_rank").alias(f"rank_{side}"),
        pl.col("top_token").alias(f"top_{side}"),
    )  # fmt: skip


def _checked(a: Graph, b: Graph, by: str) -> None:
    if by not in MEASURES:
        raise UsageError(f"Relationships have no measure '{by}'.", known=did_you_mean(by, MEASURES))
    if a.model["id"] != b.model["id"]:
        raise QueryError(
            "The prompts are of different models: their layers, heads and neurons are not the same things.",
            known=f"{a.model['name']} ({a.model['id']}) and {b.model['name']} ({b.model['id']}).",
            next_step="Compare prompts of one model.",
        )


def _notes(a: Graph, b: Graph) -> list[str]:
    notes = [graph.note for graph in (a, b) if graph.note]
    if a.prompt["n_tokens"] != b.prompt["n_tokens"]:
        notes.append(
            f"The prompts have {a.prompt['n_tokens']} and {b.prompt['n_tokens']} tokens: "
            "memories are matched by position from the start."
        )
    if a.prompt["target_id"] != b.prompt["target_id"]:
        notes.append("The prompts have different targets; each is judged by its own.")
    if a.layers != b.layers:
        notes.append("The graphs are of different layers.")
    return notes
