"""Questions and answers on a store: slices, pruning, comparisons, paths, tables. Plain records, no figures."""

from query.graph import Graph
from query.layers import parse_layers
from query.pruning import Mass, Paper, Policy, Pruning, Threshold, Top, parse_policy, prune
from query.slice import slice  # noqa: A004 (the word of the design)

__all__ = [
    "Graph", "Mass", "Paper", "Policy", "Pruning", "Threshold", "Top", "parse_layers", "parse_policy", "prune", "slice",
]  # fmt: skip
