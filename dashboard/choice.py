"""What the page shows of a slice: the pruning of appendix A.5 with the page's sliders."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import polars as pl

from dashboard.view import GraphView
from query.pruning import Measure

MEASURE: Final[dict[str, Measure]] = {"coefficient": "score", "norm": "norm", "contribution": "contribution"}
EXPANDED: Final = 40
"""How many inputs an expanded node shows."""

SUMMARY: Final = GraphView(positive=5, negative=2, memories=0)


@dataclass(frozen=True)
class Choice:
    """A pruning policy: neurons by sign, memories by attention, heads by norm or contribution."""

    view: GraphView
    expanded: frozenset[int] = field(default_factory=frozenset)
    also: frozenset[int] = field(default_factory=frozenset)
    """Neurons and memory values that stay whatever their place."""
    by: Measure = "score"

    def keep(self) -> pl.Expr:
        """Which inputs stay (see `query.pruning`)."""
        view = self.view
        positive = pl.col("score") >= 0
        strength = pl.col(MEASURE[view.score]).abs()
        place = strength.rank("ordinal", descending=True).over("to", positive)
        neuron = pl.when(positive).then(place <= view.positive).otherwise(place <= view.negative)
        memory = pl.col("score").rank("ordinal", descending=True).over("to") <= view.memories
        head = pl.lit(True)
        if view.heads != "all":
            head = pl.col(MEASURE[view.heads]).abs().rank("ordinal", descending=True).over("to") <= view.head_count
        part = pl.col("part")
        chosen = pl.when(part == "neurons").then(neuron).when(part == "memories").then(memory).otherwise(head)
        if self.also:
            chosen = chosen | pl.col("from").is_in(list(self.also))
        if not self.expanded:
            return chosen
        more = pl.col("score").abs().rank("ordinal", descending=True).over("to") <= EXPANDED
        return chosen | (pl.col("to").is_in(list(self.expanded)) & more)
