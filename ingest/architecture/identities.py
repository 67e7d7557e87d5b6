"""The identities of one layer, each as a relative error: what the matrices say against what the model did."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from ingest.architecture.decoder import Array, Decoder, ForwardLayer, LayerWeights, Norm
from ingest.architecture.description import NormDescription
from ingest.architecture.parts import Parts
from ingest.architecture.weights import HeadShape, finished, key_norm, layer_biases, query_norm
from ingest.architecture.weights import norm as numbers_of
from ingest.capture.forward import Pass


def relative_error(found: Array, expected: Array) -> float:
    """The largest difference, relative to the largest number expected."""
    if found.shape != expected.shape:
        return float("inf")
    scale = float(np.abs(expected).max(initial=0.0)) or 1.0
    error = float(np.abs(found.astype(np.float64) - expected).max(initial=0.0)) / scale
    return error if np.isfinite(error) else float("inf")


def layer_errors(
    parts: Parts, decoder: Decoder, shape: HeadShape, index: int, residual: Array, layer: ForwardLayer
) -> Iterator[tuple[str, float]]:
    weights = decoder.layer(index)
    yield "attention norm", relative_error(layer.attention_norm, _normed(weights.attention_norm, residual))
    yield from _attention_errors(parts, shape, index, weights, layer)
    attention = layer.attention_output
    if weights.attention_post_norm is not None:
        attention = branch(layer.attention_post_norm, attention)
    added = attention if not decoder.residual_norm else layer.attention_output
    mid = residual + added * np.float32(decoder.residual_multiplier)
    if weights.attention_post_norm is not None:
        normed = weights.attention_post_norm(mid if decoder.residual_norm else layer.attention_output)
        yield "attention post-norm", relative_error(present(layer.attention_post_norm), normed)
    if decoder.parallel:
        mlp_in = residual if weights.mlp_norm is not None else layer.attention_norm
    else:
        yield "residual after attention", relative_error(present(layer.residual_mid), mid)
        mlp_in = present(layer.attention_post_norm) if decoder.residual_norm else mid
    yield "mlp norm", relative_error(layer.mlp_norm, _normed(weights.mlp_norm, mlp_in))
    yield from _mlp_errors(parts, shape, index, weights, layer)
    output = layer.mlp_output
    if weights.mlp_post_norm is not None:
        normed = weights.mlp_post_norm(layer.residual_post if decoder.residual_norm else output)
        yield "mlp post-norm", relative_error(present(layer.mlp_post_norm), normed)
        output = output if decoder.residual_norm else present(layer.mlp_post_norm)
    base = mid if not decoder.residual_norm else mlp_in
    yield "residual", relative_error(layer.residual_post, base + output * np.float32(decoder.residual_multiplier))


def _attention_errors(
    parts: Parts, shape: HeadShape, index: int, weights: LayerWeights, layer: ForwardLayer
) -> Iterator[tuple[str, float]]:
    biases, modules = layer_biases(parts, shape, index), parts.layers[index]
    for name, w, b, over, found in (
        ("query", weights.w_q, biases.b_q, query_norm(parts, modules), layer.query),
        ("key", weights.w_k, biases.b_k, key_norm(parts, modules), layer.key),
        ("value", weights.w_v, biases.b_v, None, layer.value),
    ):
        rows = np.einsum("pd,hde->phe", layer.attention_norm, w) + (0 if b is None else b)
        yield name, relative_error(found, finished(parts, rows, over))
    length = layer.attention.shape[-1]
    logits_ = layer.attention_logits.astype(np.float64)
    exponentials = np.exp(logits_ - logits_.max(-1, keepdims=True))
    rows_error = relative_error(layer.attention.sum(-1), np.ones(layer.attention.shape[:2]))
    softmax_error = relative_error(layer.attention, exponentials / exponentials.sum(-1, keepdims=True))
    yield "attention rows", max(rows_error, softmax_error)
    later = np.triu(np.ones((length, length), dtype=bool), 1)[:, None, :]
    yield "causal mask", float(np.abs(layer.attention * later).max(initial=0.0))
    groups = shape.n_head // shape.n_kv_head
    values = np.repeat(layer.value, groups, axis=1)
    yield "heads", relative_error(layer.head, np.einsum("pht,thd->phd", layer.attention, values))
    output = np.einsum("phd,hde->pe", layer.head, weights.w_o)
    yield (
        "attention output",
        relative_error(layer.attention_output, output + (0 if weights.b_o is None else weights.b_o)),
    )


def _mlp_errors(
    parts: Parts, shape: HeadShape, index: int, weights: LayerWeights, layer: ForwardLayer
) -> Iterator[tuple[str, float]]:
    biases = layer_biases(parts, shape, index)
    if layer.neuron is None:
        gate = layer.mlp_norm @ weights.mlp_key.T + (0 if biases.mlp_key is None else biases.mlp_key)
        yield "mlp gate", relative_error(layer.mlp_gate, gate)
        if weights.mlp_up is not None:
            up = layer.mlp_norm @ weights.mlp_up.T + (0 if biases.mlp_up is None else biases.mlp_up)
            yield "mlp up", relative_error(present(layer.mlp_up), up)
        output = layer.mlp_coefficient @ weights.mlp_value
    else:
        output = np.einsum("pf,pfd->pd", layer.mlp_coefficient, weights.mlp_value[layer.neuron])
    activation = parts.layers[index].mlp_activation
    with torch.inference_mode():
        coefficient = activation(torch.from_numpy(np.ascontiguousarray(layer.mlp_gate))).numpy()
    for factor in (layer.mlp_up, layer.router):
        coefficient = coefficient if factor is None else coefficient * factor
    yield "mlp coefficients", relative_error(layer.mlp_coefficient, coefficient)
    yield "mlp output", relative_error(layer.mlp_output, output + (0 if weights.mlp_bias is None else weights.mlp_bias))


def _normed(norm: Norm | None, rows: Array) -> Array:
    return rows if norm is None else norm(rows)


def branch(normed: Array | None, raw: Array) -> Array:
    return raw if normed is None else normed


def present(rows: Array | None) -> Array:
    """The rows, or no rows at all, which fit nothing."""
    return np.empty((0,), dtype=np.float32) if rows is None else rows


def rotary_factors(parts: Parts) -> list[float]:
    """1 and what long-context rotary positions multiply queries and keys with."""
    found = {1.0}
    for module in parts.model.modules():
        for name, value in vars(module).items():
            if name.endswith("attention_scaling") and isinstance(value, int | float):
                found.add(float(value))
    return sorted(found)


def met_error(done: Pass, layer: int, name: str, rows: Array, factors: list[float]) -> float:
    """How far queries or keys are from those that attention met: at position 0, where a rotary turn is
    none, entry by entry, and elsewhere, where a turn keeps norms, by their norms.

    A family may fold attention's scale into its queries: one common factor is allowed.
    """
    met = done.recorder.rows_of(layer, name, 0)
    if met is None or met.shape[1] % rows.shape[1]:
        return float("inf")
    own = np.repeat(rows, met.shape[1] // rows.shape[1], axis=1)
    if met.shape != own.shape:
        return float("inf")
    if factors != [1.0]:
        nearest = np.min([np.abs(met[0] - factor * own[0]) for factor in factors], axis=0)
        return float(nearest.max()) / (float(np.abs(met[0]).max()) or 1.0)
    common = float((met[0] * own[0]).sum() / max(float((own[0] * own[0]).sum()), 1e-30))
    if common <= 0.0:
        common = 1.0
    lengths = relative_error(np.linalg.norm(met, axis=-1), np.linalg.norm(own, axis=-1) * common)
    return max(relative_error(met[0], own[0] * common), lengths)


def norm_errors(parts: Parts) -> Iterator[tuple[int | None, float]]:
    """Norms against their own modules on vectors so short that eps counts."""
    described = parts.description
    qk_norm = described.attention.qk_norm or described.norm
    yield None, _norm_error(parts.final_norm, described.norm)
    for index, layer in enumerate(parts.layers):
        for module in (layer.attention_norm, layer.attention_post_norm, layer.mlp_norm, layer.mlp_post_norm):
            yield index, _norm_error(module, described.norm)
        for module in (layer.query_norm, layer.key_norm):
            yield index, _norm_error(module, qk_norm)


def _norm_error(module: nn.Module | None, description: NormDescription) -> float:
    if isinstance(module, nn.ModuleList):
        return max((_norm_error(one, description) for one in module), default=0.0)
    norm = numbers_of(module, description, "norm")
    if norm is None or module is None:
        return 0.0
    rows = (1e-3 * np.sin(np.arange(3 * norm.weight.size))).reshape(3, *norm.weight.shape).astype(np.float32)
    with torch.inference_mode():
        expected = module(torch.from_numpy(rows)).numpy()
    return relative_error(norm(rows), expected)
