"""Numbers -> colour buckets and widths. Buckets are small integers, 0 the strongest."""

from __future__ import annotations

import bisect
import math
from typing import Final

BOTTOM: Final = 5
"""Rank bucket of the bottom 1 % of the vocabulary."""

UNKNOWN: Final = 4
"""Rank bucket of a vector whose rank is not stored (white, as a rank beyond 1,000)."""

_RANKS: Final = (1, 10, 100, 1000)
_BITS: Final = (0.2, 0.45, 0.7, 0.9)
_SHARES: Final = (0.02, 0.12, 0.4)


def rank_bucket(rank: int | None, vocabulary: int) -> int:
    """0: first; 1: to 10; 2: to 100; 3: to 1,000; 4: beyond or unknown; 5: bottom 1 % of the vocabulary."""
    if rank is None:
        return UNKNOWN
    if rank > 100 and rank > 0.99 * vocabulary:
        return BOTTOM
    return bisect.bisect_left(_RANKS, rank)


def entropy_bucket(entropy: float | None, vocabulary: int) -> int:
    """0: nearly one token, 4: nearly uniform; `entropy` in bits, judged against log2(vocabulary)."""
    if entropy is None or not math.isfinite(entropy):
        return 4
    return bisect.bisect_right(_BITS, entropy / math.log2(max(vocabulary, 2)))


def contribution_bucket(contribution: float | None, largest: float) -> int:
    """-3 ... 3: pushes the target down ... up, against the `largest` absolute contribution shown."""
    if not contribution or largest <= 0:
        return 0
    size = bisect.bisect_right(_SHARES, abs(contribution) / largest)
    return size if contribution > 0 else -size


def width(score: float | None, largest: float) -> float:
    """Line width in px: 0.8 to 6, linear in |score| against the largest of its kind and layer."""
    if score is None or not math.isfinite(score) or largest <= 0:
        return 0.8
    return round(0.8 + 5.2 * min(abs(score) / largest, 1.0), 2)
