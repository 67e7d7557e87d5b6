"""Paths through a flow graph: the strongest ways from an input token to the prediction.

A path is as strong as its weakest step (max-min). The strongest one is found exactly, by a search
that always widens the strongest way so far. Paths do not run through neurons: the PROJECTS
relationships stand for the whole matrix step.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

import polars as pl

from flowatlas.errors import QueryError, UsageError, did_you_mean
from flowatlas.vocabulary import Kind, Label, Type
from query.graph import Graph
from query.names import named_edges, node_names

Strength = Literal["score", "share", "contribution"]
STRENGTHS: Final[tuple[Strength, ...]] = get_args(Strength)
_NEURONS: Final = (str(Type.ACTIVATES), str(Type.WRITES))


@dataclass(frozen=True)
class Path:
    """A way through the graph: names of its nodes, types and strengths of its steps, and the weakest.

    A step without a strength of its own (a token creating a key) has None and limits nothing.
    """

    nodes: tuple[str, ...]
    types: tuple[str, ...]
    strengths: tuple[float | None, ...]
    strength: float

    @property
    def steps(self) -> int:
        """How many relationships it takes."""
        return len(self.types)


def paths(graph: Graph, source: int, *, by: Strength = "share", count: int = 1) -> list[Path]:
    """The `count` strongest paths from the input token at position `source` to the prediction.

    `by` says how strong a step is: its `score` as stored, its `share` of the absolute scores of all
    steps into the same node, or its absolute `contribution` (steps without one limit
    nothing). The prediction is the final norm, or the last residual of the graph. The next path is
    the strongest that avoids the weakest step of those before.

    Raises UsageError (no such position or measure), QueryError (the graph has no way).
    """
    if by not in STRENGTHS:
        raise UsageError(f"Steps have no strength '{by}'.", known=did_you_mean(by, STRENGTHS))
    if count < 1:
        raise UsageError(f"At least one path must be asked for, not {count}.")
    start = f"token.{source}"
    if start not in set(node_names(graph)["name"]):
        raise UsageError(f"The graph has no token at position {source}.", known=f"Its prompt has {graph.prompt['n_tokens']} tokens.")
    end = _prediction(graph)
    steps = _steps(graph, by)
    found: list[Path] = []
    while len(found) < count:
        way = widest(_by_start(steps), start, end)
        if way is None:
            break
        chosen = [steps[i] for i in way]
        strengths = tuple(None if math.isinf(step[3]) else step[3] for step in chosen)
        weakest = min(range(len(chosen)), key=lambda i: chosen[i][3])
        found.append(
            Path((start, *(s[1] for s in chosen)), tuple(s[2] for s in chosen), strengths, chosen[weakest][3])
        )
        del steps[way[weakest]]
    if not found:
        raise QueryError(f"There is no way from token {source} to {end} in this graph.", next_step="Prune less, or take all layers.")
    return found


def widest(
    out: Mapping[Hashable, Iterable[tuple[Hashable, float, int]]], start: Hashable, end: Hashable
) -> list[int] | None:
    """Step numbers of a path from `start` to `end` whose weakest step is the strongest possible.

    `out` gives for a node its steps as (next node, strength, number). None when there is no path.
    """
    best: dict[Hashable, float] = {start: math.inf}
    came: dict[Hashable, tuple[Hashable, int]] = {}
    done: set[Hashable] = set()
    heap: list[tuple[float, int, Hashable]] = [(-math.inf, 0, start)]
    order = 0
    while heap:
        reached, _, node = heapq.heappop(heap)
        if node in done:
            continue
        done.add(node)
        if node == end:
            break
        for following, strength, number in out.get(node, ()):
            width = min(-reached, strength)
            if following not in done and width > best.get(following, -math.inf):
                best[following] = width
                came[following] = (node, number)
                order += 1
                heapq.heappush(heap, (-width, order, following))
    if end not in came:
        return None
    way = []
    node = end
    while node != start:
        node, number = came[node]
        way.append(number)
    return way[::-1]


def _prediction(graph: Graph) -> str:
    final = graph.nodes.filter(pl.col("kind") == Kind.FINAL_NORM)
    if not final.is_empty():
        return f"{final['layer'][0]}.{Kind.FINAL_NORM}"
    return f"{graph.layers.stop - 1}.{Kind.RESIDUAL_POST}"


def _steps(graph: Graph, by: Strength) -> dict[int, tuple[str, str, str, float]]:
    """Steps as number -> (from, to, type, strength); infinite where a step has no strength."""
    edges = named_edges(graph).filter(~pl.col("type").is_in(_NEURONS), pl.col("to_label") != Label.NEURON)
    size = pl.col("contribution" if by == "contribution" else "score").cast(pl.Float64).abs()
    if by == "share":
        total = size.sum().over("to_name")
        size = pl.when(total > 0).then(size / total).otherwise(size)
    rows = edges.select("from_name", "to_name", "type", strength=size.fill_null(math.inf))
    return dict(enumerate(rows.iter_rows()))


def _by_start(steps: Mapping[int, tuple[str, str, str, float]]) -> dict[Hashable, list[tuple[Hashable, float, int]]]:
    out: dict[Hashable, list[tuple[Hashable, float, int]]] = defaultdict(list)
    for number, (start, end, _, strength) in steps.items():
        out[start].append((end, strength, number))
    return out
