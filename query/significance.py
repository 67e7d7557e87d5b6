"""Exact tests added to the answers of the head queries."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import pyarrow as pa


def binomial_tail(trials: int, successes: int, chance: float) -> float:
    """P(X >= successes) of a binomial distribution: how likely so many successes are by chance."""
    if successes <= 0:
        return 1.0
    if chance <= 0:
        return 0.0
    if chance >= 1:
        return 1.0
    logs = [
        math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1)
        + k * math.log(chance) + (trials - k) * math.log1p(-chance)
        for k in range(successes, trials + 1)
    ]  # fmt: skip
    largest = max(logs)
    return min(1.0, math.exp(largest) * math.fsum(math.exp(value - largest) for value in logs))


def sign_test(more: int, less: int) -> float:
    """Exact one-sided sign test (McNemar's): how likely at least `more` of `more + less` are by chance."""
    return binomial_tail(more + less, more, 0.5)


_TESTS: Final[dict[str, Callable[[Mapping[str, Any]], float]]] = {
    "heads_always_promoting_target": lambda row: sign_test(row["only_target"], row["only_control"]),
    "heads_promoting_foil": lambda row: sign_test(row["only_foil"], row["only_target"]),
    "heads_always_demoting_target": lambda row: binomial_tail(row["prompts"], row["demoted"], row["control_share"]),
}
"""Queries whose answers get a `p_value`, and the test behind it."""


def with_p_value(name: str, table: pa.Table) -> pa.Table:
    """The answer of a named query with its `p_value`, where it has one."""
    test = _TESTS.get(name)
    if test is None:
        return table
    return table.append_column("p_value", pa.array([test(row) for row in table.to_pylist()], pa.float64()))
