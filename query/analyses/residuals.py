"""The attention output against the residuals around it, and the prediction's way through the layers: figures 14, 15."""

from __future__ import annotations

import numpy as np

from flowatlas.vocabulary import Kind
from query.analyses.curves import Axes, Measured, lines, parameters
from query.analyses.overlap import as_ids, chance, overlap, partners
from query.analyses.records import Figure
from query.analyses.sample import Sample
from query.analyses.words import percent

Array = np.ndarray


def around_attention(sample: Sample) -> Figure:
    """Figure 15: I_k of the attention output with the residual before and after it, the block's output, and the last attention's."""
    attention = sample.state_ids(Kind.ATTENTION_OUTPUT)
    post, embedding = sample.state_ids(Kind.RESIDUAL_POST), sample.state_ids(Kind.EMBEDDING)
    assert attention is not None
    assert post is not None
    assert embedding is not None
    before = np.concatenate([embedding, post[:, :-1]], axis=1)
    compared = {"residual before it": before, "block output": post}
    for name, kind in (("residual after it", Kind.RESIDUAL_MID), ("MLP output", Kind.MLP_OUTPUT)):
        found = sample.state_ids(kind)
        if found is not None:
            compared[name] = found
    measured = [Measured.of(name, overlap(attention, other, sample.k)) for name, other in compared.items()]
    if sample.layers > 1:
        last = np.full(attention.shape[:2], np.nan)
        last[:, 1:] = overlap(attention[:, 1:], attention[:, :-1], sample.k)
        measured.append(Measured.of("attention output of the layer before", last))
    if sample.size > 1:
        shuffled = before[partners(sample.size, sample.options.seed)]
        measured.append(Measured.of("residual before it, shuffled prompts", overlap(attention, shuffled, sample.k), control=True))
    level = chance(sample.k, int(sample.model["vocab_size"]))
    axes = Axes("layer", range(sample.layers), y_label=f"mean I_{sample.k}", level=("two random draws of tokens", level))
    data, panels = lines(sample, measured, axes)
    means = {one.name: float(one.sums.sum() / one.counts.sum()) for one in measured if not one.control}
    shown = ", ".join(f"{percent(v)} with the {name}" for name, v in sorted(means.items(), key=lambda item: -item[1]))
    notes = sample.subset_note
    if "residual after it" not in compared:
        notes = (*notes, "Attention and MLP of this model read the same residual: there is none between them.")
    return Figure(
        "attention_and_residuals", "The attention output against the residuals around it", "Figure 15",
        f"Over all layers the attention output shares {shown}.", sample.states.resolved.text, parameters(sample),
        sample.size, data, panels, notes,
    )  # fmt: skip


def prediction(sample: Sample) -> Figure:
    """Figure 14: the probability of the final prediction in the residual after each layer, right against wrong answers.

    A store holds the probability of the target everywhere, and those of the ten top tokens: where the
    prediction is neither, its probability lies between 0 and that of the tenth.
    """
    low, high, target = _probabilities(sample)
    measured = [Measured.of("final prediction", low)]
    unknown = float((high - low)[~np.isnan(low)].max())
    if unknown > 0:
        measured.append(Measured.of("final prediction, at most", high, control=True))
    if not sample.correct.all():
        measured.append(Measured.of("target", target))
    axes = Axes("layer", range(-1, sample.layers), "layer (-1: the embedding)", "mean probability")
    data, panels = lines(sample, measured, axes)
    notes = list(sample.subset_note)
    if sample.correct.all():
        notes = ["The model answers every prompt of the selection right: there are no wrong answers to set against them."]
    if unknown > 0:
        notes.append("Where a wrong prediction is not among the ten top tokens of a layer it counts as 0; the dotted line counts it as the tenth.")
    return Figure(
        "prediction_by_layer", "The probability of the final prediction by layer", "Figure 14", _rise(sample, low),
        sample.states.resolved.text, {"prompts": str(sample.selection), "seed": sample.options.seed, "resamples": sample.options.resamples},
        sample.size, data, panels, notes,
    )  # fmt: skip


def _rise(sample: Sample, low: Array) -> str:
    parts = []
    for name, chosen in (("right", sample.correct), ("wrong", ~sample.correct)):
        if chosen.any():
            means = low[chosen].mean(axis=0)
            above = np.flatnonzero(means >= means[-1] / 2)
            first = int(above[0]) - 1
            where = "the embedding" if first < 0 else f"layer {first}"
            parts.append(f"Where the answer is {name} ({int(chosen.sum())} prompts) the prediction's probability reaches half of its final {percent(float(means[-1]))} at {where}")
    return ". ".join(parts) + "."


def _probabilities(sample: Sample) -> tuple[Array, Array, Array]:
    """Least and greatest probability of the prediction, and the target's: (prompts, layers + 1)."""
    table = sample.states.table
    kind, layer = np.asarray(table["kind"].to_pylist()), table["layer"].to_numpy()
    ids, probs = as_ids(table["top_ids"]), as_ids(table["top_probs"]).astype(np.float64)
    prompt = np.searchsorted(sample.prompts["prompt"].to_numpy(), table["prompt"].to_numpy())
    predicted = np.zeros(sample.size, np.int64)
    final = (kind == Kind.RESIDUAL_POST) & (layer == sample.layers - 1)
    predicted[prompt[final]] = ids[final, 0]
    found = ids[:, : probs.shape[1]] == predicted[prompt][:, None]
    known = found.any(axis=1)
    target = table["target_prob"].to_numpy().astype(np.float64)
    low = np.where(known, (probs * found).sum(axis=1), 0.0)
    low = np.where(sample.correct[prompt], target, low)
    high = np.where(known | sample.correct[prompt], low, probs[:, -1])
    shape = (sample.size, sample.layers + 1)
    result = tuple(np.full(shape, np.nan) for _ in range(3))
    on_the_way = (kind == Kind.RESIDUAL_POST) | (kind == Kind.EMBEDDING)
    for filled, values in zip(result, (low, high, target), strict=True):
        filled[prompt[on_the_way], layer[on_the_way] + 1] = values[on_the_way]
    return result[0], result[1], result[2]
