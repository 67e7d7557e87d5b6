"""Means over prompts with 95 % bands by the bootstrap: prompts are drawn again, with replacement."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

Array = np.ndarray
LEVEL = 0.95


@dataclass(frozen=True)
class Banded:
    """Means and their bands, one a point; `count` is how many values each is the mean of (nan where none)."""

    mean: Array
    low: Array
    high: Array
    count: Array


@lru_cache(maxsize=8)
def _weights(prompts: int, resamples: int, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(prompts, np.full(prompts, 1 / prompts), size=resamples)
    return drawn.astype(np.float64)


def banded(sums: Array, counts: Array, *, seed: int, resamples: int) -> Banded:
    """The mean of all values at every point, and the band over `resamples` draws of the prompts.

    `sums` and `counts` (prompts, points) hold the sum and number of each prompt's values at each point.
    A point where no drawn prompt has a value counts in no draw. One prompt has a band of no width.
    """
    total, number = sums.sum(axis=0), counts.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / number
        weights = _weights(len(sums), resamples, seed)
        draws = (weights @ sums) / (weights @ counts)
    low, high = np.full(mean.shape, np.nan), np.full(mean.shape, np.nan)
    known = number > 0
    if known.any():
        edges = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
        low[known], high[known] = np.nanquantile(draws[:, known], edges, axis=0)
    return Banded(mean, low, high, number)
