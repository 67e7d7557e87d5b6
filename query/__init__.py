# ruff: noqa: TC004 (the names of __all__ are imported when they are first used)
"""Questions and answers on a store: slices, pruning, comparisons, paths, tables. Plain records, no figures.

Each name is imported when it is first used: a named query from the command line needs no data frames.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
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

_MODULES: Final = {
    "compare": ("Comparison", "Overlap", "compare", "difference", "overlap"),
    "export": ("to_cytoscape", "to_dict", "to_graphml", "to_json", "to_networkx"),
    "graph": ("Graph",),
    "layers": ("parse_layers",),
    "paths": ("Path", "paths"),
    "provenance": ("provenance", "verify"),
    "pruning": ("Mass", "Paper", "Policy", "Pruning", "Threshold", "Top", "parse_policy", "prune"),
    "run": ("Result", "run"),
    "slice": ("slice",),
}
_HOME: Final = {name: module for module, names in _MODULES.items() for name in names}


class _Package(ModuleType):
    """The package: a module that is imported does not take the name of its function (`query.run`)."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (isinstance(value, ModuleType) and name in _HOME):
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        value: object = getattr(import_module(f"{self.__name__}.{_HOME[name]}"), name)
        setattr(self, name, value)
        return value


sys.modules[__name__].__class__ = _Package
