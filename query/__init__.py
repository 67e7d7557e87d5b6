"""Questions and answers on a store: slices, pruning, comparisons, paths, tables. Plain records, no figures."""

from query.compare import Comparison, Overlap, compare, difference, overlap
from query.export import to_cytoscape, to_dict, to_graphml, to_json, to_networkx
from query.graph import Graph
from query.layers import parse_layers
from query.paths import Path, paths
from query.provenance import provenance, verify
from query.pruning import Mass, Paper, Policy, Pruning, Threshold, Top, parse_policy, prune
from query.run import Result, run
from query.slice import slice  # noqa: A004 (the word of the design)

__all__ = [
    "Comparison", "Graph", "Mass", "Overlap", "Paper", "Path", "Policy", "Pruning", "Result", "Threshold", "Top",
    "compare", "difference", "overlap", "parse_layers", "parse_policy", "paths", "provenance", "prune", "run", "slice",
    "to_cytoscape", "to_dict", "to_graphml", "to_json", "to_networkx", "verify",
]  # fmt: skip
