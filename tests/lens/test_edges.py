"""Small vocabularies, equal logits, rows that nothing should depend on, and what is refused."""

import subprocess
import sys
import threading
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowatlas.errors import ModelError
from ingest.architecture.decoder import Norm
from ingest.lens.lens import LogitLens
from ingest.lens.projection import Projection
from support.lens_reference import check, random_head, random_tokens, ranks


def lens_of(head, **options):
    norm = None if head.kind == "none" else Norm(head.kind, head.weight, head.shift, head.eps)
    return LogitLens(norm, head.unembedding, head.bias, logit_scale=head.logit_scale, softcap=head.softcap, **options)


def assert_same(left, right):
    """Equal ids and ranks, floats to 1e-5."""
    for part in fields(Projection):
        one, other = getattr(left, part.name), getattr(right, part.name)
        if one.dtype.kind == "f":
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
        else:
            assert np.array_equal(one, other), part.name


def taken(projection, rows):
    return Projection(**{part.name: getattr(projection, part.name)[rows] for part in fields(Projection)})


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["layer", "rms", "none"]),
    d=st.integers(2, 9),
    vocabulary=st.sampled_from([1, 2, 5, 49, 50, 51, 130, 257, 700]),
    n=st.integers(0, 80),
    bias=st.booleans(),
    softcap=st.sampled_from([None, 2.0]),
    seed=st.integers(0, 2**31),
)
def test_any_small_shape(kind, d, vocabulary, n, bias, softcap, seed):
    rng = np.random.default_rng(seed)
    head = random_head(rng, kind, d, vocabulary, bias=bias, softcap=softcap)
    rows = rng.standard_normal((n, d), dtype=np.float32)
    tokens = rng.integers(-1, vocabulary, (n, 2))
    lens = lens_of(head, threads=2, chunk_rows=int(rng.integers(1, 50)))
    found = lens.project(rows, tokens)
    if n:
        check(found, head, rows, tokens)
    assert found.top_ids.shape == (n, min(50, vocabulary))
    ids = rng.integers(0, vocabulary, int(rng.integers(0, 9)))
    up, down = lens.ranks_of(rows, ids)
    assert up.shape == down.shape == (n, len(ids))
    if n and len(ids):
        assert np.array_equal(up, ranks(head.logits(rows), np.tile(ids, (n, 1))))
        assert np.array_equal(down, ranks(head.logits(-rows), np.tile(ids, (n, 1))))


def test_all_logits_equal():
    """Every token ranks first, the top ids are the lowest, the entropy is that of the vocabulary."""
    for vocabulary in (5, 300, 9000):
        lens = LogitLens(None, np.zeros((4, vocabulary), np.float32))
        tokens = np.array([[0, vocabulary - 1]] * 3)
        found = lens.project(np.ones((3, 4), np.float32), tokens)
        assert (found.target_rank == 1).all()
        assert (found.foil_rank == 1).all()
        assert (found.top_ids == np.arange(min(50, vocabulary))).all()
        np.testing.assert_allclose(found.entropy, np.log2(vocabulary), atol=1e-5)
        np.testing.assert_allclose(found.target_prob, 1 / vocabulary, rtol=1e-5)
        up, down = lens.ranks_of(np.ones((3, 4), np.float32), np.arange(min(5, vocabulary)))
        assert (up == 1).all()
        assert (down == 1).all()


def test_many_equal_tokens():
    """A thousand copies of a few tokens: more ties than the fast pass can hold."""
    rng = np.random.default_rng(0)
    head = random_head(rng, "layer", 16, 4)
    copies = np.tile(head.unembedding, (1, 1000))
    head = type(head)("layer", head.weight, None, 1e-5, copies)
    rows, tokens = rng.standard_normal((40, 16), dtype=np.float32), random_tokens(rng, 40, 4000)
    check(lens_of(head).project(rows, tokens), head, rows, tokens)
    up, down = lens_of(head).ranks_of(rows, tokens[1:9, 0])
    assert np.array_equal(up, ranks(head.logits(rows), np.tile(tokens[1:9, 0], (40, 1))))
    assert np.array_equal(down, ranks(head.logits(-rows), np.tile(tokens[1:9, 0], (40, 1))))


@pytest.mark.parametrize("direction", [1, -1])
def test_logits_that_only_rise_or_fall_along_the_vocabulary(direction):
    """Each tile beats, or none does, all that came before."""
    table = np.linspace(-300, 300, 12_000)[::direction, None] * np.ones((1, 2))
    head = random_head(np.random.default_rng(0), "none", 2, 2)
    head = type(head)("none", head.weight, None, 1e-5, table.T.astype(np.float32))
    rows = np.array([[0.5, 0.5], [0.01, 0.02], [-0.3, 0.1]], np.float32)
    tokens = np.array([[0, 11_999], [5000, -1], [11_950, 20]])
    check(lens_of(head).project(rows, tokens), head, rows, tokens, closeness=1e-3)


def test_nothing_depends_on_order_chunks_or_threads():
    rng = np.random.default_rng(1)
    head = random_head(rng, "layer", 24, 5000, bias=True)
    rows, tokens = rng.standard_normal((700, 24), dtype=np.float32), random_tokens(rng, 700, 5000)
    whole = lens_of(head, threads=1).project(rows, tokens)
    shuffled = rng.permutation(700)
    assert_same(
        taken(whole, shuffled), lens_of(head, threads=3, chunk_rows=37).project(rows[shuffled], tokens[shuffled])
    )
    for row in (0, 1, 699):
        assert_same(taken(whole, [row]), lens_of(head).project(rows[[row]], tokens[[row]]))
    circuit = rng.standard_normal((6, 24), dtype=np.float32)
    narrow = rows[:, :6].copy()
    factored = lens_of(head, threads=2).project_through(narrow, circuit, tokens)
    assert_same(taken(factored, slice(0, 60)), lens_of(head).project_through(narrow[:60], circuit, tokens[:60]))


def test_several_callers_at_once():
    rng = np.random.default_rng(2)
    head = random_head(rng, "rms", 16, 3000)
    lens = lens_of(head, threads=2, chunk_rows=64)
    rows, tokens = rng.standard_normal((300, 16), dtype=np.float32), random_tokens(rng, 300, 3000)
    expected = lens.project(rows, tokens)
    found = [None] * 6

    def call(number):
        found[number] = lens.project(rows, tokens)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for projection in found:
        assert_same(expected, projection)


def test_what_is_not_finite_is_refused():
    rng = np.random.default_rng(3)
    head = random_head(rng, "layer", 8, 40)
    lens, tokens = lens_of(head), np.full((2, 2), -1)
    for bad in (np.nan, np.inf):
        rows = np.ones((2, 8), np.float32)
        rows[1, 3] = bad
        for call in (
            lambda rows=rows: lens.project(rows, tokens),
            lambda rows=rows: lens.project_through(rows, np.eye(8, dtype=np.float32), tokens),
            lambda rows=rows: lens.project_static(rows),
            lambda rows=rows: lens.ranks_of(rows, np.array([1])),
        ):
            with pytest.raises(ModelError, match="1 of 2 vectors have values that are not finite"):
                call()
        weights = head.unembedding.copy()
        weights[0, 0] = bad
        with pytest.raises(ModelError, match="final unembedding of the model has values that are not finite"):
            LogitLens(None, weights)
        circuit = np.eye(8, dtype=np.float32)
        circuit[2, 2] = bad
        with pytest.raises(ModelError, match="not finite"):
            lens.project_through(np.ones((2, 8), np.float32), circuit, tokens)


def test_logits_that_overflow_are_refused():
    lens = LogitLens(None, np.full((2, 5), 1e20, np.float32))
    with pytest.raises(ModelError, match="overflow"):
        lens.project(np.full((1, 2), 1e19, np.float32), np.array([[0, -1]]))


def test_shapes_that_do_not_fit_are_refused():
    lens = LogitLens(None, np.ones((4, 9), np.float32))
    with pytest.raises(ModelError, match="rows of 4 numbers"):
        lens.project(np.ones((2, 3), np.float32), np.full((2, 2), -1))
    with pytest.raises(ModelError, match="two tokens each"):
        lens.project(np.ones((2, 4), np.float32), np.full((1, 2), -1))
    with pytest.raises(ModelError, match="outside the vocabulary of 9"):
        lens.project(np.ones((1, 4), np.float32), np.array([[9, -1]]))
    with pytest.raises(ModelError, match="outside the vocabulary of 9"):
        lens.ranks_of(np.ones((1, 4), np.float32), np.array([2, 9]))
    with pytest.raises(ModelError, match="A circuit of shape"):
        lens.project_through(np.ones((2, 3), np.float32), np.ones((2, 4), np.float32), np.full((2, 2), -1))
    with pytest.raises(ModelError, match="does not fit the unembedding"):
        LogitLens(None, np.ones((4, 9), np.float32), np.ones(8, np.float32))


def test_importing_the_lens_loads_no_compiler():
    code = "import sys, ingest.lens.lens; sys.exit('numba' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
