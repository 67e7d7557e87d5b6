"""One pass over a row of logits: entropy, ranks and top tokens, at the speed of the exponentials.

Import this module only to project: it loads numba. The kernels hold no lock (`nogil`), so threads
share the work; compiled code is cached on disk. Ranks and top ids come out provisional: where two
logits lie closer than the row's tolerance the row is flagged, and `settle` decides in float64.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

# Counters and sums are float32 within a segment and slices start at 0: LLVM vectorises only so.
SEGMENT = 2048
MAX_CANDIDATES = 256
TARGET, FOIL, TOP = 1, 2, 4
_FAST = {"nogil": True, "cache": True, "fastmath": {"reassoc", "contract", "nsz", "arcp"}, "error_model": "numpy"}
_EXACT = {"nogil": True, "cache": True, "error_model": "numpy"}
_LOG2E = np.float32(1.4426950408889634)


def block_count(vocabulary: int, k: int) -> int:
    """Blocks into which a row is cut to find its top k: at least k, about 64 tokens each."""
    blocks = max(-(-vocabulary // 64), 4 * k)
    return min(vocabulary, -(-blocks // 16) * 16)


@njit(**_FAST)
def _exp2(y):
    """2**y for y <= 0 in float32, relative error below 2e-7 (0 below 2**-126)."""
    y = max(y, np.float32(-126.0))
    whole = np.floor(y + np.float32(0.5))
    x = y - whole
    series = np.float32(1.5403530e-4)
    series = series * x + np.float32(1.3333558e-3)
    series = series * x + np.float32(9.6181291e-3)
    series = series * x + np.float32(5.5504109e-2)
    series = series * x + np.float32(2.4022651e-1)
    series = series * x + np.float32(6.9314718e-1)
    series = series * x + np.float32(1.0)
    return series * np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)).view(np.float32)


@njit(**_FAST)
def _sums(row, peak):
    """(sum of 2**y, sum of 2**y * y) with y = log2(e) * (row - peak)."""
    total, weighted = 0.0, 0.0
    for start in range(0, row.size, SEGMENT):
        segment = row[start : start + SEGMENT]
        mass = np.float32(0.0)
        moment = np.float32(0.0)
        for i in range(segment.size):
            y = (segment[i] - peak) * _LOG2E
            power = _exp2(y)
            mass += power
            moment += power * y
        total += mass
        weighted += moment
    return total, weighted


@njit(**_FAST)
def _count(row, low, high):
    """How many logits are > high, and how many >= low."""
    above, within = 0, 0
    for start in range(0, row.size, SEGMENT):
        segment = row[start : start + SEGMENT]
        n_above = np.float32(0.0)
        n_within = np.float32(0.0)
        for i in range(segment.size):
            n_above += np.float32(1.0) if segment[i] > high else np.float32(0.0)
            n_within += np.float32(1.0) if segment[i] >= low else np.float32(0.0)
        above += int(n_above)
        within += int(n_within)
    return above, within


@njit(**_FAST)
def _maxima(row, maxima):
    """maxima[i] = greatest of row[i], row[i + B], row[i + 2B], ... (B blocks, interleaved)."""
    blocks = maxima.size
    maxima[:] = row[:blocks]
    for start in range(blocks, row.size, blocks):
        strip = row[start : start + blocks]
        for i in range(strip.size):
            maxima[i] = strip[i] if strip[i] > maxima[i] else maxima[i]


@njit(**_FAST)
def _threshold(maxima, k):
    """A number that at least k of the maxima reach, and not many more."""
    low = maxima[0]
    high = maxima[0]
    for i in range(maxima.size):
        low = maxima[i] if maxima[i] < low else low
        high = maxima[i] if maxima[i] > high else high
    for _ in range(24):
        middle = np.float32(0.5) * (low + high)
        reached = np.float32(0.0)
        for i in range(maxima.size):
            reached += np.float32(1.0) if maxima[i] >= middle else np.float32(0.0)
        if reached >= k:
            low = middle
            if reached <= k + 4:
                break
        else:
            high = middle
    return low


@njit(**_EXACT)
def _insert(values, ids, n):
    """Sort the first n by value, greatest first; of equal values the lower id first."""
    for i in range(1, n):
        value, token = values[i], ids[i]
        j = i - 1
        while j >= 0 and (values[j] < value or (values[j] == value and ids[j] > token)):
            values[j + 1], ids[j + 1] = values[j], ids[j]
            j -= 1
        values[j + 1], ids[j + 1] = value, token


@njit(**_EXACT)
def _top(row, maxima, k, tolerance, values, ids):
    """Fill ids[:k] and values[:k]; true when two of the first k + 1 lie within the tolerance."""
    blocks = maxima.size
    threshold = _threshold(maxima, k)
    n = 0
    for block in range(blocks):
        if maxima[block] >= threshold:
            for i in range(block, row.size, blocks):
                if row[i] >= threshold:
                    if n < MAX_CANDIDATES:
                        values[n], ids[n] = row[i], i
                    n += 1
    if n > MAX_CANDIDATES:  # many equal logits
        order = np.argsort(-row, kind="mergesort")
        n = min(k + 1, row.size)
        for i in range(n):
            values[i], ids[i] = row[order[i]], order[i]
    else:
        _insert(values, ids, n)
    close = False
    for i in range(1, min(n, k + 1)):
        close |= values[i - 1] - values[i] <= tolerance
    if n == k and k < row.size:
        close |= values[k - 1] - threshold <= tolerance
    return close


@njit(**_FAST)
def _cap(row, capped, cap):
    """capped = cap * tanh(row / cap)."""
    scale = np.float32(-2.0) * _LOG2E / cap
    for i in range(row.size):
        power = _exp2(abs(row[i]) * scale)
        bounded = cap * (np.float32(1.0) - power) / (np.float32(1.0) + power)
        capped[i] = bounded if row[i] >= 0 else -bounded


@njit(**_EXACT)
def _capped(logit, cap):
    return cap * math.tanh(logit / cap) if cap > 0 else logit


@njit(**_EXACT)
def project_rows(logits, tokens, tolerance, cap, entropy, top_ids, top_probs, ranks, probs, flags):
    """Project every row of `logits` (n, V).

    `tokens` (n, 2) are the target and foil (-1: none), `tolerance` (n,) how close two logits may be
    and still be in doubt, `cap` the softcap (0: none). Fills `entropy` (n,) in bits, `top_ids` (n, k),
    `top_probs` (n, t), `ranks` and `probs` (n, 2), and `flags` (n,) with what `settle` must decide.
    """
    n, vocabulary = logits.shape
    k, t = top_ids.shape[1], top_probs.shape[1]
    maxima = np.empty(min(vocabulary, -(-max(-(-vocabulary // 64), 4 * k) // 16) * 16), np.float32)
    values = np.empty(max(MAX_CANDIDATES, k + 1), np.float32)
    ids = np.empty(max(MAX_CANDIDATES, k + 1), np.int64)
    capped = np.empty(vocabulary if cap > 0 else 0, np.float32)
    for r in range(n):
        row = logits[r]
        _maxima(row, maxima)
        flags[r] = TOP if _top(row, maxima, k, tolerance[r], values, ids) else 0
        if cap > 0:
            _cap(row, capped, np.float32(cap))
        peak = _capped(np.float64(values[0]), cap)
        total, weighted = _sums(capped if cap > 0 else row, np.float32(peak))
        entropy[r] = max(math.log2(total) - weighted / total, 0.0)
        for i in range(k):
            top_ids[r, i] = ids[i]
        for i in range(t):
            top_probs[r, i] = math.exp(_capped(np.float64(values[i]), cap) - peak) / total
        for side in range(2):
            token = tokens[r, side]
            if token < 0:
                ranks[r, side], probs[r, side] = 0, np.nan
                continue
            logit = row[token]
            above, within = _count(row, logit - tolerance[r], logit + tolerance[r])
            ranks[r, side] = 1 + above
            probs[r, side] = math.exp(_capped(np.float64(logit), cap) - peak) / total
            if within - above > 1:
                flags[r] |= TARGET if side == 0 else FOIL


@njit(**_FAST)
def _dot(left, right):
    total = 0.0
    for i in range(left.size):
        total += left[i] * np.float64(right[i])
    return total


@njit(**_EXACT)
def _exact(row, vectors, bias, token):
    """The token's logit in float64."""
    return _dot(row, vectors[token]) + bias[token]


@njit(**_EXACT)
def settle(logits, rows, normalized, vectors, bias, tokens, tolerance, flags, top_ids, ranks):
    """Decide the flagged `rows` in float64: `normalized` (f, d) @ `vectors` (V, d) + `bias` (V,).

    Rewrites `ranks` and `top_ids` of those rows.
    """
    k = top_ids.shape[1]
    for f in range(rows.size):
        r = rows[f]
        row, exact_row = logits[r], normalized[f]
        for side in range(2):
            if not flags[r] & (TARGET if side == 0 else FOIL):
                continue
            token = tokens[r, side]
            logit = row[token]
            exact = _exact(exact_row, vectors, bias, token)
            for j in range(row.size):
                if logit - tolerance[r] <= row[j] <= logit + tolerance[r]:
                    ranks[r, side] += _exact(exact_row, vectors, bias, j) > exact
        if flags[r] & TOP:
            floor = row[top_ids[r, k - 1]] - tolerance[r]
            near = np.flatnonzero(row >= floor)
            exact_logits = np.empty(near.size)
            for i in range(near.size):
                exact_logits[i] = -_exact(exact_row, vectors, bias, near[i])
            order = np.argsort(exact_logits, kind="mergesort")
            for i in range(k):
                top_ids[r, i] = near[order[i]]
