"""Factors kept in memory and on disk give the numbers of new ones, and no more space than allowed."""

from dataclasses import fields

import numpy as np
import pytest

from ingest.architecture.decoder import Norm
from ingest.lens import factors
from ingest.lens.lens import LogitLens
from ingest.lens.projection import Projection

D, HEADS, D_HEAD, VOCABULARY = 32, 3, 8, 900
SIZE = 4 * (D_HEAD + 1) * VOCABULARY


@pytest.fixture
def model():
    rng = np.random.default_rng(0)
    norm = Norm("layer", rng.standard_normal(D, dtype=np.float32), rng.standard_normal(D, dtype=np.float32), 1e-5)
    return norm, rng.standard_normal((D, VOCABULARY), dtype=np.float32)


@pytest.fixture
def heads():
    rng = np.random.default_rng(1)
    rows = [rng.standard_normal((n, D_HEAD), dtype=np.float32) for n in (200, 90, 3)]
    circuits = list(rng.standard_normal((HEADS, D_HEAD, D), dtype=np.float32))
    tokens = [rng.integers(0, VOCABULARY, (len(part), 2)) for part in rows]
    return rows, circuits, tokens


def assert_equal(left, right):
    for one, other in zip(left, right, strict=True):
        for part in fields(Projection):
            np.testing.assert_allclose(getattr(one, part.name), getattr(other, part.name), rtol=1e-5, atol=1e-5)


def test_heads_together_are_heads_alone(model, heads):
    lens = LogitLens(*model)
    rows, circuits, tokens = heads
    together = lens.project_heads(rows, circuits, tokens)
    assert_equal(together, [lens.project_through(*head) for head in zip(rows, circuits, tokens, strict=True)])
    whole = [(part @ circuit).astype(np.float32) for part, circuit in zip(rows, circuits, strict=True)]
    for one, part, pairs in zip(together, whole, tokens, strict=True):
        np.testing.assert_allclose(one.entropy, lens.project(part, pairs).entropy, atol=1e-4)


def test_kept_in_memory(model, heads):
    rows, circuits, tokens = heads
    lens = LogitLens(*model)
    first = lens.project_through(rows[0], circuits[0], tokens[0], name="value-0-0")
    again = lens.project_through(rows[0], circuits[0], tokens[0], name="value-0-0")
    assert_equal([first], [again])
    other = lens.project_through(rows[0], circuits[1], tokens[0], name="value-0-1")
    assert not np.array_equal(first.top_ids, other.top_ids)


def test_kept_on_disk_within_the_allowed_space(model, heads, tmp_path, monkeypatch):
    monkeypatch.setattr(factors, "MEMORY_BYTES", 0)
    rows, circuits, tokens = heads
    names = ["value-0-0", "value-0-1", None]
    folder = tmp_path / "factors"
    expected = LogitLens(*model).project_heads(rows, circuits, tokens)

    def lens():
        return LogitLens(*model, cache=folder, cache_bytes=2 * SIZE - 1)

    assert_equal(expected, lens().project_heads(rows, circuits, tokens, names=names))
    assert [file.name for file in folder.iterdir()] == ["value-0-0.npy"]  # the second has no room
    kept = folder / "value-0-0.npy"
    written = kept.stat().st_mtime_ns
    assert_equal(expected, lens().project_heads(rows, circuits, tokens, names=names))
    assert kept.stat().st_mtime_ns == written
    kept.write_bytes(kept.read_bytes()[:-1000])  # a machine that stopped while writing
    assert_equal(expected, lens().project_heads(rows, circuits, tokens, names=names))
    kept.write_bytes(b"")
    assert_equal(expected, lens().project_heads(rows, circuits, tokens, names=names))


def test_nothing_is_written_without_a_folder(model, heads, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(factors, "MEMORY_BYTES", 0)
    rows, circuits, tokens = heads
    LogitLens(*model).project_heads(rows, circuits, tokens, names=["value-0-0", "value-0-1", "value-0-2"])
    assert not list(tmp_path.iterdir())
