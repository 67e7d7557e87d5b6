"""Numbers as a reader wants them in a sentence."""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def percent(share: float) -> str:
    """0.1234 as `12.3 %`; what is not there as `no value`."""
    return "no value" if np.isnan(share) else f"{100 * share:.1f} %"


def peak(values: Array) -> tuple[int, float]:
    """Where the largest value is, and the value."""
    at = int(np.nanargmax(values))
    return at, float(values[at])


def trend(values: Array) -> str:
    """What a line over the layers does between its first and its second half."""
    half = len(values) // 2
    if half == 0:
        return "there is one layer only"
    early, late = float(np.nanmean(values[:half])), float(np.nanmean(values[half:]))
    verb = "rises" if late > early else "falls" if late < early else "stays"
    return f"the mean {verb} from {percent(early)} in the first half of the layers to {percent(late)} in the second"
