"""Rows that occur several times (prompts with a common beginning) are projected once.

Only the tokens asked about differ: every distinct row is asked for the ranks of all of them.
Rows are the same when all their bytes are, so nothing changes but the time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

Array = np.ndarray


@dataclass(frozen=True)
class Sharing:
    """Distinct rows and the way back: row i is row `row[i]` of `rows`, its tokens in slots `slot[i]`."""

    rows: Float[Array, "u d"]
    tokens: Int[Array, "u t"]
    row: Int[Array, " n"]
    slot: Int[Array, "n s"]


def share(rows: Float[Array, "n d"], tokens: Int[Array, "n s"]) -> Sharing:
    """The distinct rows, each with all tokens (-1: none) that are asked of it."""
    keys = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.shape[1] * rows.itemsize))).ravel()
    _, first, row = np.unique(keys, return_index=True, return_inverse=True)
    if len(first) == len(rows):
        everyone = np.arange(len(rows))
        return Sharing(rows, tokens, everyone, np.tile(np.arange(tokens.shape[1]), (len(rows), 1)))
    return _shared(rows[first], row, tokens)


def _shared(distinct: Array, row: Array, tokens: Array) -> Sharing:
    wanted = np.stack([np.repeat(row, tokens.shape[1]), tokens.ravel()], axis=1)
    pairs, back = np.unique(wanted, axis=0, return_inverse=True)
    slots = np.arange(len(pairs)) - np.searchsorted(pairs[:, 0], pairs[:, 0])
    asked = np.full((len(distinct), int(slots.max()) + 1), -1)
    asked[pairs[:, 0], slots] = pairs[:, 1]
    return Sharing(distinct, asked, row, slots[back.ravel()].reshape(tokens.shape))
