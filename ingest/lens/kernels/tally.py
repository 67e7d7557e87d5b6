"""Logits to projections in one pass at the speed of the exponentials, tile by tile of the vocabulary.

Import this module only to project: it loads numba. The kernels hold no lock (`nogil`), so threads
share the work; compiled code is cached on disk. Loops stand where numpy has one word for an array:
a word would take numba seconds to compile, which the first ingest would wait for. Logits are never kept: a tile of rows x tokens is
made by BLAS, tallied here while it is in the cache, and overwritten by the next. Where two logits
lie closer than float32 can tell, `settle` decides in float64.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

CANDIDATES = 256  # of a row's top tokens, at a time
NEAR = 32  # tokens too close to the target's logit to be ranked in float32
ROUNDING = np.float32(1.5e-6)  # of a logit: what float32 loses of a vector along its token's (measured: 6e-7)
BLOCKS = 128  # of a tile; each has a maximum
MAX_SHIFT = 60.0  # e**60 is far from float32's greatest number
TOP, FULL = 1, 2  # what of a row is in doubt: the order of its top tokens, everything
FAST = {
    "nogil": True,
    "cache": True,
    "fastmath": {"reassoc", "contract", "nsz", "arcp", "nnan", "ninf"},
    "error_model": "numpy",
}
# Without leave to regroup, which would undo the rounding of `_exp2`.
ROUNDED = {**FAST, "fastmath": {"contract", "nsz", "nnan", "ninf"}}
EXACT = {"nogil": True, "cache": True, "error_model": "numpy"}
_LOG2E = np.float32(1.4426950408889634)


class Tally(NamedTuple):
    """What n rows' tiles have come to so far. Each row may be asked for s tokens (target, foil).

    `low`, `high` bound the logits that cannot be told from the target's (NaN without a target).
    """

    tolerance: np.ndarray  # (n,) float32
    low: np.ndarray  # (n, s) float32
    high: np.ndarray  # (n, s) float32
    above: np.ndarray  # (n, s) int64, logits > high
    n_near: np.ndarray  # (n, s) int64, logits between low and high
    near: np.ndarray  # (n, s, NEAR) int32, their ids
    shift: np.ndarray  # (n,) float32, subtracted before the exponential
    total: np.ndarray  # (n,) float64, sum of 2**y
    weighted: np.ndarray  # (n,) float64, sum of 2**y * y
    floor: np.ndarray  # (n,) float32, no logit below can be among the top
    n_candidates: np.ndarray  # (n,) int64
    values: np.ndarray  # (n, CANDIDATES) float32
    ids: np.ndarray  # (n, CANDIDATES) int32
    doubt: np.ndarray  # (n,) uint8


def new_tally(logits: np.ndarray, tolerance: np.ndarray) -> Tally:
    """An empty tally for rows whose tokens have `logits` (n, s), NaN for none.

    Where vector and token are parallel all partial sums are as great as the logit, and so is their
    rounding: without its share a target's own logit could be counted as greater than the target's.
    """
    n, slots = logits.shape
    margin = tolerance[:, None] + ROUNDING * np.abs(logits)
    return Tally(
        tolerance=tolerance,
        low=(logits - margin).astype(np.float32),
        high=(logits + margin).astype(np.float32),
        above=np.zeros((n, slots), np.int64),
        n_near=np.zeros((n, slots), np.int64),
        near=np.empty((n, slots, NEAR), np.int32),
        shift=np.full(n, np.nan, np.float32),
        total=np.zeros(n),
        weighted=np.zeros(n),
        floor=np.full(n, np.finfo(np.float32).min),
        n_candidates=np.zeros(n, np.int64),
        values=np.empty((n, CANDIDATES), np.float32),
        ids=np.empty((n, CANDIDATES), np.int32),
        doubt=np.zeros(n, np.uint8),
    )


@njit(**ROUNDED)
def _exp2(y):
    """2**y in float32 for y < 127, relative error below 2e-7 (2**-126 from there down).

    Adding 1.5 * 2**23 rounds y to a whole number, which then stands in the sum's last bits.
    """
    y = max(y, np.float32(-126.0))
    shifted = y + np.float32(12582912.0)
    x = y - (shifted - np.float32(12582912.0))
    series = np.float32(1.32764606e-3)
    series = series * x + np.float32(9.67554124e-3)
    series = series * x + np.float32(5.55071331e-2)
    series = series * x + np.float32(2.40221197e-1)
    series = series * x + np.float32(6.93146967e-1)
    series = series * x + np.float32(1.0000001)
    power = np.float32(shifted).view(np.int32) << np.int32(23)
    return np.int32(np.float32(series).view(np.int32) + np.int32(power)).view(np.float32)


@njit(**FAST)
def _greatest(values):
    """The greatest, in eight lanes written out: LLVM does not find the reduction by itself."""
    n = values.size
    if n < 8:
        a = values[0]
        for i in range(n):
            a = max(a, values[i])
        return a
    a, b, c, d = values[0], values[1], values[2], values[3]
    e, f, g, h = values[4], values[5], values[6], values[7]
    for i in range(8, n - 7, 8):
        a, b, c, d = max(a, values[i]), max(b, values[i + 1]), max(c, values[i + 2]), max(d, values[i + 3])
        e, f, g, h = max(e, values[i + 4]), max(f, values[i + 5]), max(g, values[i + 6]), max(h, values[i + 7])
    for i in range(n - n % 8, n):
        a = max(a, values[i])
    return max(max(max(a, b), max(c, d)), max(max(e, f), max(g, h)))


@njit(**FAST)
def _least(values):
    least = values[0]
    for i in range(values.size):
        least = min(least, values[i])
    return least


@njit(**FAST)
def _scan(row, shift, maxima):
    """(sum of 2**y, sum of 2**y * y) with y = log2(e) * (row - shift), and the maxima of blocks.

    maxima[i] = greatest of row[i], row[i + B], row[i + 2B], ... (B interleaved blocks), so that the
    row is read once, strip by strip, and every step is one of vectors.
    """
    total, weighted = 0.0, 0.0
    offset = shift * _LOG2E
    for i in range(maxima.size):
        maxima[i] = row[i]
    for start in range(0, row.size, maxima.size):
        strip = row[start : start + maxima.size]
        mass = np.float32(0.0)
        moment = np.float32(0.0)
        for i in range(strip.size):
            logit = strip[i]
            maxima[i] = max(maxima[i], logit)
            y = logit * _LOG2E - offset
            power = _exp2(y)
            mass += power
            moment += power * y
        total += mass
        weighted += moment
    return total, weighted


@njit(**FAST)
def _maxima(row, maxima):
    for i in range(maxima.size):
        maxima[i] = row[i]
    for start in range(0, row.size, maxima.size):
        strip = row[start : start + maxima.size]
        for i in range(strip.size):
            maxima[i] = max(maxima[i], strip[i])


@njit(**FAST)
def _count(row, low, high):
    """How many logits are > high, and how many lie between. Counts are float32: so LLVM vectorises."""
    above = np.float32(0.0)
    reached = np.float32(0.0)
    for i in range(row.size):
        above += np.float32(1.0) if row[i] > high else np.float32(0.0)
        reached += np.float32(1.0) if row[i] >= low else np.float32(0.0)
    return int(above), int(reached - above)


@njit(**FAST)
def _threshold(values, k, low):
    """A number that at least k of the values reach, and not many more: `low`, which k reach, or greater."""
    high = _greatest(values)
    for _ in range(24):
        middle = np.float32(0.5) * (low + high)
        reached = np.float32(0.0)
        for i in range(values.size):
            reached += np.float32(1.0) if values[i] >= middle else np.float32(0.0)
        if reached >= k:
            low = middle
            if reached <= k + 4:
                break
        else:
            high = middle
    return low


@njit(**FAST)
def _cap(row, bounded_row, cap):
    """bounded_row = cap * tanh(row / cap)."""
    scale = np.float32(-2.0) * _LOG2E / cap
    for i in range(row.size):
        power = _exp2(abs(row[i]) * scale)
        bounded = cap * (np.float32(1.0) - power) / (np.float32(1.0) + power)
        bounded_row[i] = bounded if row[i] >= 0 else -bounded


@njit(**EXACT)
def capped(logit, cap):
    return cap * math.tanh(logit / cap) if cap > 0 else logit


@njit(**EXACT)
def below(logit, tolerance):
    """The least logit that cannot be told from this one."""
    return logit - tolerance - ROUNDING * abs(logit)


@njit(**EXACT)
def compact(values, ids, n, k, floor, tolerance):
    """Drop of n candidates those that cannot be among the top k. Gives how many stay, and the new floor."""
    if n <= k:
        return n, floor
    floor = max(floor, below(_threshold(values[:n], k, _least(values[:n])), tolerance))
    kept = 0
    for i in range(n):
        values[kept], ids[kept] = values[i], ids[i]
        kept += values[i] >= floor
    return kept, floor


@njit(**EXACT)
def _collect(values, ids, n, floor, tolerance, row, maxima, hits, start, k):
    """Add the tile's logits that may be among the top k to the n candidates.

    Gives how many there are now (-1 when more logits are equal than the list can hold) and the floor.
    """
    if n < k < maxima.size:
        floor = max(floor, below(_threshold(maxima, k, _least(maxima)), tolerance))
    most = CANDIDATES - -(-row.size // maxima.size)
    n_hits = 0
    for block in range(maxima.size):  # here and below without branches, which could not be foreseen
        hits[n_hits] = block
        n_hits += maxima[block] >= floor
    for block in hits[:n_hits]:
        if n > most:
            n, floor = compact(values, ids, n, k, floor, tolerance)
            if n > most:
                return -1, floor
        found = n
        for i in range(block, row.size, maxima.size):
            ids[n] = i
            n += row[i] >= floor
        for j in range(found, n):
            values[j] = row[ids[j]]
            ids[j] += start
    if n > CANDIDATES // 2:
        n, floor = compact(values, ids, n, k, floor, tolerance)
    return n, floor


@njit(**EXACT)
def _note(near, n, row, low, high, start):
    """Append the ids of logits between low and high to the n that are there; gives how many there are."""
    for left in range(0, row.size, 128):
        part = row[left : left + 128]
        if _count(part, low, high)[1] == 0:
            continue
        for i in range(part.size):
            if low <= part[i] <= high:
                if n < near.size:
                    near[n] = start + left + i
                n += 1
    return n


@njit(**EXACT)
def _weigh(row, maxima, shift, total, weighted):
    """Add the tile to the sums of the softmax, fill its blocks' maxima; the shift follows a rising peak."""
    if np.isnan(shift):
        shift = _greatest(row[: maxima.size])
    more_total, more_weighted = _scan(row, shift, maxima)
    peak = _greatest(maxima)
    if peak - shift > MAX_SHIFT:
        rise = (np.float64(peak) - np.float64(shift)) * math.log2(math.e)
        weighted = (weighted - rise * total) * 2.0**-rise
        total *= 2.0**-rise
        shift = peak
        more_total, more_weighted = _scan(row, shift, maxima)
    return peak, shift, total + more_total, weighted + more_weighted


@njit(**EXACT)
def tally_tile(tally, logits, start, k, cap):
    """Add a tile to the tally: `logits` (n, w) of the tokens `start` .. `start + w`.

    `k` top ids are wanted; `cap` is the softcap (0: none).
    """
    n, width = logits.shape
    low, high, near = tally.low, tally.high, tally.near
    values, ids, doubt = tally.values, tally.ids, tally.doubt
    maxima = np.empty(min(width, BLOCKS), np.float32)
    hits = np.empty(maxima.size, np.int32)
    bounded = np.empty(width if cap > 0 else 0, np.float32)
    for r in range(n):
        row = logits[r]
        if cap > 0:
            _cap(row, bounded, np.float32(cap))
        peak, shift, total, weighted = _weigh(
            bounded if cap > 0 else row, maxima, tally.shift[r], tally.total[r], tally.weighted[r]
        )
        tally.shift[r], tally.total[r], tally.weighted[r] = shift, total, weighted
        if cap > 0:  # which may make equal what is not
            _maxima(row, maxima)
            peak = _greatest(maxima)
        if peak >= tally.floor[r] and doubt[r] != FULL:
            count, floor = _collect(
                values[r], ids[r], tally.n_candidates[r], tally.floor[r], tally.tolerance[r],
                row, maxima, hits, start, k,
            )  # fmt: skip
            tally.n_candidates[r], tally.floor[r] = count, floor
            if count < 0:
                doubt[r] = FULL
        for slot in range(low.shape[1]):
            if np.isnan(low[r, slot]):
                continue
            above, close = _count(row, low[r, slot], high[r, slot])
            tally.above[r, slot] += above
            if close > 0:
                tally.n_near[r, slot] = _note(
                    near[r, slot], tally.n_near[r, slot], row, low[r, slot], high[r, slot], start
                )
