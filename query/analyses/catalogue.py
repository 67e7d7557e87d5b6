"""All analyses by name, and how a report runs them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from flowatlas.errors import FlowatlasError, UsageError, did_you_mean
from query.analyses import effects, graphs, heads, keys, neurons, norms, residuals, values
from query.analyses.records import Figure, Missing
from query.analyses.sample import Sample


@dataclass(frozen=True)
class Analysis:
    """One figure: its name on the command line, its title, the paper's number, and the function."""

    name: str
    title: str
    paper: str
    figure: Callable[[Sample], Figure]


ANALYSES: Final = {
    analysis.name: analysis
    for analysis in (
        Analysis("heads_without_wo", "Heads without W_O against what they feed", "Figure 2a", heads.without_wo),
        Analysis("heads_with_wo", "Heads through W_O against what they feed", "Figure 2b", heads.with_wo),
        Analysis("heads_by_norm", "The heads of largest norm", "Figures 3a, 12a, 13a", heads.by_norm),
        Analysis("top_head", "The head of largest norm against what it feeds", "Figures 3b, 12b, 13b", heads.top_head),
        Analysis("heads_by_norm_rank", "Heads by rank of norm", "all of figure 3a", heads.by_norm_rank),
        Analysis("heads_by_index", "Heads by index", "beside figure 17", heads.by_index),
        Analysis("values_by_attention", "The memory values of most attention against their head", "Figure 5", values.by_attention),
        Analysis("values_by_attention_rank", "Memory values by rank of attention", "all of figure 5", values.by_attention_rank),
        Analysis("values_by_norm_rank", "Memory values by rank of norm", "Figure 16", values.by_norm_rank),
        Analysis("values_by_head", "The best memory value of every head", "Figure 17", values.by_head),
        Analysis("own_token_in_values", "The input token in its memory values", "Figure 18", values.own_token),
        Analysis("keys_and_values", "Keys against the values that they promote", "Figure 19", keys.with_values),
        Analysis("queries_and_keys", "Queries against keys", "Figure 20", keys.with_queries),
        Analysis("attention_and_residuals", "Attention output and residuals", "Figure 15", residuals.around_attention),
        Analysis("prediction_by_layer", "The final prediction by layer", "Figure 14", residuals.prediction),
        Analysis("head_effects", "Direct effect of every head", "Figure 6a", effects.heads),
        Analysis("always_on_neurons", "Always-on neurons: entropy and norm", "Figure 8", neurons.always_on),
        Analysis("neuron_weights", "The weights of always-on neurons", "Figure 9", neurons.weights),
        Analysis("norm_change", "What the first norm does to token probabilities", "Figure 7", norms.change),
        Analysis("attention_norm", "Token probabilities before and after the first norm", "Figure 21, tables 1-3", norms.attention_norm),
        Analysis("mlp_norm", "Token probabilities before and after the second norm", "Figure 22, tables 4-5", norms.mlp_norm),
        Analysis("no_final_norm", "The first norm, without the final norm in the lens", "Figure 23, table 6", norms.no_final_norm),
        Analysis("graph_block", "One layer as a flow graph", "Figures 1, 11", graphs.block),
        Analysis("graph_attention", "The attention of one layer as a flow graph", "Figure 4", graphs.attention),
        Analysis("graph_negative_head", "The layer of the most negative head", "Figure 6b", graphs.negative_head),
    )
}
"""In the order of the report."""


def chosen(names: Sequence[str]) -> list[Analysis]:
    """The analyses of these names (all when there are none), in the order of the report. Raises UsageError."""
    for name in names:
        if name not in ANALYSES:
            raise UsageError(
                f"There is no analysis '{name}'.", known=did_you_mean(name, ANALYSES),
                next_step="`flowatlas analyze --list` lists them all.",
            )  # fmt: skip
    return [analysis for name, analysis in ANALYSES.items() if not names or name in names]


def analyze(sample: Sample, names: Sequence[str] = ()) -> Iterator[Figure | Missing]:
    """The figures of a sample one by one; what the store cannot give is `Missing` and says why.

    Raises UsageError, QueryError before the first figure: an unknown name, an empty selection, a k
    that is not stored.
    """
    wanted = chosen(names)
    _ = sample.model, sample.k
    return _figures(sample, wanted)


def _figures(sample: Sample, wanted: Sequence[Analysis]) -> Iterator[Figure | Missing]:
    for analysis in wanted:
        start = time.perf_counter()
        found: Figure | Missing
        try:
            found = analysis.figure(sample)
        except FlowatlasError as error:
            found = Missing(analysis.name, analysis.title, analysis.paper, str(error))
        yield replace(found, seconds=time.perf_counter() - start)
