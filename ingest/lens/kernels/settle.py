"""What tallies come to, and close calls decided in float64."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from ingest.lens.kernels.tally import EXACT, FAST, FULL, NEAR, TOP, Tally, below, capped, compact


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
        for i in range(k):
            top_ids[r, i] = ids[i]
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
def _settle_top(exact, vectors, bias, ids, logits, top_ids):
    """The first of the candidates `ids`; `logits` is room for theirs."""
    for i in range(ids.size):
        logits[i] = dot(exact, vectors[ids[i]]) + bias[ids[i]]
    _sort(logits, ids)
    for i in range(top_ids.size):
        top_ids[i] = ids[i]


@njit(**EXACT)
def exact_logits(exact, vectors, bias, logits):
    """A row's logits in float64."""
    for token in range(bias.size):
        logits[token] = dot(exact, vectors[token]) + bias[token]


def _whole_row(
    exact: np.ndarray,
    vectors: np.ndarray,
    bias: np.ndarray,
    tokens: np.ndarray,
    cap: float,
    top_ids: np.ndarray,
    top_probs: np.ndarray,
    ranks: np.ndarray,
    probs: np.ndarray,
) -> float:
    """A row wholly in float64 (its logits are equal, or nearly, for many tokens). Gives its entropy."""
    logits = np.empty(bias.size)
    exact_logits(exact, vectors, bias, logits)
    order = np.argsort(-logits, kind="stable")
    top_ids[:] = order[: top_ids.size]
    wanted = tokens >= 0
    ranks[wanted] = [1 + int((logits > logits[token]).sum()) for token in tokens[wanted]]
    if cap > 0:
        logits = cap * np.tanh(logits / cap)
    logits -= logits.max()
    powers = np.exp(logits)
    total = powers.sum()
    top_probs[:] = powers[order[: top_probs.size]] / total
    probs[wanted] = powers[tokens[wanted]] / total
    return float((math.log(total) - (powers * logits).sum() / total) * math.log2(math.e))


@njit(**EXACT)
def _settle_close(tally, rows, exact, vectors, bias, tokens, top_ids, ranks):
    k = top_ids.shape[1]
    logits = np.empty(tally.ids.shape[1])
    for f in range(rows.size):
        r = rows[f]
        if tally.doubt[r] == FULL:
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
            _settle_top(exact[f], vectors, bias, tally.ids[r, :close], logits[:close], top_ids[r])


def settle(
    tally: Tally,
    rows: np.ndarray,
    exact: np.ndarray,
    vectors: np.ndarray,
    bias: np.ndarray,
    tokens: np.ndarray,
    cap: float,
    entropy: np.ndarray,
    top_ids: np.ndarray,
    top_probs: np.ndarray,
    ranks: np.ndarray,
    probs: np.ndarray,
) -> None:
    """Decide the doubtful `rows` in float64: their logits are `exact` (f, d) @ `vectors` (V, d).T + `bias` (V,)."""
    _settle_close(tally, rows, exact, vectors, bias, tokens, top_ids, ranks)
    for f in np.flatnonzero(tally.doubt[rows] == FULL):
        r = rows[f]
        entropy[r] = _whole_row(exact[f], vectors, bias, tokens[r], cap, top_ids[r], top_probs[r], ranks[r], probs[r])
