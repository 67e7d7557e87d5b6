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
from ingest.architecture.decoder import Array, Decoder, Forward
from ingest.architecture.description import GUIDE
from ingest.architecture.identities import (
    branch,
    layer_errors,
    met_error,
    norm_errors,
    present,
    relative_error,
    rotary_factors,
)
from ingest.architecture.parts import Parts
from ingest.architecture.weights import HeadShape
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

    @property
    def holds(self) -> bool:
        """Whether it is within the tolerance (an error that is no number is not)."""
        return self.error <= TOLERANCE


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
    held = []
    for finding in findings(parts, decoder, shape):
        if not finding.holds:
            raise broken(finding)
        held.append(finding)
    return Report(tuple(held))


def findings(parts: Parts, decoder: Decoder, shape: HeadShape) -> Iterator[Finding]:
    """Every identity on one short prompt, in the order of the forward pass."""
    tokens = contract_prompt(decoder)
    yield from _findings(parts, decoder, shape, run(parts, decoder, [tokens], "all"), tokens)


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
    "norms of small vectors": "each described norm = the model's, where its eps is felt",
    "contributions": "what every part adds, through the frozen final norm = the logit of the predicted token",
    "own attention": "the logits with the captured attention = those with the model's own",
}


def broken(finding: Finding) -> ModelError:
    """The error for an identity that does not hold."""
    where = "" if finding.layer is None else f" in layer {finding.layer}"
    off = f"off by {finding.error:.2g}" if finding.error < float("inf") else "of another shape, or not finite,"
    return ModelError(
        f"The description does not fit the model: '{finding.invariant}' is {off}{where} "
        f"(relative; at most {TOLERANCE:g} is allowed).",
        known=f"Expected: {_EXPECTED[finding.invariant]}.",
        next_step=f"Correct the family's file in model_configs; {GUIDE} says what each field means.",
    )


def _findings(parts: Parts, decoder: Decoder, shape: HeadShape, done: Pass, tokens: list[int]) -> Iterator[Finding]:
    forward = forwards(parts, decoder, shape, done)[0]
    yield Finding("embeddings", None, _embedding_error(forward))
    residual = forward.embedding
    factors = rotary_factors(parts)
    for index, layer in enumerate(forward.layers):
        yield Finding("query", index, met_error(done, index, "met_query", layer.query, factors))
        yield Finding("key", index, met_error(done, index, "met_key", layer.key, factors))
        for name, error in layer_errors(parts, decoder, shape, index, residual, layer):
            yield Finding(name, index, error)
        residual = layer.residual_post
        if decoder.residual_norm and layer.mlp_post_norm is not None:
            residual = layer.mlp_post_norm
    final = decoder.final_norm(residual) if decoder.final_norm is not None else residual
    yield Finding("final norm", None, relative_error(forward.final_norm, final))
    yield Finding("logits", None, relative_error(forward.logits, logits(decoder, forward.final_norm)))
    for place, error in norm_errors(parts):
        yield Finding("norms of small vectors", place, error)
    yield Finding("contributions", None, _contribution_error(decoder, forward))
    yield Finding("own attention", None, relative_error(forward.logits, _own_logits(parts, tokens)))


def _embedding_error(forward: Forward) -> float:
    parts = [part for part in (forward.token_embedding, forward.position_embedding) if part is not None]
    if any(part.shape != forward.embedding.shape for part in parts):
        return float("inf")
    return relative_error(forward.embedding, np.sum(parts, axis=0))


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
        yield present(last.attention_post_norm)
        yield last.mlp_output * np.float32(decoder.residual_multiplier)
        return
    yield forward.token_embedding
    if forward.position_embedding is not None:
        yield forward.position_embedding
    for layer in forward.layers:
        yield branch(layer.attention_post_norm, layer.attention_output) * np.float32(decoder.residual_multiplier)
        yield branch(layer.mlp_post_norm, layer.mlp_output) * np.float32(decoder.residual_multiplier)


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
