"""Tokens that are ranked ahead cost no pass of their own, and are ranked as alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ingest.architecture.load import load_model
from ingest.lens.lens import LogitLens
from ingest.neurons import NeuronIndex, TargetRanks, ranks
from support.models import random_model

EVERY = (5, 3, 9, 11, 7)


def test_tokens_ahead_go_along_as_far_as_memory_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(str(random_model("gpt2", tmp_path / "model")))
    lens = LogitLens.of(model.decoder, threads=1)
    asked: list[list[int]] = []
    true_ranks = lens.ranks_of

    def counted(rows: np.ndarray, ids: np.ndarray) -> np.ndarray:
        asked.append(ids.tolist())
        return true_ranks(rows, ids)

    monkeypatch.setattr(lens, "ranks_of", counted)
    passes = 2 * model.decoder.n_layer
    alone = {}
    n = NeuronIndex.of(model.decoder).total
    for token in EVERY:
        single = TargetRanks(model.decoder, lens)
        single.prepare([token])
        alone[token] = [single.of(np.full(n, token), np.arange(n), np.full(n, sign)) for sign in (True, False)]
    asked.clear()

    monkeypatch.setattr(ranks, "HELD_BYTES", 4 * 4 * n)
    found = TargetRanks(model.decoder, lens, tmp_path / "cache")
    found.prepare([5, -1, 5], ahead=[3, 9, 5, -1, 11, 7])
    assert asked == [[5, 3, 9, 11]] * passes
    found.prepare([9, 3], ahead=[7])
    assert len(asked) == passes
    found.prepare([9, 7])
    assert asked[passes:] == [[7]] * passes
    found.prepare(EVERY)  # those that memory let go are in the cache
    assert len(asked) == 2 * passes
    for token in EVERY:
        for sign, expected in zip((True, False), alone[token], strict=True):
            assert np.array_equal(found.of(np.full(n, token), np.arange(n), np.full(n, sign)), expected)
    few = TargetRanks(model.decoder, lens, tmp_path / "cache")
    for token in EVERY:  # what comes from the cache is bounded too
        few.prepare([token])
    assert len(few._ranks) <= 4
