"""Analyses give the same figures from both stores."""

from __future__ import annotations

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from flowatlas.selection import Selection
from flowatlas.stores.base import Store
from query.analyses import Figure, Options, Sample, analyze

NAMES = [
    "heads_with_wo", "values_by_attention", "values_by_norm_rank", "own_token_in_values", "keys_and_values", "queries_and_keys",
    "attention_and_residuals", "prediction_by_layer", "head_effects", "always_on_neurons", "graph_attention",
]  # fmt: skip


def figures(store: Store) -> dict[str, Figure]:
    sample = Sample(store, Selection(group="first"), Options(k=20, resamples=30))
    found = {figure.name: figure for figure in analyze(sample, NAMES)}
    assert all(isinstance(figure, Figure) for figure in found.values()), found
    return found  # type: ignore[return-value]


@pytest.mark.parametrize("store", ["neo4j"], indirect=True)
def test_both_stores_give_the_same_figures(store: Store, ladybug: Store) -> None:
    one, other = figures(ladybug), figures(store)
    for name in NAMES:
        a, b = (f.data.sort(pl.all().exclude(pl.List(pl.String), pl.Float32, pl.Float64)) for f in (one[name], other[name]))
        assert a.height > 0
        assert_frame_equal(a, b, check_dtypes=False, rel_tol=1e-4, abs_tol=1e-5)
        assert one[name].prompts == other[name].prompts
