"""Heads against the vectors that they feed: figures 2, 3, 12 and 13 (sections 3.1 and 3.2)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from flowatlas.vocabulary import Kind
from query.analyses.curves import Axes, Measured, grid, lines, parameters
from query.analyses.overlap import as_naive_ids, chance, overlap, partners
from query.analyses.records import Figure
from query.analyses.sample import Sample
from query.analyses.words import peak, percent, trend

Array = np.ndarray
TOP_HEADS = 3


def with_wo(sample: Sample) -> Figure:
    """Figure 2b: mean I_k of all heads, through their part of W_O, with attention output, block and final output."""
    return _all_heads(sample, sample.heads.ids, "heads_with_wo", "Heads through W_O against what they feed", "Figure 2b")


def without_wo(sample: Sample) -> Figure:
    """Figure 2a: the same, the heads projected as they are, in their slice of a vector of zeros."""
    ids = as_naive_ids(sample.heads.result.table["naive_top_ids"]).reshape(sample.heads.ids.shape)
    return _all_heads(sample, ids, "heads_without_wo", "Heads without W_O against what they feed", "Figure 2a")


def _all_heads(sample: Sample, ids: Array, name: str, title: str, paper: str) -> Figure:
    measured = [
        Measured(line, shared.sum(axis=2), np.full(shared.shape[:2], float(shared.shape[2])), control)
        for line, control, shared in _against(sample, lambda other: overlap(ids, other[:, :, None], sample.k))
    ]
    data, panels = lines(sample, measured, _axes(sample))
    return Figure(
        name, title, paper, _sentence(measured), sample.heads.result.resolved.text, parameters(sample), sample.size,
        data, panels, sample.subset_note,
    )  # fmt: skip


def _axes(sample: Sample) -> Axes:
    level = chance(sample.k, int(sample.model["vocab_size"]))
    return Axes("layer", range(sample.layers), y_label=f"mean I_{sample.k}", level=("two random draws of tokens", level))


def _against(sample: Sample, compared: Callable[[Array], Array]) -> list[tuple[str, bool, Array]]:
    """`compared` with attention output, block and final output, each with its control: those of another prompt."""
    attention, block = sample.state_ids(Kind.ATTENTION_OUTPUT), sample.state_ids(Kind.RESIDUAL_POST)
    assert attention is not None
    assert block is not None
    # LL of the last residual is the model's output; the stored final norm would go through the norm a second time.
    fed = {"attention output": attention, "block output": block, "final output": block[:, -1:]}
    shuffled = partners(sample.size, sample.options.seed)
    found = []
    for line, other in fed.items():
        found.append((line, False, compared(other)))
        if sample.size > 1:
            found.append((f"{line}, shuffled prompts", True, compared(other[shuffled])))
    return found


def _sentence(measured: list[Measured]) -> str:
    means = {one.name: one.sums.sum(axis=0) / one.counts.sum(axis=0) for one in measured}
    first = means["attention output"]
    layer, most = peak(first)
    text = (
        f"Heads share most with their attention output in layer {layer} ({percent(most)} of their top tokens); "
        f"{trend(first)}. With the final output they share at most {percent(float(means['final output'].max()))}."
    )
    control = means.get("attention output, shuffled prompts")
    if control is not None:
        text += f" Against the attention output of another prompt it is {percent(float(control[layer]))} in layer {layer}."
    return text


def by_norm(sample: Sample) -> Figure:
    """Figure 3a: the heads of largest norm against their attention output, by the rank of their norm."""
    own, other = _own_and_other(sample)
    most = min(TOP_HEADS, own.shape[2])
    measured = [Measured.of(f"head of norm rank {rank + 1}", own[:, :, rank]) for rank in range(most)]
    if own.shape[2] > most:
        measured.append(Measured.of("all other heads, mean", own[:, :, most:].mean(axis=2)))
    if other is not None:
        measured.append(Measured.of("norm rank 1, shuffled prompts", other[:, :, 0], control=True))
    data, panels = lines(sample, measured, _axes(sample))
    first, rest = own[:, :, 0].mean(), own[:, :, 1:].mean() if own.shape[2] > 1 else np.nan
    text = f"Over all layers the head of largest norm shares {percent(float(first))} of its top tokens with its attention output"
    text += f", the other heads {percent(float(rest))} on average." if own.shape[2] > 1 else "; a layer has one head only."
    return Figure(
        "heads_by_norm", "The heads of largest norm against their attention output", "Figures 3a, 12a, 13a", text,
        sample.heads.result.resolved.text, parameters(sample, heads=most), sample.size, data, panels, sample.subset_note,
    )  # fmt: skip


def _own_and_other(sample: Sample) -> tuple[Array, Array | None]:
    """I_k (prompts, layers, heads) with the attention output of the prompt and of another one, heads by falling norm."""
    heads, output = sample.heads, sample.state_ids(Kind.ATTENTION_OUTPUT)
    assert output is not None
    order = np.argsort(-heads.norm, axis=2, kind="stable")
    own = np.take_along_axis(overlap(heads.ids, output[:, :, None], sample.k), order, axis=2)
    if sample.size < 2:
        return own, None
    shuffled = output[partners(sample.size, sample.options.seed)]
    return own, np.take_along_axis(overlap(heads.ids, shuffled[:, :, None], sample.k), order, axis=2)


def top_head(sample: Sample) -> Figure:
    """Figure 3b: the head of largest norm against attention output, block output and final output."""
    heads = sample.heads
    first = heads.norm.argmax(axis=2)
    ids = np.take_along_axis(heads.ids, first[:, :, None, None], axis=2)[:, :, 0]
    measured = [
        Measured.of(line, shared, control=control)
        for line, control, shared in _against(sample, lambda other: overlap(ids, other, sample.k))
    ]
    data, panels = lines(sample, measured, _axes(sample))
    return Figure(
        "top_head", "The head of largest norm against what it feeds", "Figures 3b, 12b, 13b",
        _sentence(measured).replace("Heads share", "The head of largest norm shares").replace("their", "its").replace("they share", "it shares"),
        heads.result.resolved.text, parameters(sample), sample.size, data, panels, sample.subset_note,
    )  # fmt: skip


def by_norm_rank(sample: Sample) -> Figure:
    """Every head against its attention output, by the rank of its norm: all of figure 3a."""
    own, _ = _own_and_other(sample)
    ranks = range(1, own.shape[2] + 1)
    data, panels = grid(sample, own, np.ones_like(own), "norm_rank", ranks, "rank of the head's norm in its layer")
    means = own.mean(axis=(0, 1))
    text = f"I_k falls from {percent(float(means[0]))} for the head of largest norm to {percent(float(means[-1]))} for that of the smallest (mean over layers)."
    return Figure(
        "heads_by_norm_rank", "Heads against their attention output, by rank of norm", "all of figure 3a", text,
        sample.heads.result.resolved.text, parameters(sample), sample.size, data, panels, sample.subset_note,
    )  # fmt: skip


def by_index(sample: Sample) -> Figure:
    """Every head against its attention output, by its index: which heads are the dominant ones."""
    output = sample.state_ids(Kind.ATTENTION_OUTPUT)
    assert output is not None
    own = overlap(sample.heads.ids, output[:, :, None], sample.k)
    data, panels = grid(sample, own, np.ones_like(own), "head", range(own.shape[2]), "head")
    means = own.mean(axis=0)
    layer, head = np.unravel_index(int(means.argmax()), means.shape)
    text = f"Head {head} of layer {layer} shares most with its attention output ({percent(float(means.max()))}); half of all heads share less than {percent(float(np.median(means)))}."
    return Figure(
        "heads_by_index", "Heads against their attention output, by index", "beside figure 17", text,
        sample.heads.result.resolved.text, parameters(sample), sample.size, data, panels, sample.subset_note,
    )  # fmt: skip
