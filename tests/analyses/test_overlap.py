"""I_k, shuffled partners and bootstrap bands where the answer is known, or computed the slow way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowatlas.errors import UsageError
from query.analyses.bootstrap import banded
from query.analyses.overlap import chance, checked_k, overlap, partners


def test_identical_and_disjoint_top_tokens():
    ids = np.arange(50)[None]
    assert overlap(ids, ids[:, ::-1], 50) == 1.0
    assert overlap(ids, ids + 50, 50) == 0.0
    assert overlap(ids, ids + 25, 50) == 0.5


@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(12, 40))
@settings(max_examples=40, deadline=None)
def test_it_is_the_share_of_common_ids(seed, k, vocabulary):
    rng = np.random.default_rng(seed)
    one, other = (np.stack([rng.permutation(vocabulary)[:12] for _ in range(6)]).reshape(2, 3, 12) for _ in range(2))
    found = overlap(one, other, k)
    for place in np.ndindex(2, 3):
        assert found[place] == len(set(one[place][:k]) & set(other[place][:k])) / k


def test_random_draws_share_what_chance_says():
    """The caption of figure 20: two draws of 50 of 50,257 tokens share 0.05 tokens on average, I_50 of 0.001."""
    assert chance(50, 50_257) == pytest.approx(0.001, abs=1e-5)
    rng = np.random.default_rng(0)
    draws = np.stack([rng.permutation(600)[:50] for _ in range(4000)])
    error = np.sqrt(50 * (50 / 600) * (550 / 600)) / 50 / np.sqrt(2000)
    assert overlap(draws[:2000], draws[2000:], 50).mean() == pytest.approx(chance(50, 600), abs=5 * error)


@pytest.mark.parametrize("k", [0, 51, -1])
def test_k_beyond_what_is_stored(k):
    with pytest.raises(UsageError, match="50 top tokens are stored"):
        checked_k(k, 50)


@given(st.integers(2, 60), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_everyone_gets_another_one(prompts, seed):
    drawn = partners(prompts, seed)
    assert sorted(drawn) == list(range(prompts))
    assert (drawn != np.arange(prompts)).all()
    assert (drawn == partners(prompts, seed)).all()


def test_bands_are_those_of_drawing_prompts_again():
    rng = np.random.default_rng(3)
    values = rng.normal(2, 1, (60, 4))
    found = banded(values, np.ones_like(values), seed=1, resamples=4000)
    assert found.mean == pytest.approx(values.mean(0))
    means = np.stack([values[rng.integers(0, 60, 60)].mean(0) for _ in range(4000)])
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    assert found.low == pytest.approx(low, abs=0.03)
    assert found.high == pytest.approx(high, abs=0.03)
    again = banded(values, np.ones_like(values), seed=1, resamples=4000)
    assert (again.low == found.low).all()


def test_prompts_count_by_how_many_values_they_have():
    sums, counts = np.array([[3.0, 0.0], [1.0, 0.0]]), np.array([[3.0, 0.0], [1.0, 0.0]])
    sums[0, 0] = 6.0
    found = banded(sums, counts, seed=0, resamples=50)
    assert found.mean[0] == pytest.approx(7 / 4)
    assert np.isnan([found.mean[1], found.low[1], found.high[1]]).all()
    assert found.low[0] == pytest.approx(1.0)
    assert found.high[0] == pytest.approx(2.0)
