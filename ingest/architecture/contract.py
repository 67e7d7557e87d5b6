"""The contract: what must hold between a description, its matrices and the model's own numbers.

Run at load on one short prompt, at every position. A description that leads to a wrong number
anywhere in the graph breaks one of these identities, so such a model never loads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from flowatlas.errors import ModelError
from ingest.architecture.decoder import Array, Decoder, Forward, ForwardLayer, LayerWeights, Norm
from ingest.architecture.description import GUIDE
from ingest.architecture.parts import Parts
from ingest.architecture.weights import HeadShape, finished, key_norm, layer_biases, query_norm
from ingest.capture.attention import INTERFACE
from ingest.capture.forward import Pass, forwards, run

TOLERANCE: Final = 1e-4
_TOKENS: Final = 7


@dataclass(frozen=True)
class Finding:
    """One identity at one place: `error` is relative to the largest number expected."""

    invariant: str
    layer: int | None
    error: float


@dataclass(frozen=True)
class Report:
    """What the contract found on its prompt."""

    findings: tuple[Finding, ...]

    def largest(self) -> dict[str, float]:
        """The largest relative error of every invariant."""
        largest: dict[str, float] = {}
        for finding in self.findings:
            largest[finding.invariant] = max(finding.error, largest.get(finding.invariant, 0.0))
        return largest


def check(parts: Parts, decoder: Decoder, shape: HeadShape) -> Report:
    """Hold the contract on one short prompt. Raises ModelError naming the part that fails."""
    tokens = contract_prompt(decoder)
    findings = []
    for finding in _findings(parts, decoder, shape, run(parts, decoder, [tokens], "all"), tokens):
        if not finding.error <= TOLERANCE:
            raise broken(finding)
        findings.append(finding)
    return Report(tuple(findings))


def contract_prompt(decoder: Decoder) -> list[int]:
    """Token ids spread over the vocabulary, no two alike where it is large enough."""
    length = min(_TOKENS, decoder.n_context)
    return [int(token) for token in np.linspace(1, decoder.vocab_size - 1, length).astype(int)]


_EXPECTED: Final = {
    "embeddings": "token embedding + position embedding = the residual that enters layer 0",
    "attention norm": "the described norm of the residual = what the attention reads",
    "query": "attention norm * W_Q (+ bias, qk-norm) = the queries that attention works on, at position 0 and in length",
    "key": "attention norm * W_K (+ bias, qk-norm) = the keys that attention works on, at position 0 and in length",
    "value": "attention norm * W_V (+ bias) = the values",
    "attention rows": "softmax of the logits = the probabilities, and every row sums to 1",
    "causal mask": "no position attends to a later one",
    "heads": "attention * values = heads",
    "attention output": "heads * W_O + bias = attention output",
    "attention post-norm": "the described norm of what it gets = the attention's post-norm",
    "residual after attention": "residual + attention = the residual between attention and MLP",
    "mlp norm": "the described norm of the residual = what the MLP reads",
    "mlp gate": "mlp norm * key (+ bias) = the coefficients before the nonlinearity",
    "mlp up": "mlp norm * up (+ bias) = the up-projection",
    "mlp coefficients": "activation(gate) (* up, router) = the coefficients after the nonlinearity",
    "mlp output": "coefficients * values + bias = MLP output",
    "mlp post-norm": "the described norm of what it gets = the MLP's post-norm",
    "residual": "residual + attention + MLP = the residual after the layer",
    "final norm": "the described norm of the last residual = what the unembedding reads",
    "logits": "final norm * unembedding (+ bias, scale, softcap) = the model's logits",
    "contributions": "what every part adds, through the frozen final norm = the logit of the predicted token",
    "own attention": "the logits with the captured attention = those with the model's own",
}


def broken(finding: Finding) -> ModelError:
    """The error for an identity that does not hold."""
    where = "" if finding.layer is None else f" in layer {finding.layer}"
    return ModelError(
        f"The description does not fit the model: '{finding.invariant}' is off by {finding.error:.2g}{where} "
        f"(relative; at most {TOLERANCE:g} is allowed).",
        known=f"Expected: {_EXPECTED[finding.invariant]}.",
        next_step=f"Correct the family's file in model_configs; {GUIDE} says what each field means.",
    )


def _error(found: Array, expected: Array) -> float:
    """The largest difference, relative to the largest number expected."""
    if found.shape != expected.shape:
        return float("inf")
    scale = float(np.abs(expected).max(initial=0.0)) or 1.0
    error = float(np.abs(found.astype(np.float64) - expected).max(initial=0.0)) / scale
    return error if np.isfinite(error) else float("inf")


def _findings(parts: Parts, decoder: Decoder, shape: HeadShape, done: Pass, tokens: list[int]) -> Iterator[Finding]:
    forward = forwards(parts, decoder, shape, done)[0]
    yield Finding("embeddings", None, _embedding_error(forward))
    residual = forward.embedding
    factors = _rotary_factors(parts)
    for index, layer in enumerate(forward.layers):
        yield Finding("query", index, _met_error(done, index, "met_query", layer.query, factors))
        yield Finding("key", index, _met_error(done, index, "met_key", layer.key, factors))
        for name, error in _layer_errors(parts, decoder, shape, index, residual, layer):
            yield Finding(name, index, error)
        residual = layer.residual_post
        if decoder.residual_norm and layer.mlp_post_norm is not None:
            residual = layer.mlp_post_norm
    final = decoder.final_norm(residual) if decoder.final_norm is not None else residual
    yield Finding("final norm", None, _error(forward.final_norm, final))
    yield Finding("logits", None, _error(forward.logits, logits(decoder, forward.final_norm)))
    yield Finding("contributions", None, _contribution_error(decoder, forward))
    yield Finding("own attention", None, _error(forward.logits, _own_logits(parts, tokens)))


def _embedding_error(forward: Forward) -> float:
    parts = [part for part in (forward.token_embedding, forward.position_embedding) if part is not None]
    if any(part.shape != forward.embedding.shape for part in parts):
        return float("inf")
    return _error(forward.embedding, np.sum(parts, axis=0))


def logits(decoder: Decoder, final: Array) -> Array:
    """The logits of rows after the final norm."""
    raw: Array = final @ decoder.unembedding
    if decoder.unembedding_bias is not None:
        raw = raw + decoder.unembedding_bias
    raw = raw * np.float32(decoder.logit_scale)
    if decoder.softcap is not None:
        raw = np.float32(decoder.softcap) * np.tanh(raw / np.float32(decoder.softcap))
    return raw


def _contribution_error(decoder: Decoder, forward: Forward) -> float:
    """How far the direct effects of embeddings and branches are from the logit of the predicted token.

    In a post-norm model only the last MLP and what enters it reach the final norm linearly.
    """
    rows = np.arange(len(forward.logits))
    raw = forward.final_norm @ decoder.unembedding
    token = raw.argmax(-1)
    direction = decoder.unembedding.T[token]
    found, constant = raw[rows, token], np.zeros(len(rows), dtype=np.float32)
    last = forward.layers[-1].residual_post
    if decoder.final_norm is not None:
        if decoder.final_norm.bias is not None:
            constant = direction @ decoder.final_norm.bias
        direction = decoder.final_norm.pull_back(direction, decoder.final_norm.scale(last))
    additions = list(_additions(decoder, forward))
    effects = np.stack([(addition * direction).sum(-1) for addition in additions])
    scale = max(float(np.abs(effects).max()), float(np.abs(found).max())) or 1.0
    return float(np.abs(effects.sum(0) + constant - found).max()) / scale


def _additions(decoder: Decoder, forward: Forward) -> Iterator[Array]:
    """What is added to the last residual, part by part."""
    if decoder.residual_norm:
        last = forward.layers[-1]
        yield _present(last.attention_post_norm)
        yield last.mlp_output * np.float32(decoder.residual_multiplier)
        return
    yield forward.token_embedding
    if forward.position_embedding is not None:
        yield forward.position_embedding
    for layer in forward.layers:
        yield _branch(layer.attention_post_norm, layer.attention_output) * np.float32(decoder.residual_multiplier)
        yield _branch(layer.mlp_post_norm, layer.mlp_output) * np.float32(decoder.residual_multiplier)


def _rotary_factors(parts: Parts) -> list[float]:
    """1 and what long-context rotary positions multiply queries and keys with."""
    found = {1.0}
    for module in parts.model.modules():
        for name, value in vars(module).items():
            if name.endswith("attention_scaling") and isinstance(value, int | float):
                found.add(float(value))
    return sorted(found)


def _met_error(done: Pass, layer: int, name: str, rows: Array, factors: list[float]) -> float:
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
    lengths = _error(np.linalg.norm(met, axis=-1), np.linalg.norm(own, axis=-1) * abs(common))
    return max(_error(met[0], own[0] * common), lengths) if common > 0.0 else float("inf")


def _own_logits(parts: Parts, tokens: list[int]) -> Array:
    """The logits without hooks, and with the model's own attention where ours was captured."""
    through_interface = parts.description.attention.capture == "interface"
    if through_interface:
        parts.model.set_attn_implementation("eager")
    try:
        with torch.inference_mode():
            own: Array = parts.model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0].float().numpy()
    finally:
        if through_interface:
            parts.model.set_attn_implementation(INTERFACE)
    return own


def _layer_errors(
    parts: Parts, decoder: Decoder, shape: HeadShape, index: int, residual: Array, layer: ForwardLayer
) -> Iterator[tuple[str, float]]:
    weights = decoder.layer(index)
    yield "attention norm", _error(layer.attention_norm, _normed(weights.attention_norm, residual))
    yield from _attention_errors(parts, shape, index, weights, layer)
    attention = layer.attention_output
    if weights.attention_post_norm is not None:
        attention = _branch(layer.attention_post_norm, attention)
    added = attention if not decoder.residual_norm else layer.attention_output
    mid = residual + added * np.float32(decoder.residual_multiplier)
    if weights.attention_post_norm is not None:
        normed = weights.attention_post_norm(mid if decoder.residual_norm else layer.attention_output)
        yield "attention post-norm", _error(_present(layer.attention_post_norm), normed)
    if decoder.parallel:
        mlp_in = residual
    else:
        yield "residual after attention", _error(_present(layer.residual_mid), mid)
        mlp_in = _present(layer.attention_post_norm) if decoder.residual_norm else mid
    yield "mlp norm", _error(layer.mlp_norm, _normed(weights.mlp_norm, mlp_in))
    yield from _mlp_errors(parts, shape, index, weights, layer)
    output = layer.mlp_output
    if weights.mlp_post_norm is not None:
        normed = weights.mlp_post_norm(layer.residual_post if decoder.residual_norm else output)
        yield "mlp post-norm", _error(_present(layer.mlp_post_norm), normed)
        output = output if decoder.residual_norm else _present(layer.mlp_post_norm)
    base = mid if not decoder.residual_norm else mlp_in
    yield "residual", _error(layer.residual_post, base + output * np.float32(decoder.residual_multiplier))


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
        yield name, _error(found, finished(parts, rows, over))
    length = layer.attention.shape[-1]
    logits_ = layer.attention_logits.astype(np.float64)
    exponentials = np.exp(logits_ - logits_.max(-1, keepdims=True))
    rows_error = _error(layer.attention.sum(-1), np.ones(layer.attention.shape[:2]))
    softmax_error = _error(layer.attention, exponentials / exponentials.sum(-1, keepdims=True))
    yield "attention rows", max(rows_error, softmax_error)
    later = np.triu(np.ones((length, length), dtype=bool), 1)[:, None, :]
    yield "causal mask", float(np.abs(layer.attention * later).max(initial=0.0))
    groups = shape.n_head // shape.n_kv_head
    values = np.repeat(layer.value, groups, axis=1)
    yield "heads", _error(layer.head, np.einsum("pht,thd->phd", layer.attention, values))
    output = np.einsum("phd,hde->pe", layer.head, weights.w_o)
    yield "attention output", _error(layer.attention_output, output + (0 if weights.b_o is None else weights.b_o))


def _mlp_errors(
    parts: Parts, shape: HeadShape, index: int, weights: LayerWeights, layer: ForwardLayer
) -> Iterator[tuple[str, float]]:
    biases = layer_biases(parts, shape, index)
    if layer.neuron is None:
        gate = layer.mlp_norm @ weights.mlp_key.T + (0 if biases.mlp_key is None else biases.mlp_key)
        yield "mlp gate", _error(layer.mlp_gate, gate)
        if weights.mlp_up is not None:
            up = layer.mlp_norm @ weights.mlp_up.T + (0 if biases.mlp_up is None else biases.mlp_up)
            yield "mlp up", _error(_present(layer.mlp_up), up)
        output = layer.mlp_coefficient @ weights.mlp_value
    else:
        output = np.einsum("pf,pfd->pd", layer.mlp_coefficient, weights.mlp_value[layer.neuron])
    activation = parts.layers[index].mlp_activation
    with torch.inference_mode():
        coefficient = activation(torch.from_numpy(np.ascontiguousarray(layer.mlp_gate))).numpy()
    for factor in (layer.mlp_up, layer.router):
        coefficient = coefficient if factor is None else coefficient * factor
    yield "mlp coefficients", _error(layer.mlp_coefficient, coefficient)
    yield "mlp output", _error(layer.mlp_output, output + (0 if weights.mlp_bias is None else weights.mlp_bias))


def _normed(norm: Norm | None, rows: Array) -> Array:
    return rows if norm is None else norm(rows)


def _branch(normed: Array | None, raw: Array) -> Array:
    return raw if normed is None else normed


def _present(rows: Array | None) -> Array:
    """The rows, or no rows at all, which fit nothing."""
    return np.empty((0,), dtype=np.float32) if rows is None else rows
