"""What tallies come to, and close calls decided in float64."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from ingest.lens.kernels.tally import EXACT, FAST, FULL, NEAR, TOP, below, capped, compact


@njit(**EXACT)
def _sort(values, ids):
    """Sort by value, greatest first; of equal values the lower id first."""
    for i in range(1, values.size):
        value, token = values[i], ids[i]
        j = i - 1
        while j >= 0 and (values[j] < value or (values[j] == value and ids[j] > token)):
            values[j + 1], ids[j + 1] = values[j], ids[j]
            j -= 1
        values[j + 1], ids[j + 1] = value, token


@njit(**EXACT)
def finish(tally, logits, cap, entropy, top_ids, top_probs, ranks, probs):
    """Turn a full tally into projections: `logits` (n, s) are those of the tokens asked for.

    Fills `entropy` (n,) in bits, `top_ids` (n, k), `top_probs` (n, t), `ranks` and `probs` (n, s),
    and marks in the tally what `settle` has to decide.
    """
    k, t = top_ids.shape[1], top_probs.shape[1]
    for r in range(entropy.size):
        total, shift = tally.total[r], np.float64(tally.shift[r])
        entropy[r] = max(math.log2(total) - tally.weighted[r] / total, 0.0)
        for slot in range(ranks.shape[1]):
            if np.isnan(tally.low[r, slot]):
                ranks[r, slot], probs[r, slot] = 0, np.nan
                continue
            ranks[r, slot] = 1 + tally.above[r, slot]
            probs[r, slot] = math.exp(capped(np.float64(logits[r, slot]), cap) - shift) / total
            if tally.n_near[r, slot] > NEAR:
                tally.doubt[r] = FULL
        if tally.doubt[r] == FULL:
            continue
        n, _ = compact(tally.values[r], tally.ids[r], tally.n_candidates[r], k, tally.floor[r], tally.tolerance[r])
        values, ids = tally.values[r, :n], tally.ids[r, :n]
        tally.n_candidates[r] = n
        _sort(values, ids)
        for i in range(1, min(n, k + 1)):
            if values[i] >= below(values[i - 1], tally.tolerance[r]):
                tally.doubt[r] |= TOP
        top_ids[r] = ids[:k]
        for i in range(t):
            top_probs[r, i] = math.exp(capped(np.float64(values[i]), cap) - shift) / total


@njit(**FAST)
def dot(left, right):
    total = 0.0
    for i in range(left.size):
        total += left[i] * np.float64(right[i])
    return total


@njit(**EXACT)
def _settle_rank(exact, vectors, bias, target, near):
    """How many of the `near` tokens have a greater logit than the target."""
    logit = dot(exact, vectors[target]) + bias[target]
    greater = 0
    for token in near:
        greater += dot(exact, vectors[token]) + bias[token] > logit
    return greater


@njit(**EXACT)
def _settle_top(exact, vectors, bias, ids, top_ids):
    """The first of the candidates `ids`."""
    ids.sort()
    logits = np.empty(ids.size)
    for i in range(ids.size):
        logits[i] = -(dot(exact, vectors[ids[i]]) + bias[ids[i]])
    order = np.argsort(logits, kind="mergesort")
    for i in range(top_ids.size):
        top_ids[i] = ids[order[i]]


@njit(**EXACT)
def _whole_row(exact, vectors, bias, tokens, cap, top_ids, top_probs, ranks, probs):
    """A row wholly in float64 (its logits are equal, or nearly, for many tokens). Gives its entropy."""
    logits = np.empty(bias.size)
    for token in range(bias.size):
        logits[token] = dot(exact, vectors[token]) + bias[token]
    order = np.argsort(-logits, kind="mergesort")
    top_ids[:] = order[: top_ids.size]
    for slot in range(tokens.size):
        if tokens[slot] >= 0:
            ranks[slot] = 1 + (logits > logits[tokens[slot]]).sum()
    for token in range(bias.size):
        logits[token] = capped(logits[token], cap)
    logits -= logits.max()
    powers = np.exp(logits)
    total = powers.sum()
    for i in range(top_probs.size):
        top_probs[i] = powers[order[i]] / total
    for slot in range(tokens.size):
        if tokens[slot] >= 0:
            probs[slot] = powers[tokens[slot]] / total
    return (math.log(total) - (powers * logits).sum() / total) * math.log2(math.e)


@njit(**EXACT)
def settle(tally, rows, exact, vectors, bias, tokens, cap, entropy, top_ids, top_probs, ranks, probs):
    """Decide the doubtful `rows` in float64: their logits are `exact` (f, d) @ `vectors` (V, d).T + `bias` (V,)."""
    k = top_ids.shape[1]
    for f in range(rows.size):
        r = rows[f]
        if tally.doubt[r] == FULL:
            entropy[r] = _whole_row(
                exact[f], vectors, bias, tokens[r], cap, top_ids[r], top_probs[r], ranks[r], probs[r]
            )
            continue
        for slot in range(tokens.shape[1]):
            if tally.n_near[r, slot] > 1:
                near = tally.near[r, slot, : tally.n_near[r, slot]]
                ranks[r, slot] += _settle_rank(exact[f], vectors, bias, tokens[r, slot], near)
        if tally.doubt[r] == TOP:
            floor = below(tally.values[r, k - 1], tally.tolerance[r])
            close = k
            while close < tally.n_candidates[r] and tally.values[r, close] >= floor:
                close += 1
            _settle_top(exact[f], vectors, bias, tally.ids[r, :close].copy(), top_ids[r])
