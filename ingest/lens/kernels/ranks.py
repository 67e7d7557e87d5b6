"""The ranks of many tokens in each row of logits, in one pass whatever their number.

Each of T tokens has a window, its logit plus or minus the row's tolerance. The 2T ends of the
windows, sorted, cut the line into 2T + 1 segments; every logit of the vocabulary is counted in its
segment (found by a table, then a step or two). Logits inside a window are noted and decided in
float64, as everywhere in the lens.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from ingest.lens.kernels.settle import dot, exact_logits
from ingest.lens.kernels.tally import EXACT, FAST, ROUNDING

CELLS = 1024
SPARE = 256  # logits inside windows, beside the tokens' own, before a row is done wholly in float64


class Windows(NamedTuple):
    """Windows of n rows and what has been counted. Side by side: 2T ends, 2T + 1 segments."""

    ends: np.ndarray  # (n, 2T) float32, ascending
    place_low: np.ndarray  # (n, T) int32, where each token's low end stands among them
    place_high: np.ndarray  # (n, T) int32
    cover: np.ndarray  # (n, 2T + 1) int32, how many windows a segment lies in
    cells: np.ndarray  # (n, CELLS) int32, the first end in a cell or after it
    scale: np.ndarray  # (n,) float32, cells per logit
    counts: np.ndarray  # (n, 2T + 1) int64
    near: np.ndarray  # (n, T + SPARE) int32, tokens inside windows
    segment: np.ndarray  # (n, T + SPARE) int32, where
    n_near: np.ndarray  # (n,) int64


def new_windows(logits: np.ndarray, tolerance: np.ndarray) -> Windows:
    """Windows of `tolerance` (n,) around `logits` (n, T), nothing counted yet."""
    n, tokens = logits.shape
    margin = tolerance[:, None] + ROUNDING * np.abs(logits)
    # A window holds its low end and not its high end, and is never empty.
    high = np.nextafter((logits + margin).astype(np.float32), np.float32(np.inf))
    ends = np.concatenate([(logits - margin).astype(np.float32), high], axis=1)
    order = np.argsort(ends, axis=1, kind="stable")
    place = np.empty((n, 2 * tokens), np.int32)
    np.put_along_axis(place, order, np.arange(2 * tokens, dtype=np.int32)[None], axis=1)
    ends = np.take_along_axis(ends, order, axis=1)
    cover = np.zeros((n, 2 * tokens + 1), np.int32)
    np.cumsum(np.where(order < tokens, 1, -1), axis=1, out=cover[:, 1:])
    span = np.maximum(ends[:, -1] - ends[:, 0], np.float32(1e-30))
    windows = Windows(
        ends=ends,
        place_low=place[:, :tokens].copy(),
        place_high=place[:, tokens:].copy(),
        cover=cover,
        cells=np.empty((n, CELLS), np.int32),
        scale=(np.float32(CELLS) / span).astype(np.float32),
        counts=np.zeros((n, 2 * tokens + 1), np.int64),
        near=np.empty((n, tokens + SPARE), np.int32),
        segment=np.empty((n, tokens + SPARE), np.int32),
        n_near=np.zeros(n, np.int64),
    )
    _fill_cells(windows.ends, windows.scale, windows.cells)
    return windows


@njit(**FAST)
def _cells_of(row, first, scale, cells):
    """The cell of every logit; monotonic in the logit, so that no end is passed over."""
    for i in range(row.size):
        cells[i] = np.int32(min(max((row[i] - first) * scale, np.float32(0.0)), np.float32(CELLS - 1)))


@njit(**EXACT)
def _fill_cells(ends, scale, table):
    where = np.empty(ends.shape[1], np.int32)
    for r in range(ends.shape[0]):
        _cells_of(ends[r], ends[r, 0], scale[r], where)
        place = 0
        for cell in range(CELLS):
            while place < where.size and where[place] < cell:
                place += 1
            table[r, cell] = place


@njit(**EXACT)
def _count_row(row, ends, scale, table, cover, cells, counts, near, segment, n_near, start):
    """Count a row's tile; gives how many logits were inside windows so far."""
    _cells_of(row, ends[0], scale, cells)
    for i in range(row.size):
        place = table[cells[i]]
        while place < ends.size and ends[place] <= row[i]:
            place += 1
        counts[place] += 1
        if cover[place] > 0:
            if n_near < near.size:
                near[n_near], segment[n_near] = start + i, place
            n_near += 1
    return n_near


@njit(**EXACT)
def count_tile(windows, logits, start):
    """Count a tile of `logits` (n, w) of the tokens `start` .. `start + w`."""
    ends, scale, table, cover = windows.ends, windows.scale, windows.cells, windows.cover
    counts, near, segment, n_near = windows.counts, windows.near, windows.segment, windows.n_near
    cells = np.empty(logits.shape[1], np.int32)
    for r in range(logits.shape[0]):
        n_near[r] = _count_row(
            logits[r], ends[r], scale[r], table[r], cover[r], cells, counts[r], near[r], segment[r], n_near[r], start
        )


def _whole_row(exact: np.ndarray, vectors: np.ndarray, bias: np.ndarray, tokens: np.ndarray, ranks: np.ndarray) -> None:
    logits = np.empty(bias.size)
    exact_logits(exact, vectors, bias, logits)
    ascending = np.sort(logits)
    ranks[:] = 1 + ascending.size - np.searchsorted(ascending, logits[tokens], side="right")


@njit(**EXACT)
def _settle_close(windows, exact, vectors, bias, tokens, ranks):
    logits = np.empty(windows.near.shape[1])  # of the near tokens, where needed
    reached = np.empty(windows.counts.shape[1] + 1, np.int64)  # logits at or above each segment
    for r in range(ranks.shape[0]):
        n = windows.n_near[r]
        if n > windows.near.shape[1]:
            continue
        near, segment = windows.near[r], windows.segment[r]
        for i in range(n):
            logits[i] = np.nan
        reached[windows.counts.shape[1]] = 0
        for place in range(windows.counts.shape[1] - 1, -1, -1):
            reached[place] = reached[place + 1] + windows.counts[r, place]
        for t in range(tokens.size):
            low, high = windows.place_low[r, t], windows.place_high[r, t]
            above = reached[high + 1]
            ranks[r, t] = 1 + above
            if reached[low + 1] - above <= 1:
                continue
            own = dot(exact[r], vectors[tokens[t]]) + bias[tokens[t]]
            for i in range(n):
                if low < segment[i] <= high:
                    if np.isnan(logits[i]):
                        logits[i] = dot(exact[r], vectors[near[i]]) + bias[near[i]]
                    ranks[r, t] += logits[i] > own


def settle_ranks(
    windows: Windows,
    exact: np.ndarray,
    vectors: np.ndarray,
    bias: np.ndarray,
    tokens: np.ndarray,
    ranks: np.ndarray,
) -> None:
    """Turn counts into `ranks` (n, T); close calls by `exact` (n, d) @ `vectors` (V, d).T + `bias` (V,)."""
    _settle_close(windows, exact, vectors, bias, tokens, ranks)
    for r in np.flatnonzero(windows.n_near > windows.near.shape[1]):
        _whole_row(exact[r], vectors, bias, tokens, ranks[r])
