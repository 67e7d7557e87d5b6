"""Every family: what is captured against the model's own float64 pass, and batches against single prompts."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from ingest.architecture.decoder import Decoder, Forward, ForwardLayer
from ingest.architecture.load import LoadedModel, load_model
from support.models import SHAPES, random_model

Array = np.ndarray
PROMPTS = [[5, 6, 7, 8, 9, 250], [17, 2], [3, 299, 3, 3, 77, 21, 40, 8, 120, 121, 9]]


@pytest.fixture(scope="module", params=SHAPES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model(request.param, tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def loaded(folder: Path) -> LoadedModel:
    return load_model(str(folder))


@pytest.fixture(scope="module")
def forwards(loaded: LoadedModel) -> list[Forward]:
    return loaded.capture(PROMPTS, "all")


def error(found: Array, expected: Array) -> float:
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def test_residuals_and_logits_are_those_of_a_float64_pass(folder: Path, forwards: list[Forward]) -> None:
    """The reference runs transformers' own attention in float64, without hooks."""
    reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, experts_implementation="eager").eval()
    for tokens, forward in zip(PROMPTS, forwards, strict=True):
        with torch.inference_mode():
            out = reference(input_ids=torch.tensor([tokens]), output_hidden_states=True, use_cache=False)
        states = [state[0].numpy() for state in out.hidden_states]
        assert error(forward.embedding, states[0]) < 1e-5
        after = [layer.mlp_post_norm if _norms_residual(layer) else layer.residual_post for layer in forward.layers]
        for found, expected in zip(after[:-1], states[1:-1], strict=True):
            assert found is not None
            assert error(found, expected) < 1e-5
        assert error(forward.logits, out.logits[0].numpy()) < 1e-5


def _norms_residual(layer: ForwardLayer) -> bool:
    """Whether the next layer reads the norm of the residual (OPT-350m)."""
    return layer.mlp_post_norm is not None and np.array_equal(layer.mlp_norm, layer.attention_post_norm)


def test_the_sums_of_the_graph_hold_in_float64(loaded: LoadedModel, forwards: list[Forward]) -> None:
    decoder = loaded.decoder
    for forward in forwards:
        residual = _wide(forward.token_embedding)
        if forward.position_embedding is not None:
            residual = residual + forward.position_embedding
        for index, layer in enumerate(forward.layers):
            weights = decoder.layer(index)
            values = np.repeat(layer.value, decoder.n_head // decoder.n_kv_head, axis=1)
            heads = np.einsum("pht,thd->phd", _wide(layer.attention), values)
            assert error(layer.head, heads) < 1e-5
            attention = np.einsum("phd,hde->pe", heads, weights.w_o) + _or_zero(weights.b_o)
            assert error(layer.attention_output, attention) < 1e-4
            mlp = _written(layer, weights.mlp_value) + _or_zero(weights.mlp_bias)
            assert error(layer.mlp_output, mlp) < 1e-4
            residual = _through_layer(decoder, layer, residual, attention, mlp)
        assert decoder.final_norm is not None
        logits = decoder.final_norm(residual) @ decoder.unembedding + _or_zero(decoder.unembedding_bias)
        logits = logits * decoder.logit_scale
        if decoder.softcap:
            logits = decoder.softcap * np.tanh(logits / decoder.softcap)
        assert error(forward.logits, logits) < 1e-4


def _through_layer(decoder: Decoder, layer: ForwardLayer, residual: Array, attention: Array, mlp: Array) -> Array:
    """The residual after a layer, from nothing but its branches."""
    if decoder.residual_norm:
        assert layer.attention_post_norm is not None
        assert error(layer.residual_mid, residual + attention) < 1e-4  # type: ignore[arg-type]
        after = layer.attention_post_norm + mlp
        assert error(layer.residual_post, after) < 1e-4
        return after if layer.mlp_post_norm is None else _wide(layer.mlp_post_norm)
    added = attention if layer.attention_post_norm is None else layer.attention_post_norm
    more = mlp if layer.mlp_post_norm is None else layer.mlp_post_norm
    if layer.residual_mid is not None:
        assert error(layer.residual_mid, residual + decoder.residual_multiplier * added) < 1e-4
    assert (layer.residual_mid is None) == decoder.parallel
    return residual + decoder.residual_multiplier * (added + more)


def _written(layer: ForwardLayer, values: Array) -> Array:
    if layer.neuron is None:
        written: Array = _wide(layer.mlp_coefficient) @ values
        return written
    return np.einsum("pf,pfd->pd", _wide(layer.mlp_coefficient), values[layer.neuron])


def _wide(rows: Array) -> Array:
    return rows.astype(np.float64)


def _or_zero(bias: Array | None) -> Array:
    return np.zeros(1) if bias is None else bias


def test_attention_is_causal_and_sums_to_one(forwards: list[Forward]) -> None:
    for forward in forwards:
        length = len(forward.token_ids)
        for layer in forward.layers:
            assert np.abs(layer.attention.sum(-1) - 1).max() < 1e-5
            later = np.triu(np.ones((length, length), dtype=bool), 1)[:, None]
            assert not (layer.attention * later).any()
            assert np.isneginf(layer.attention_logits).any() or length == 1
            finite = np.where(np.isfinite(layer.attention_logits), layer.attention_logits, -1e9)
            weights = np.exp(finite - finite.max(-1, keepdims=True))
            assert np.abs(weights / weights.sum(-1, keepdims=True) - layer.attention).max() < 1e-5


def test_a_batch_gives_what_each_prompt_gives_alone(loaded: LoadedModel, forwards: list[Forward]) -> None:
    for tokens, together in zip(PROMPTS, forwards, strict=True):
        alone = loaded.capture([tokens], "all")[0]
        _assert_alike(together, alone, np.arange(len(tokens)))
    for tokens, last, whole in zip(PROMPTS, loaded.capture(PROMPTS, "last"), forwards, strict=True):
        assert last.positions.tolist() == [len(tokens) - 1]
        _assert_alike(last, whole, np.array([len(tokens) - 1]))


def _assert_alike(one: Forward, other: Forward, rows: Array) -> None:
    """`one` is `other` at its `rows` (1e-5, relative to the largest entry where that is above 1)."""
    for name in ("token_embedding", "position_embedding", "embedding", "final_norm", "logits"):
        _assert_close(getattr(one, name), getattr(other, name), rows)
    for mine, theirs in zip(one.layers, other.layers, strict=True):
        for field in fields(ForwardLayer):
            every = field.name in ("key", "value")
            _assert_close(getattr(mine, field.name), getattr(theirs, field.name), slice(None) if every else rows)


def _assert_close(one: Array | None, other: Array | None, rows: Array | slice) -> None:
    assert (one is None) == (other is None)
    if one is None or other is None:
        return
    other = other[rows]
    finite = np.isfinite(other)
    assert np.array_equal(np.isfinite(one), finite)
    scale = max(1.0, float(np.abs(other[finite]).max(initial=0)))
    assert np.abs(one[finite] - other[finite]).max(initial=0) <= 1e-5 * scale
