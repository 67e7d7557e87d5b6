"""Tokens that are ranked ahead cost no pass of their own, and are ranked as alone."""

from __future__ import annotations

from dataclasses import replace
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


@pytest.mark.parametrize("vocabulary", [2**16 - 1, 2**16 + 40])
def test_ranks_of_a_large_vocabulary_are_those_of_the_lens(vocabulary: int, tmp_path: Path) -> None:
    """Ranks are held at two bytes where they fit; the last of a larger vocabulary do not."""
    draw = np.random.default_rng(0)
    model = load_model(str(random_model("gpt2", tmp_path / "model")))
    unembedding = draw.standard_normal((model.decoder.d_model, vocabulary)).astype(np.float32)
    decoder = replace(model.decoder, unembedding=unembedding, unembedding_bias=None, vocab_size=vocabulary)
    lens = LogitLens.of(decoder, threads=1)
    found = TargetRanks(decoder, lens, tmp_path / "cache")
    rows = np.ascontiguousarray(decoder.layer(0).w_o.reshape(found.index.n_attention_output, -1))
    up, _ = lens.ranks_of(rows[:1], np.arange(vocabulary))
    tokens = [0, int(up[0].argmax())]
    assert up[0].max() == vocabulary
    found.prepare(tokens)
    neurons = np.arange(len(rows))
    for sign, expected in zip((True, False), lens.ranks_of(rows, np.asarray(tokens)), strict=True):
        for column, token in enumerate(tokens):
            ranks = found.of(np.full(len(rows), token), neurons, np.full(len(rows), sign))
            assert np.array_equal(ranks, expected[:, column])
