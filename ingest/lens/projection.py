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
    `source` is the token that a memory comes from (section 3, figure 18).
    """

    entropy: Float[Array, " n"]
    top_ids: Int[Array, "n k"]
    top_probs: Float[Array, "n t"]
    target_rank: Int[Array, " n"]
    target_prob: Float[Array, " n"]
    foil_rank: Int[Array, " n"]
    foil_prob: Float[Array, " n"]
    source_rank: Int[Array, " n"]
    source_prob: Float[Array, " n"]


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

    def of(self, row: Int[Array, " m"], slot: Int[Array, "m s"]) -> Projection:
        """Projections of `row`s; `slot` says where target, foil and (a third column) source are."""
        ranks = np.take_along_axis(self.ranks[row], slot, axis=1)
        probs = np.take_along_axis(self.probs[row], slot, axis=1)
        asked = [(ranks[:, number], probs[:, number]) for number in range(slot.shape[1])]
        nobody = np.zeros(len(row), np.int32), np.full(len(row), np.nan, np.float32)
        (target_rank, target_prob), (foil_rank, foil_prob), (source_rank, source_prob) = [*asked, nobody][:3]
        return Projection(
            entropy=self.entropy[row],
            top_ids=self.top_ids[row],
            top_probs=self.top_probs[row],
            target_rank=target_rank,
            target_prob=target_prob,
            foil_rank=foil_rank,
            foil_prob=foil_prob,
            source_rank=source_rank,
            source_prob=source_prob,
        )
