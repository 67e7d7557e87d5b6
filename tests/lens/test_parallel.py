"""Vectors along the target's own unembedding, as trained models have them where they are sure.

All partial sums of the target's logit are then as great as the logit, and float32 rounds them most:
the target's own logit must not be counted among those that are greater.
"""

import numpy as np
import pytest

from ingest.architecture.decoder import Norm
from ingest.lens.lens import LogitLens
from support.lens_reference import random_head, ranks


@pytest.mark.parametrize("d", [128, 768, 2048])
@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_ranks_of_sure_vectors(d, kind):
    rng = np.random.default_rng(d)
    head = random_head(rng, kind, d, 1500, size=3.0)
    ids = rng.integers(0, 1500, 3000)
    noise = rng.uniform(0.0, 0.6, (3000, 1))
    along = head.unembedding.T[ids]
    along = along / np.linalg.norm(along, axis=1, keepdims=True)
    rows = (along + noise * rng.standard_normal((3000, d)) / np.sqrt(d)).astype(np.float32)
    tokens = np.stack([ids, (ids + 1) % 1500], axis=1)
    lens = LogitLens(Norm(kind, head.weight, head.shift, head.eps), head.unembedding)
    projection = lens.project(rows, tokens)
    expected = ranks(head.logits(rows), tokens)
    assert (expected[:, 0] == 1).mean() > 0.99
    assert np.array_equal(projection.target_rank, expected[:, 0])
    assert np.array_equal(projection.foil_rank, expected[:, 1])
    up, _ = lens.ranks_of(rows[:300], np.arange(1500))
    assert np.array_equal(up, ranks(head.logits(rows[:300]), np.tile(np.arange(1500), (300, 1))))
