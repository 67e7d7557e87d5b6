"""Memory values against the head that sums them: figures 5, 16 and 17 (section 3.3, appendix D.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from query.analyses.curves import Axes, Measured, grid, lines, parameters, summed
from query.analyses.overlap import chance, overlap, partners
from query.analyses.records import Figure
from query.analyses.sample import Sample, Values
from query.analyses.words import peak, percent, trend

Array = np.ndarray
TOP_VALUES: Final = 3
MOST_RANKS: Final = 64
"""Figure 16 draws so many ranks: prompts may be much longer than its fourteen tokens."""


@dataclass(frozen=True)
class Compared:
    """Memory values of one layer, one row each, compared with their head: `own` and, of another prompt, `other`."""

    prompt: Array
    head: Array
    rank: Array
    norm_rank: Array
    source_prob: Array
    own: Array
    other: Array
    text: str


def _layers(sample: Sample, most: int | None) -> list[Compared]:
    """Layer by layer the values of each head, or its best `most` by attention (at least those: all, where they are known)."""
    for known in (None, most):
        if ("values", known) in sample.memo:
            found: list[Compared] = sample.memo["values", known]
            return found
    sample.memo["values", most] = [_compared(sample, sample.values(layer, most), layer) for layer in range(sample.layers)]
    return _layers(sample, most)


def _compared(sample: Sample, values: Values, layer: int) -> Compared:
    heads = sample.heads.ids
    shuffled = partners(sample.size, sample.options.seed)
    own = overlap(values.ids, heads[values.prompt, layer, values.head], sample.k)
    first = values.rank == 1
    other = np.full(len(own), np.nan)
    other[first] = overlap(values.ids[first], heads[shuffled[values.prompt[first]], layer, values.head[first]], sample.k)
    return Compared(
        values.prompt, values.head, values.rank, values.norm_rank, values.source_prob, own, other, values.result.resolved.text
    )


def by_attention(sample: Sample) -> Figure:
    """Figure 5: the memory values of most attention against their head, by the rank of their attention."""
    size = sample.size, sample.layers
    sums = {rank: (np.zeros(size), np.zeros(size)) for rank in range(1, TOP_VALUES + 1)}
    control = np.zeros(size), np.zeros(size)
    compared = _layers(sample, TOP_VALUES)
    for layer, values in enumerate(compared):
        for rank, (total, count) in sums.items():
            here = values.rank == rank
            total[:, layer], count[:, layer] = _by_prompt(values.own[here], values.prompt[here], sample.size)
        here = values.rank == 1
        control[0][:, layer], control[1][:, layer] = _by_prompt(values.other[here], values.prompt[here], sample.size)
    measured = [Measured(f"value of attention rank {rank}", *pair) for rank, pair in sums.items() if pair[1].any()]
    if sample.size > 1:
        measured.append(Measured("attention rank 1, shuffled prompts", *control, control=True))
    data, panels = lines(sample, measured, _axes(sample))
    first = sums[1][0].sum(axis=0) / sums[1][1].sum(axis=0)
    layer, most = peak(first)
    sentence = (
        f"The memory value of most attention shares most with its head in layer {layer} ({percent(most)} of its top tokens); "
        f"{trend(first)}. Over all layers it shares {_mean(sums[1])}, the second {_mean(sums[2])}, the third {_mean(sums[3])}."
    )
    return Figure(
        "values_by_attention", "The memory values of most attention against their head", "Figure 5", sentence, compared[0].text,
        parameters(sample, values=TOP_VALUES, layer="each in turn"), sample.size, data, panels, sample.subset_note,
    )  # fmt: skip


def _mean(pair: tuple[Array, Array]) -> str:
    return percent(float(pair[0].sum() / pair[1].sum())) if pair[1].any() else "no value"


def _by_prompt(values: Array, prompt: Array, prompts: int) -> tuple[Array, Array]:
    return np.bincount(prompt, values, prompts), np.bincount(prompt, minlength=prompts).astype(np.float64)


def _axes(sample: Sample) -> Axes:
    level = chance(sample.k, int(sample.model["vocab_size"]))
    return Axes("layer", range(sample.layers), y_label=f"mean I_{sample.k}", level=("two random draws of tokens", level))


def by_norm_rank(sample: Sample) -> Figure:
    """Figure 16: all memory values against their head, by the rank of the norm of what they add to it."""
    return _all_ranks(sample, "norm")


def by_attention_rank(sample: Sample) -> Figure:
    """All memory values against their head, by the rank of their attention: all of figure 5."""
    return _all_ranks(sample, "attention")


def _all_ranks(sample: Sample, by: str) -> Figure:
    compared = _layers(sample, None)
    by_layer = [(v.rank if by == "attention" else v.norm_rank).astype(np.int64) for v in compared]
    longest = max(int(places.max()) for places in by_layer)
    ranks = min(longest, MOST_RANKS)
    sums, counts = np.zeros((sample.size, sample.layers, ranks)), np.zeros((sample.size, sample.layers, ranks))
    for layer, (values, places) in enumerate(zip(compared, by_layer, strict=True)):
        here = places <= ranks
        sums[:, layer], counts[:, layer] = summed(values.own[here], values.prompt[here], places[here] - 1, sample.size, ranks)
    data, panels = grid(sample, sums, counts, f"{by}_rank", range(1, ranks + 1), f"rank of the value by {by}")
    with np.errstate(invalid="ignore"):
        means = sums.sum(axis=(0, 1)) / counts.sum(axis=(0, 1))
    sentence = f"Values of {by} rank 1 share {percent(float(means[0]))} of their top tokens with their head"
    sentence += f", those of rank {min(4, ranks)} {percent(float(means[min(4, ranks) - 1]))}, those of the last rank shown ({ranks}) {percent(float(means[-1]))}." if ranks > 1 else "; no head has another one."
    notes = (*sample.subset_note, *((f"Ranks beyond {ranks} are not drawn (the longest prompt has {longest}).",) if longest > ranks else ()))
    paper = "Figure 16" if by == "norm" else "all of figure 5"
    return Figure(
        f"values_by_{by}_rank", f"Memory values against their head, by rank of {by}", paper, sentence, compared[0].text,
        parameters(sample, layer="each in turn"), sample.size, data, panels, notes,
    )  # fmt: skip


def by_head(sample: Sample) -> Figure:
    """Figure 17: the memory value of most attention against its head, by the head's index."""
    shape = (sample.size, sample.layers, sample.heads.ids.shape[2])
    sums, counts = np.zeros(shape), np.zeros(shape)
    compared = _layers(sample, 1)
    for layer, values in enumerate(compared):
        first = values.rank == 1
        heads = values.head[first].astype(np.int64)
        sums[:, layer], counts[:, layer] = summed(values.own[first], values.prompt[first], heads, sample.size, shape[2])
    data, panels = grid(sample, sums, counts, "head", range(shape[2]), "head")
    means = sums.sum(axis=0) / counts.sum(axis=0)
    spread = means.std(axis=1).mean()
    best = np.unravel_index(int(means.argmax()), means.shape)
    sentence = (
        f"Head {best[1]} of layer {best[0]} shares most with its best memory value ({percent(float(means.max()))}), the median head "
        f"{percent(float(np.median(means)))}; within a layer heads differ by {percent(float(spread))} (mean standard deviation)."
    )
    return Figure(
        "values_by_head", "The memory value of most attention against its head, by head", "Figure 17", sentence, compared[0].text,
        parameters(sample, values=1, layer="each in turn"), sample.size, data, panels, sample.subset_note,
    )  # fmt: skip


def own_token(sample: Sample) -> Figure:
    """Figure 18: the probability of the input token in the memory values that it created, by layer."""
    shape = sample.size, sample.layers
    sums, counts, control = np.zeros(shape), np.zeros(shape), 1 / int(sample.model["vocab_size"])
    compared = _layers(sample, None)
    for layer, values in enumerate(compared):
        sums[:, layer], counts[:, layer] = _by_prompt(values.source_prob, values.prompt, sample.size)
    axes = Axes("layer", range(sample.layers), y_label="mean probability", level=("chance: 1 / vocabulary", control))
    data, panels = lines(sample, [Measured("input token in its memory values", sums, counts)], axes)
    means = sums.sum(axis=0) / counts.sum(axis=0)
    layer, most = peak(means)
    sentence = (
        f"An input token has most probability in the memory values that it creates in layer {layer} ({percent(most)}, "
        f"{most / control:.0f} times chance); {trend(means)}."
    )
    return Figure(
        "own_token_in_values", "The input token in the memory values that it creates", "Figure 18", sentence, compared[0].text,
        {"prompts": str(sample.selection), "layer": "each in turn", "seed": sample.options.seed, "resamples": sample.options.resamples},
        sample.size, data, panels, sample.subset_note,
    )  # fmt: skip
