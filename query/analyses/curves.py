"""Means over prompts as lines with bands: one panel for all prompts, one for right and one for wrong answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from query.analyses.bootstrap import Banded, banded
from query.analyses.records import Curve, Curves, Heat
from query.analyses.sample import Sample

Array = np.ndarray


@dataclass(frozen=True)
class Measured:
    """Values of one line: sums and counts (prompts, points). `control` marks what chance would give."""

    name: str
    sums: Array
    counts: Array
    control: bool = False

    @classmethod
    def of(cls, name: str, values: Array, *, control: bool = False) -> Measured:
        """From one value a prompt and point; nan where a prompt has none."""
        known = ~np.isnan(values)
        return cls(name, np.where(known, values, 0.0), known.astype(np.float64), control)


@dataclass(frozen=True)
class Axes:
    """What a plot's axes say: `x` names the column of the data, `at` its values."""

    x: str
    at: Sequence[float]
    x_label: str = "layer"
    y_label: str = "mean I_k"
    level: tuple[str, float] | None = None
    data: dict[str, Any] = field(default_factory=dict)


def lines(sample: Sample, measured: Sequence[Measured], axes: Axes) -> tuple[pl.DataFrame, list[Curves]]:
    """The data (subset, line, x, mean, low, high, prompts, values) and one panel a subset of the prompts."""
    frames, panels = [], []
    for subset, chosen in sample.subsets.items():
        drawn = []
        for one in measured:
            found = _banded(sample, one, chosen)
            frames.append(_rows(subset, one, axes, found, one.counts[chosen]))
            known = found.count > 0
            x, y, low, high = (np.asarray(v, np.float64)[known].tolist() for v in (axes.at, found.mean, found.low, found.high))
            drawn.append(Curve(one.name, x, y, low, high, one.control))
        title = f"{subset} ({int(chosen.sum())})"
        panels.append(Curves(title, axes.x_label, axes.y_label, drawn, axes.level))
    return pl.concat(frames), panels


def _banded(sample: Sample, one: Measured, chosen: Array) -> Banded:
    options = sample.options
    return banded(one.sums[chosen], one.counts[chosen], seed=options.seed, resamples=options.resamples)


def _rows(subset: str, one: Measured, axes: Axes, found: Banded, counts: Array) -> pl.DataFrame:
    size = len(found.mean)
    frame = pl.DataFrame(
        {
            "subset": [subset] * size, "line": [one.name] * size, axes.x: list(axes.at), "mean": found.mean,
            "low": found.low, "high": found.high, "prompts": (counts > 0).sum(axis=0),
            "values": found.count.astype(np.int64),
        }
    )  # fmt: skip
    return frame.filter(pl.col("values") > 0)


def grid(
    sample: Sample, sums: Array, counts: Array, columns: str, at: Sequence[int], x_label: str, z_label: str = "mean I_k"
) -> tuple[pl.DataFrame, list[Heat]]:
    """Means over a grid: sums and counts (prompts, layers, columns) to data and one panel a subset of the prompts."""
    flat = Measured("", sums.reshape(len(sums), -1), counts.reshape(len(counts), -1))
    layers, width = sums.shape[1:]
    frames, means = [], {}
    for subset, chosen in sample.subsets.items():
        found = _banded(sample, flat, chosen)
        means[subset] = found.mean.reshape(layers, width)
        frames.append(
            pl.DataFrame(
                {
                    "subset": [subset] * layers * width, "layer": np.repeat(np.arange(layers), width),
                    columns: np.tile(np.asarray(at), layers), "mean": found.mean, "low": found.low, "high": found.high,
                    "prompts": (flat.counts[chosen] > 0).sum(axis=0), "values": found.count.astype(np.int64),
                }
            ).filter(pl.col("values") > 0)
        )  # fmt: skip
    top = float(np.nanmax([np.nanmax(z) for z in means.values()]))
    panels = [
        Heat(f"{subset} ({int(sample.subsets[subset].sum())})", x_label, "layer", z, z_label, top=top)
        for subset, z in means.items()
    ]
    return pl.concat(frames), panels


def summed(values: Array, prompt: Array, point: Array, prompts: int, points: int) -> tuple[Array, Array]:
    """Rows of values as sums and counts (prompts, points)."""
    at = prompt * points + point
    sums = np.bincount(at, values, prompts * points).reshape(prompts, points)
    counts = np.bincount(at, minlength=prompts * points).reshape(prompts, points).astype(np.float64)
    return sums, counts


def parameters(sample: Sample, **more: object) -> Mapping[str, object]:
    """What every figure of overlaps depends on, and `more`."""
    options = sample.options
    return {"prompts": str(sample.selection), "k": sample.k, **more, "seed": options.seed, "resamples": options.resamples}
