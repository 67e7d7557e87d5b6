"""Neurons that are always among the most activated, beside the others: figures 8 and 9 (section 5.3)."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import polars as pl

from flowatlas.errors import QueryError
from query.analyses.bootstrap import banded
from query.analyses.records import Cloud, Curve, Curves, Figure, Points, Words
from query.analyses.sample import Sample
from query.run import Result

Array = np.ndarray
RANK_SHARE: Final = 100 / 4096
"""The paper counts a neuron as on when it is among the 100 most activated of 4,096."""
SHARE: Final = 0.85
_MANY: Final = 100_000
_OFTEN: Final = 5


def rank_of(neurons: int) -> int:
    """How many most activated neurons of a layer count as on: 100 of 4,096, at least one."""
    return max(1, round(RANK_SHARE * neurons))


def _always(sample: Sample, rank: int) -> tuple[Result, pl.DataFrame, bool]:
    """Always-on neurons; where there are none, the few that are on most often, and False."""
    found = sample.ask("always_on_neurons", rank=rank, share=SHARE, limit=_MANY)
    if not found.frame.is_empty():
        return found, found.frame, True
    found = sample.ask("always_on_neurons", rank=rank, share=0.0, limit=_MANY)
    often = found.frame.sort("share", "layer", "neuron", descending=[True, False, False]).head(_OFTEN)
    if often.is_empty():
        raise QueryError(f"No MLP neuron among the {rank} most activated of its layer is stored.", next_step="Ingest with --keep full.")
    return found, often, False


def always_on(sample: Sample) -> Figure:
    """Figure 8: entropy and norm of always-on neurons beside their matrix' mean and the most activated neurons."""
    by_layer = sample.ask("neurons_by_layer").frame
    rank = rank_of(int(by_layer["neurons"].max()))  # type: ignore[arg-type]
    found, on, always = _always(sample, rank)
    name = "always on" if always else "most often on"
    active = sample.ask("most_activated_neurons", rank=rank).frame
    data = pl.concat(
        [_group("mean of the matrix", by_layer.select("layer", entropy="mean_entropy", norm="mean_norm")),
         _most_activated(sample, active, rank), _group(name, on.select("layer", "neuron", "share", "entropy", "norm"))],
        how="diagonal_relaxed",
    )  # fmt: skip
    panels: list[Points | Words] = [
        _panel(data, "entropy", "entropy of the projection (bits)"), _panel(data, "norm", "norm of the row"),
        Words(f"Neurons {name}", ("layer", "neuron", "share", "entropy", "norm", "top tokens"), [_row(r) for r in on.head(24).to_dicts()]),
    ]  # fmt: skip
    parameters = {"prompts": str(sample.selection), "rank": rank, "share": SHARE, "seed": sample.options.seed, "resamples": sample.options.resamples}
    notes = (f"On: among the {rank} largest absolute coefficients of its layer (the paper: 100 of 4,096) in at least {SHARE:.0%} of the prompts.", *found.notes)
    return Figure(
        "always_on_neurons", "Always-on neurons: entropy and norm", "Figure 8", _sentence(on, always), found.resolved.text,
        parameters, sample.size, data, panels, notes,
    )  # fmt: skip


def _row(neuron: dict[str, Any]) -> tuple[str, ...]:
    tokens = " ".join(token.strip() for token in neuron["top_tokens"][:6])
    return (str(neuron["layer"]), str(neuron["neuron"]), f"{neuron['share']:.2f}", f"{neuron['entropy']:.2f}", f"{neuron['norm']:.2f}", tokens)


def _sentence(on: pl.DataFrame, always: bool) -> str:
    layers = on["layer"].unique().sort().to_list()
    norm = float((on["norm"] / on["layer_norm"]).mean())  # type: ignore[arg-type]
    entropy = float((on["entropy"] - on["layer_entropy"]).mean())  # type: ignore[arg-type]
    where = f"in layers {', '.join(map(str, layers))}" if len(layers) > 1 else f"in layer {layers[0]}"
    text = f"{len(on)} neurons {where} are always on." if always else (
        f"No neuron is always on; that on most often is neuron {on['neuron'][0]} of layer {on['layer'][0]}, in {on['share'][0]:.0%} of the prompts. "
        f"Of the {len(on)} most often on:"
    )  # fmt: skip
    verb, their = ("higher" if entropy > 0 else "lower"), ("Their" if always else "their")
    return f"{text} {their} norm is {norm:.2f} times the mean of their matrix, the entropy of their projection {abs(entropy):.2f} bits {verb} than its mean."


def _group(name: str, rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(pl.lit(name).alias("group"), pl.all())


def _most_activated(sample: Sample, active: pl.DataFrame, rank: int) -> pl.DataFrame:
    """Means and bands over prompts by layer."""
    layers = active["layer"].unique().sort().to_numpy()
    ids = sample.prompts["prompt"].to_numpy()
    at = np.searchsorted(ids, active["prompt"].to_numpy()), np.searchsorted(layers, active["layer"].to_numpy())
    columns: dict[str, Array] = {}
    for name in ("entropy", "norm"):
        values, counts = np.zeros((len(ids), len(layers))), np.zeros((len(ids), len(layers)))
        values[at], counts[at] = active[f"mean_{name}"].to_numpy(), 1.0
        found = banded(values, counts, seed=sample.options.seed, resamples=sample.options.resamples)
        columns |= {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}
    return _group(f"the {rank} most activated", pl.DataFrame({"layer": layers, **columns}))


def _panel(data: pl.DataFrame, column: str, label: str) -> Points:
    clouds = []
    for name in data["group"].unique(maintain_order=True):
        rows = data.filter(pl.col("group") == name)
        texts = [str(n) for n in rows["neuron"].to_list()] if name in ("always on", "most often on") and len(rows) <= 12 else []
        clouds.append(Cloud(str(name), rows["layer"].to_list(), rows[column].to_list(), texts))
    return Points(column, "layer", label, clouds)


def weights(sample: Sample) -> Figure:
    """Figure 9: every entry of always-on neurons of the last such layer, the mean neuron, and two drawn at random."""
    source = sample.options.weights
    if source is None:
        raise QueryError("A store holds no weights.", next_step="Give the model that the prompts were ingested with: --model demo, or its name or folder.")
    by_layer = sample.ask("neurons_by_layer").frame
    rank = rank_of(int(by_layer["neurons"].max()))  # type: ignore[arg-type]
    found, on, always = _always(sample, rank)
    word = "always-on neuron" if always else "often-on neuron"
    layer = int(on["layer"].max())  # type: ignore[arg-type]
    chosen = on.filter(pl.col("layer") == layer).sort("share", descending=True)["neuron"].to_list()[:3]
    width = int(by_layer.filter(pl.col("layer") == layer)["neurons"][0])
    others = [n for n in np.random.default_rng(sample.options.seed).permutation(width).tolist() if n not in chosen][:2]
    rows = source.rows(layer, [*chosen, *others])
    names = [*(f"{word} {n}" for n in chosen), *(f"neuron {n}, drawn at random" for n in others)]
    vectors = dict(zip(names, rows, strict=True)) | {"mean neuron": source.mean(layer)}
    dimension = np.arange(rows.shape[1])
    data = pl.concat([pl.DataFrame({"line": [name] * len(v), "dimension": dimension, "weight": v.astype(np.float64)}) for name, v in vectors.items()])
    curves = [Curve(name, dimension.tolist(), v.tolist(), control=name not in names[: len(chosen)]) for name, v in vectors.items()]
    largest = ", ".join(str(int(d)) for d in np.argsort(-np.abs(rows[0]))[:3])
    sentence = f"The largest entries of {word} {chosen[0]} of layer {layer} are at dimensions {largest}"
    plain = float(np.abs(rows[len(chosen) :]).max()) if others else 0.0
    if plain > 0:
        sentence += f"; the largest entry of {word}s is {float(np.abs(rows[: len(chosen)]).max()) / plain:.1f} times that of two neurons drawn at random"
    sentence += "."
    parameters = {"prompts": str(sample.selection), "layer": layer, "rank": rank, "share": SHARE, "seed": sample.options.seed}
    return Figure(
        "neuron_weights", "The weights of always-on neurons", "Figure 9", sentence, found.resolved.text, parameters,
        sample.size, data, [Curves("", "dimension of the residual", "weight", curves)], ("The weights are read from the model's files.",),
    )  # fmt: skip
