"""What the lens says of a row: the columns that every state carries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

Array = np.ndarray


@dataclass(frozen=True)
class Projection:
    """Projections of n vectors. `k` is min(50, vocabulary), `t` min(10, vocabulary).

    Ranks count from 1; a rank of 0 (with probability nan) means that no such token was asked for.
    """

    entropy: Float[Array, " n"]
    top_ids: Int[Array, "n k"]
    top_probs: Float[Array, "n t"]
    target_rank: Int[Array, " n"]
    target_prob: Float[Array, " n"]
    foil_rank: Int[Array, " n"]
    foil_prob: Float[Array, " n"]


@dataclass(frozen=True)
class StaticProjection:
    """Projections of n vectors and of their negatives (neurons: a coefficient may have either sign).

    `bottom_ids` are the top ids of the negatives.
    """

    entropy: Float[Array, " n"]
    top_ids: Int[Array, "n k"]
    top_probs: Float[Array, "n t"]
    bottom_ids: Int[Array, "n k"]


@dataclass(frozen=True)
class Found:
    """Projections of n vectors that may each be asked for s tokens; 0 and nan where for fewer."""

    entropy: Float[Array, " n"]
    top_ids: Int[Array, "n k"]
    top_probs: Float[Array, "n t"]
    ranks: Int[Array, "n s"]
    probs: Float[Array, "n s"]

    def of(self, row: Int[Array, " m"], slot: Int[Array, "m 2"]) -> Projection:
        """Projections of `row`s, target and foil in the slots that `slot` says."""
        ranks = np.take_along_axis(self.ranks[row], slot, axis=1)
        probs = np.take_along_axis(self.probs[row], slot, axis=1)
        return Projection(
            self.entropy[row],
            self.top_ids[row],
            self.top_probs[row],
            ranks[:, 0],
            probs[:, 0],
            ranks[:, 1],
            probs[:, 1],
        )
