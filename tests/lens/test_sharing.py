"""Rows that occur several times are projected once, and say what each of their owners asked."""

import numpy as np

from ingest.architecture.decoder import Norm
from ingest.lens.lens import LogitLens
from ingest.lens.sharing import share
from support.lens_reference import check, random_head, random_tokens, ranks


def test_distinct_rows_hold_every_question():
    rows = np.array([[1, 2], [3, 4], [1, 2], [1, 2], [5, 6]], np.float32)
    tokens = np.array([[7, 8], [9, -1], [7, 3], [-1, -1], [2, 2]])
    found = share(rows, tokens)
    assert len(found.rows) == 3
    assert np.array_equal(found.rows[found.row], rows)
    assert np.array_equal(np.take_along_axis(found.tokens[found.row], found.slot, axis=1), tokens)


def test_nothing_is_shared_where_all_rows_differ():
    rows, tokens = np.eye(4, dtype=np.float32), np.array([[1, -1]] * 4)
    found = share(rows, tokens)
    assert found.rows is rows
    assert found.tokens is tokens


def test_prompts_with_a_common_beginning():
    """40 prompts share 3 of 5 rows; each has a target of its own, and each row a third token."""
    rng = np.random.default_rng(0)
    head = random_head(rng, "layer", 24, 3000, bias=True)
    common = rng.standard_normal((3, 24), dtype=np.float32)
    rows = np.concatenate([np.concatenate([common, rng.standard_normal((2, 24), dtype=np.float32)]) for _ in range(40)])
    tokens = np.column_stack([np.repeat(random_tokens(rng, 40, 3000), 5, axis=0), rng.integers(-1, 3000, 200)])
    lens = LogitLens(Norm("layer", head.weight, head.shift, 1e-5), head.unembedding, head.bias)
    found = lens.project(rows, tokens)
    check(found, head, rows, tokens)
    logits = head.logits(rows)
    np.testing.assert_array_equal(found.source_rank, ranks(logits, tokens)[:, 2])
    own = np.take_along_axis(head.probabilities(logits), np.maximum(tokens[:, [2]], 0), axis=1)[:, 0]
    np.testing.assert_allclose(found.source_prob, np.where(tokens[:, 2] < 0, np.nan, own), rtol=1e-5)
    circuit, narrow = rng.standard_normal((6, 24), dtype=np.float32), rows[:, :6].copy()
    whole = narrow.astype(np.float64) @ circuit.astype(np.float64)
    check(lens.project_through(narrow, circuit, tokens), head, whole, tokens)
