"""The lens against float64 on thousands of rows of every kind."""

import numpy as np
import pytest

from ingest.architecture.decoder import Norm
from ingest.lens.lens import LogitLens
from support.lens_reference import check, random_head, random_tokens, ranks, same_order, top

MODELS = {
    "layer norm, tied": {"kind": "layer"},
    "layer norm, biases, untied": {"kind": "layer", "bias": True, "tied": False},
    "layer norm, common offset": {"kind": "layer", "bias": True, "offset": 0.5},
    "RMS norm": {"kind": "rms"},
    "RMS norm, softcap, scale": {"kind": "rms", "softcap": 4.0, "logit_scale": 0.5, "size": 4.0},
    "no norm, bias": {"kind": "none", "bias": True},
}


def lens_of(head, **options):
    norm = None if head.kind == "none" else Norm(head.kind, head.weight, head.shift, head.eps)
    return LogitLens(norm, head.unembedding, head.bias, logit_scale=head.logit_scale, softcap=head.softcap, **options)


def rows_of(rng, n, d):
    """Rows of sizes from 0.01 to 100, with a mean, a few of them nearly or wholly zero."""
    rows = rng.standard_normal((n, d)) * 10 ** rng.uniform(-2, 2, (n, 1)) + rng.standard_normal((n, 1))
    rows[1] = 0.0
    rows[2] *= 1e-6
    return rows.astype(np.float32)


@pytest.fixture(params=MODELS, ids=str)
def head(request):
    return random_head(np.random.default_rng(7), d=48, vocabulary=2003, **MODELS[request.param])


def test_full_vectors(head):
    rng = np.random.default_rng(1)
    rows = rows_of(rng, 5000, 48) if head.kind != "none" else rng.standard_normal((5000, 48), dtype=np.float32)
    tokens = random_tokens(rng, 5000, 2003)
    check(lens_of(head).project(rows, tokens), head, rows, tokens)


def test_vectors_through_a_circuit(head):
    rng = np.random.default_rng(2)
    rows = rows_of(rng, 5000, 12) if head.kind != "none" else rng.standard_normal((5000, 12), dtype=np.float32)
    circuit = (rng.standard_normal((12, 48)) * 0.3 + 0.1).astype(np.float32)
    tokens = random_tokens(rng, 5000, 2003)
    whole = rows.astype(np.float64) @ circuit.astype(np.float64)
    check(lens_of(head).project_through(rows, circuit, tokens), head, whole, tokens)


def test_few_vectors_through_a_circuit(head):
    rng = np.random.default_rng(3)
    rows, circuit = rng.standard_normal((5, 12), dtype=np.float32), rng.standard_normal((12, 48), dtype=np.float32)
    tokens = random_tokens(rng, 5, 2003)
    whole = rows.astype(np.float64) @ circuit.astype(np.float64)
    check(lens_of(head).project_through(rows, circuit, tokens), head, whole, tokens)


def test_a_constant_goes_in_as_one_more_row_of_the_circuit(head):
    rng = np.random.default_rng(4)
    rows, circuit = rng.standard_normal((200, 13), dtype=np.float32), rng.standard_normal((13, 48), dtype=np.float32)
    rows[:, 12] = 1.0
    tokens = random_tokens(rng, 200, 2003)
    whole = rows[:, :12].astype(np.float64) @ circuit[:12].astype(np.float64) + circuit[12]
    check(lens_of(head).project_through(rows, circuit, tokens), head, whole, tokens)


def test_static_vectors_and_their_negatives(head):
    rng = np.random.default_rng(5)
    rows = rows_of(rng, 5000, 48) if head.kind != "none" else rng.standard_normal((5000, 48), dtype=np.float32)
    found = lens_of(head).project_static(rows)
    none = np.full((5000, 2), -1)
    up = lens_of(head).project(rows, none)
    check(up, head, rows, none)
    logits, negative = head.logits(rows), head.logits(-rows)
    assert same_order(found.top_ids, logits, top(logits, 50))
    assert same_order(found.bottom_ids, negative, top(negative, 50))
    np.testing.assert_allclose(found.entropy, up.entropy, atol=1e-5)
    np.testing.assert_allclose(found.top_probs, up.top_probs, rtol=1e-5)
    assert lens_of(head).project_static(rows[:9], k=10).bottom_ids.tolist() == found.bottom_ids[:9, :10].tolist()


@pytest.mark.parametrize("n_tokens", [1, 100, 700])
def test_ranks_of_many_tokens_in_static_vectors(head, n_tokens):
    rng = np.random.default_rng(6)
    n = 5000 if n_tokens == 1 else 500
    rows = rows_of(rng, n, 48) if head.kind != "none" else rng.standard_normal((n, 48), dtype=np.float32)
    ids = rng.integers(0, 2003, n_tokens)
    up, down = lens_of(head).ranks_of(rows, ids)
    asked = np.tile(ids, (n, 1))
    assert np.array_equal(up, ranks(head.logits(rows), asked))
    assert np.array_equal(down, ranks(head.logits(-rows), asked))


def test_a_large_vocabulary_in_several_tiles():
    rng = np.random.default_rng(8)
    head = random_head(rng, "layer", 64, 50_257, bias=True, size=1.5)
    rows, tokens = rows_of(rng, 600, 64), random_tokens(rng, 600, 50_257)
    lens = lens_of(head)
    for part in np.split(np.arange(600), 3):
        check(lens.project(rows[part], tokens[part]), head, rows[part], tokens[part])
    circuit = rng.standard_normal((16, 64), dtype=np.float32)
    narrow = rows[:200, :16].copy()
    whole = narrow.astype(np.float64) @ circuit.astype(np.float64)
    check(lens.project_through(narrow, circuit, tokens[:200]), head, whole, tokens[:200])
    ids = rng.integers(0, 50_257, 90)
    up, down = lens.ranks_of(rows[:100], ids)
    assert np.array_equal(up, ranks(head.logits(rows[:100]), np.tile(ids, (100, 1))))
    assert np.array_equal(down, ranks(head.logits(-rows[:100]), np.tile(ids, (100, 1))))


def test_close_calls_are_decided_in_float64():
    """Tokens in pairs that differ by less than float32 can tell: their order is that of float64."""
    rng = np.random.default_rng(9)
    table = rng.standard_normal((1500, 32)).astype(np.float32) / np.float32(6)
    twins = np.nextafter(table, np.float32(1))
    head = random_head(rng, "layer", 32, 3000)
    head = type(head)(head.kind, head.weight, head.shift, head.eps, np.concatenate([table, twins]).T)
    tokens = rng.integers(0, 3000, (5000, 2))
    rows = rng.standard_normal((5000, 32), dtype=np.float32)
    rows[:2500] += 5 * head.unembedding.T[tokens[:2500, 0]]  # along a token, where float32 is at its worst
    lens = lens_of(head)
    found = lens.project(rows, tokens)
    check(found, head, rows, tokens)
    logits = head.logits(rows)
    assert same_order(found.top_ids, logits, top(logits, 50), tie=1e-13)
    up, down = lens.ranks_of(rows[:300], tokens[:150, 0])
    assert np.array_equal(up, ranks(logits[:300], np.tile(tokens[:150, 0], (300, 1))))
    assert np.array_equal(down, ranks(head.logits(-rows[:300]), np.tile(tokens[:150, 0], (300, 1))))
