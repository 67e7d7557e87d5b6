"""Keys against values and queries, with and without the QK circuit: figures 19 and 20 (appendix D.3)."""

from __future__ import annotations

from typing import Final

import numpy as np

from flowatlas.errors import QueryError
from query.analyses.curves import Axes, Measured, lines, parameters
from query.analyses.overlap import as_ids, as_naive_ids, chance, overlap, partners
from query.analyses.records import Curve, Curves, Figure
from query.analyses.sample import Sample
from query.analyses.words import percent

Array = np.ndarray
RANDOM_VECTORS: Final = 400
_CIRCUIT: Final = "with the QK circuit"
_NAIVE: Final = "without a circuit"
_OTHER: Final = f"{_CIRCUIT}, shuffled prompts"


def with_values(sample: Sample) -> Figure:
    """Figure 19: mean I_k of every key with the value that it promotes (through W_O), the key with and without the QK circuit."""
    return _keys(sample, "keys_and_values", "Keys against the values that they promote", "Figure 19", "values")


def with_queries(sample: Sample) -> Figure:
    """Figure 20: mean I_k of every key with the query that it meets, both with and without the QK circuit."""
    return _keys(sample, "queries_and_keys", "Queries against keys", "Figure 20", "queries")


def _keys(sample: Sample, name: str, title: str, paper: str, other: str) -> Figure:
    shape = sample.size, sample.layers
    found = {line: (np.zeros(shape), np.zeros(shape)) for line in (_CIRCUIT, _NAIVE, _OTHER)}
    text, notes = "", list(sample.subset_note)
    for layer in range(sample.layers):
        text, shared, prompt = _layer(sample, layer, other)
        for line, values in shared.items():
            found[line][0][:, layer] = np.bincount(prompt, values, sample.size)
            found[line][1][:, layer] = np.bincount(prompt, minlength=sample.size)
    if not found[_NAIVE][1].any():
        notes.append("The store has no projections without circuits (the lens `naive`): ingest the prompts with --lens circuit,naive to see the other half of this figure.")
    measured = [Measured(line, *pair, control=line == _OTHER) for line, pair in found.items() if pair[1].any()]
    level = chance(sample.k, int(sample.model["vocab_size"]))
    axes = Axes("layer", range(sample.layers), y_label=f"mean I_{sample.k}", level=("two random draws of tokens", level))
    data, panels = lines(sample, measured, axes)
    panels, baseline = _with_random_vectors(sample, panels)
    means = {one.name: float(one.sums.sum() / one.counts.sum()) for one in measured}
    sentence = f"Keys and {other} share " + ", ".join(f"{percent(v)} of their top tokens {line}" for line, v in means.items() if line != _OTHER)
    sentence += f"; two random draws of tokens share {percent(level)}" + (f", two random vectors through the lens {percent(baseline)}." if baseline is not None else ".")
    if baseline is None:
        notes.append("What two random vectors share through the lens needs the model: give --model.")
    return Figure(name, title, paper, sentence, text, parameters(sample, layer="each in turn"), sample.size, data, panels, notes)


def _layer(sample: Sample, layer: int, other: str) -> tuple[str, dict[str, Array], Array]:
    """I_k of every key of a layer with its partner, by line; and the keys' prompts."""
    keys = sample.ask("tops_of_keys", layer=layer)
    prompt, head = sample.index(keys.table), keys.table["head"].to_numpy()
    ids, shuffled = as_ids(keys.table["top_ids"]), partners(sample.size, sample.options.seed)
    naive = None if keys.table["naive_top_ids"].null_count else as_naive_ids(keys.table["naive_top_ids"])
    shared: dict[str, Array] = {}
    if other == "values":
        values = sample.values(layer)
        source = keys.table["source"].to_numpy()
        if not (np.array_equal(prompt, values.prompt) and np.array_equal(head, values.head) and np.array_equal(source, values.source)):
            raise QueryError("Some prompts lack keys or values, so they cannot be paired.", next_step="Ingest the prompts with --keep full.")
        shared[_CIRCUIT] = overlap(ids, values.ids, sample.k)
        if naive is not None:
            shared[_NAIVE] = overlap(naive, values.ids, sample.k)
        return keys.resolved.text, shared, prompt
    queries = sample.ask("tops_of_queries", layer=layer).table
    width = int(sample.model["n_head"])
    of = as_ids(queries["top_ids"]).reshape(sample.size, width, -1)
    shared[_CIRCUIT] = overlap(ids, of[prompt, head], sample.k)
    if sample.size > 1:
        shared[_OTHER] = overlap(ids, of[shuffled[prompt], head], sample.k)
    if naive is not None:
        bare = as_naive_ids(queries["naive_top_ids"]).reshape(sample.size, width, -1)
        shared[_NAIVE] = overlap(naive, bare[prompt, head], sample.k)
    return keys.resolved.text, shared, prompt


def _with_random_vectors(sample: Sample, panels: list[Curves]) -> tuple[list[Curves], float | None]:
    """The caption's baseline: what two random vectors share through the lens, drawn as a level line of its own."""
    weights = sample.options.weights
    if weights is None:
        return panels, None
    ids = weights.random_ids(2 * RANDOM_VECTORS, sample.options.seed)
    baseline = float(overlap(ids[::2], ids[1::2], sample.k).mean())
    layers = [float(layer) for layer in range(sample.layers)]
    line = Curve("two random vectors through the lens", layers, [baseline] * len(layers), control=True)
    return [Curves(p.title, p.x_label, p.y_label, [*p.curves, line], p.level) for p in panels], baseline
