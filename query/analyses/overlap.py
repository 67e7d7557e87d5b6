"""The intersection score I_k of equation 3: the share of their top k tokens that two vectors have in common."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from flowatlas.errors import QueryError, UsageError

Array = np.ndarray
_ROWS = 100_000


def as_ids(column: pa.ChunkedArray) -> Array:
    """A column of lists of token ids, all of one length, as an array (rows, ids)."""
    flat = column.combine_chunks()
    lists = flat if isinstance(flat, pa.Array) else pa.concat_arrays(flat.chunks)
    return np.asarray(lists.flatten().to_numpy(zero_copy_only=False)).reshape(len(lists), -1)


def as_naive_ids(column: pa.ChunkedArray) -> Array:
    """Ids of the lens `naive`. Raises QueryError where the prompts were ingested without it."""
    if column.null_count:
        raise QueryError(
            "The store has no projections without circuits (the lens `naive`) of these prompts.",
            next_step="Ingest them with --lens circuit,naive.",
        )
    return as_ids(column)


def checked_k(k: int, stored: int) -> int:
    """`k`, if so many ids are stored. Raises UsageError."""
    if not 1 <= k <= stored:
        raise UsageError(
            f"I_k cannot be computed for k = {k}.", known=f"Of every vector {stored} top tokens are stored.",
            next_step=f"Give --k 1 to {stored}.",
        )  # fmt: skip
    return k


def overlap(one: Array, other: Array, k: int) -> Array:
    """I_k of every pair of rows: ids (..., at least k), the same leading shape, to shares (...), 0 to 1.

    The ids of a row are distinct.
    """
    one, other = np.broadcast_arrays(one[..., :k], other[..., :k])
    shape = one.shape[:-1]
    one, other = one.reshape(-1, k), other.reshape(-1, k)
    shared = np.empty(len(one), np.float64)
    for start in range(0, len(one), _ROWS):
        rows = slice(start, start + _ROWS)
        both = np.sort(np.concatenate([one[rows], other[rows]], axis=1), axis=1)
        shared[rows] = (both[:, 1:] == both[:, :-1]).sum(axis=1)
    return (shared / k).reshape(shape)


def partners(prompts: int, seed: int) -> Array:
    """For every prompt another one, drawn at random: the control of shuffled prompts. One prompt has none but itself."""
    order = np.random.default_rng(seed).permutation(prompts)
    drawn = np.empty(prompts, np.int64)
    drawn[order] = np.roll(order, 1)
    return drawn


def chance(k: int, vocabulary: int) -> float:
    """Mean I_k of two random draws of k tokens from the vocabulary (caption of figure 20): k / vocabulary."""
    return k / vocabulary
