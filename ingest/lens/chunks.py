"""Projections of one chunk of rows: GEMM and tally tile by tile, then what is in doubt in float64.

Functions of their arguments, run by any thread; a buffer is theirs while they run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float, Int, Int32

from flowatlas.vocabulary import TOP_TOKENS
from ingest.lens.kernels.ranks import Windows, count_tile, new_windows, settle_ranks
from ingest.lens.kernels.settle import finish, settle
from ingest.lens.kernels.tally import Tally, new_tally, tally_tile
from ingest.lens.projection import Found, StaticProjection
from ingest.lens.tiles import both_signs, tiles, with_column
from ingest.lens.unembedding import Factor, Unembedding

Array = np.ndarray


class Tallies(Protocol):
    """What makes tallies of rows: the tiles of this module, or a GPU."""

    def of(
        self,
        left: Float[Array, "m d_1"],
        factor: Factor,
        tokens: Int[Array, "n s"],
        tolerance: Float[Array, " n"],
        k: int,
    ) -> tuple[Float[Array, "n s"], Tally]:
        """Logits of each row's tokens (NaN for none), and the tally of left @ the factor's matrix."""

    def both_signs(self, linear: Float[Array, "n d"], tolerance: Float[Array, " n"], k: int) -> tuple[Tally, Tally]:
        """The tallies of constant + linear part and of constant - linear part, no token asked for."""

    def count(self, linear: Float[Array, "n d"], up: Windows, down: Windows) -> None:
        """Count the logits of constant + linear part and of constant - linear part in windows of tokens."""


@dataclass(frozen=True)
class TiledTallies:
    """Tallies on the CPU, tile by tile in a buffer."""

    unembedding: Unembedding
    buffer: Array

    def of(
        self,
        left: Float[Array, "m d_1"],
        factor: Factor,
        tokens: Int[Array, "n s"],
        tolerance: Float[Array, " n"],
        k: int,
    ) -> tuple[Float[Array, "n s"], Tally]:
        """See `Tallies`."""
        asked = _logits_of(left[: len(tokens)], factor, tokens)
        tally = new_tally(asked, tolerance)
        for start, logits in tiles(left, factor, self.buffer):
            tally_tile(tally, logits[: len(tokens)], start, k, self.unembedding.softcap)
        return asked, tally

    def both_signs(self, linear: Float[Array, "n d"], tolerance: Float[Array, " n"], k: int) -> tuple[Tally, Tally]:
        """See `Tallies`."""
        n, none = len(linear), np.empty((len(linear), 0))
        up, down = new_tally(none, tolerance), new_tally(none, tolerance)
        direct, constant = self.unembedding.direct, self.unembedding.constant_logits
        for start, positive, negative in both_signs(linear, direct, constant, self.buffer):
            tally_tile(up, positive[:n], start, k, self.unembedding.softcap)
            tally_tile(down, negative[:n], start, k, self.unembedding.softcap)
        return up, down

    def count(self, linear: Float[Array, "n d"], up: Windows, down: Windows) -> None:
        """See `Tallies`."""
        direct, constant = self.unembedding.direct, self.unembedding.constant_logits
        for start, positive, negative in both_signs(linear, direct, constant, self.buffer):
            count_tile(up, positive[: len(linear)], start)
            count_tile(down, negative[: len(linear)], start)


def project_chunk(
    unembedding: Unembedding,
    factor: Factor,
    rows: Float[Array, "n d_in"],
    tokens: Int[Array, "n s"],
    k: int,
    tallies: Tallies,
) -> Found:
    """LL(row) through a factor, with ranks of the tokens (-1: none)."""
    multiplied = unembedding.normalized(rows) if factor.folded is None else unembedding.scaled(rows, factor)
    tolerance = unembedding.tolerance(multiplied, factor)
    asked, tally = tallies.of(with_column(multiplied, 1.0), factor, tokens, tolerance, k)
    return _found(
        unembedding, tally, asked, tokens, k, lambda doubtful: unembedding.exact(multiplied[doubtful], factor)
    )


def static_chunk(unembedding: Unembedding, rows: Float[Array, "n d"], k: int, tallies: Tallies) -> StaticProjection:
    """LL(row) and the top ids of LL(-row): one GEMM, since only the constant does not change its sign."""
    linear = unembedding.normalized(rows) - unembedding.constant
    none, tokens = np.empty((len(rows), 0)), np.empty((len(rows), 0), np.int64)
    up, down = tallies.both_signs(linear, unembedding.tolerance(linear, unembedding.direct), k)
    ups = _found(unembedding, up, none, tokens, k, lambda at: linear[at] + unembedding.constant)
    downs = _found(unembedding, down, none, tokens, k, lambda at: unembedding.constant - linear[at])
    return StaticProjection(ups.entropy, ups.top_ids, ups.top_probs, downs.top_ids)


def ranks_chunk(
    unembedding: Unembedding, rows: Float[Array, "n d"], token_ids: Int[Array, " T"], tallies: Tallies
) -> Int32[Array, "2 n T"]:
    """Ranks of every token in LL(row) and in LL(-row)."""
    linear = unembedding.normalized(rows) - unembedding.constant
    constant = unembedding.constant_logits
    tolerance = unembedding.tolerance(linear, unembedding.direct)
    asked = linear.astype(np.float32) @ unembedding.direct.matrix[:-1, token_ids]
    up = new_windows(constant[token_ids] + asked, tolerance)
    down = new_windows(constant[token_ids] - asked, tolerance)
    tallies.count(linear, up, down)
    ranks = np.empty((2, len(rows), len(token_ids)), np.int32)
    for sign, windows, found in ((1.0, up, ranks[0]), (-1.0, down, ranks[1])):
        exact = sign * linear + unembedding.constant
        settle_ranks(windows, exact, unembedding.vectors, unembedding.bias, token_ids, found)
    return ranks


def _found(
    unembedding: Unembedding,
    tally: Tally,
    asked: Float[Array, "n s"],
    tokens: Int[Array, "n s"],
    k: int,
    exact_rows: Callable[[Int[Array, " f"]], Float[Array, "f d"]],
) -> Found:
    """What a full tally comes to; `exact_rows` gives, in float64, what the unembedding multiplies."""
    n, t = len(tokens), min(TOP_TOKENS, k)
    entropy = np.empty(n, np.float32)
    top_ids, top_probs = np.empty((n, k), np.int32), np.empty((n, t), np.float32)
    ranks, probs = np.empty(tokens.shape, np.int32), np.empty(tokens.shape, np.float32)
    cap, out = unembedding.softcap, (entropy, top_ids, top_probs, ranks, probs)
    finish(tally, asked, cap, *out)
    doubtful = np.flatnonzero((tally.doubt > 0) | (tally.n_near > 1).any(1))
    if doubtful.size:
        settle(tally, doubtful, exact_rows(doubtful), unembedding.vectors, unembedding.bias, tokens, cap, *out)
    return Found(entropy, top_ids, top_probs, ranks, probs)


def _logits_of(left: Float[Array, "n d_1"], factor: Factor, tokens: Int[Array, "n s"]) -> Float[Array, "n s"]:
    """Logits of each row's own tokens, NaN for none."""
    ids, index = np.unique(tokens, return_inverse=True)
    columns = factor.matrix[:, ids].T.astype(np.float64)
    wide, logits = left.astype(np.float64), np.full(tokens.shape, np.nan)
    for slot, column in enumerate(index.reshape(tokens.shape).T):
        there = np.flatnonzero(tokens[:, slot] >= 0)
        logits[there, slot] = np.einsum("nk,nk->n", wide[there], columns[column[there]])
    return logits
