"""The torch path gives the numbers of the definition: with torch on the CPU always, on a GPU where there is one."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from flowatlas.errors import UsageError
from ingest.architecture.decoder import Norm
from ingest.lens.lens import LogitLens
from ingest.lens.on_device import DeviceTallies, choose_device
from support.lens_reference import check, random_head, random_tokens, ranks, same_order, top

DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
MODELS = {
    "layer norm, biases": {"kind": "layer", "bias": True},
    "RMS norm, softcap, scale": {"kind": "rms", "softcap": 4.0, "logit_scale": 0.5, "size": 4.0},
    "no norm, bias": {"kind": "none", "bias": True},
}


def lens_on(device, head):
    norm = None if head.kind == "none" else Norm(head.kind, head.weight, head.shift, head.eps)
    lens = LogitLens(norm, head.unembedding, head.bias, logit_scale=head.logit_scale, softcap=head.softcap)
    lens._on_device = DeviceTallies(lens._unembedding, device)
    lens._on_device.chunk_rows = 250
    return lens


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("model", MODELS)
def test_same_numbers(device, model):
    rng = np.random.default_rng(1)
    head = random_head(rng, d=32, vocabulary=2003, **MODELS[model])
    lens = lens_on(device, head)
    rows, tokens = rng.standard_normal((600, 32), dtype=np.float32), random_tokens(rng, 600, 2003)
    check(lens.project(rows, tokens), head, rows, tokens)
    circuit, narrow = rng.standard_normal((8, 32), dtype=np.float32), rows[:, :8].copy()
    whole = narrow.astype(np.float64) @ circuit.astype(np.float64)
    check(lens.project_through(narrow, circuit, tokens), head, whole, tokens)
    check(lens.project_through(narrow[:4], circuit, tokens[:4]), head, whole[:4], tokens[:4])
    check(lens.without_norm().project(rows, tokens), replace(head, kind="none"), rows, tokens)
    static = lens.project_static(rows)
    assert same_order(static.top_ids, head.logits(rows), top(head.logits(rows), 50))
    assert same_order(static.bottom_ids, head.logits(-rows), top(head.logits(-rows), 50))
    ids = rng.integers(0, 2003, 70)
    up, down = lens.ranks_of(rows, ids)
    assert np.array_equal(up, ranks(head.logits(rows), np.tile(ids, (600, 1))))
    assert np.array_equal(down, ranks(head.logits(-rows), np.tile(ids, (600, 1))))


@pytest.mark.parametrize("device", DEVICES)
def test_a_large_vocabulary_is_searched_by_blocks(device):
    rng = np.random.default_rng(7)
    head = random_head(rng, "rms", 24, 20_011, size=3.0)
    # Equal logits across blocks, in the last tokens too, which fill no block.
    head.unembedding[:, -3:] = head.unembedding[:, [5]] * np.array([1.0, 1.0, 2.0], np.float32)
    rows, tokens = rng.standard_normal((80, 24), dtype=np.float32), random_tokens(rng, 80, 20_011)
    rows[:20] = head.unembedding[:, [5]].T * rng.uniform(0.5, 2.0, (20, 1)).astype(np.float32)
    check(lens_on(device, head).project(rows, tokens), head, rows, tokens)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("vocabulary", [1, 5, 51, 64, 65, 300])
def test_small_vocabularies_and_ties(device, vocabulary):
    rng = np.random.default_rng(2)
    head = random_head(rng, "layer", 8, vocabulary)
    rows, tokens = rng.standard_normal((40, 8), dtype=np.float32), random_tokens(rng, 40, vocabulary)
    check(lens_on(device, head).project(rows, tokens), head, rows, tokens)
    equal = type(head)("layer", head.weight, None, 1e-5, np.tile(head.unembedding[:, :1], (1, vocabulary)))
    check(lens_on(device, equal).project(rows, tokens), equal, rows, tokens)
    copies = type(head)("layer", head.weight, None, 1e-5, np.tile(head.unembedding, (1, 40)))
    check(lens_on(device, copies).project(rows, tokens), copies, rows, tokens)
    for same in (equal, copies):
        found, _ = lens_on(device, same).ranks_of(rows, np.arange(vocabulary))
        assert np.array_equal(found, ranks(same.logits(rows), np.tile(np.arange(vocabulary), (40, 1))))


def test_cuda_is_used_where_it_is_and_refused_where_it_is_not():
    rng = np.random.default_rng(3)
    head = random_head(rng, "none", 8, 100)
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="no CUDA device"):
            LogitLens(None, head.unembedding, device="cuda")
    else:
        rows, tokens = rng.standard_normal((90, 8), dtype=np.float32), random_tokens(rng, 90, 100)
        lens = LogitLens(None, head.unembedding, device="cuda")
        assert lens.device == "cuda"
        check(lens.project(rows, tokens), head, rows, tokens)


def test_auto_takes_the_faster(monkeypatch):
    seconds = {"cpu": 2.0, "cuda": 1.0}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto", seconds.__getitem__) == "cuda"
    assert choose_device("auto", {"cpu": 1.0, "cuda": 2.0}.__getitem__) == "cpu"
    assert choose_device("cpu", {}.__getitem__) == "cpu"
    assert choose_device("cuda", {}.__getitem__) == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto", {}.__getitem__) == "cpu"


def test_auto_leaves_a_gpu_whose_memory_is_too_small(monkeypatch):
    def seconds(device):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto", seconds) == "cpu"


def test_auto_works_on_this_machine():
    rng = np.random.default_rng(4)
    head = random_head(rng, "rms", 8, 100)
    rows, tokens = rng.standard_normal((90, 8), dtype=np.float32), random_tokens(rng, 90, 100)
    lens = LogitLens(Norm("rms", head.weight, None, 1e-5), head.unembedding, device="auto")
    check(lens.project(rows, tokens), head, rows, tokens)
