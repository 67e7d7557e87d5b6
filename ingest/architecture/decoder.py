"""A decoder as plain matrices, whatever family it came from.

Row vectors throughout: y = x W + b. Grouped heads, fused projections, Conv1D and transposed Linear
weights are resolved before they get here, so nothing after this module knows a family's name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

Array = np.ndarray


@dataclass(frozen=True)
class Norm:
    """Layer norm or RMS norm over the last axis; an offset (Gemma's 1 + w) is already in `weight`."""

    kind: Literal["layer", "rms"]
    weight: Float[Array, " d"]
    bias: Float[Array, " d"] | None
    eps: float

    def centred(self, rows: Float[Array, "n d"]) -> Float[Array, "n d"]:
        """`rows` less their mean (layer norm) or as they are (RMS norm)."""
        return rows - rows.mean(-1, keepdims=True) if self.kind == "layer" else rows

    def scale(self, rows: Float[Array, "n d"]) -> Float[Array, "n 1"]:
        """1 / sigma of every row."""
        centred = self.centred(rows)
        scale: Array = 1.0 / np.sqrt((centred**2).mean(-1, keepdims=True) + self.eps)
        return scale

    def __call__(self, rows: Float[Array, "n d"]) -> Float[Array, "n d"]:
        """The normalized rows."""
        normalized: Array = self.centred(rows) * self.scale(rows) * self.weight
        return normalized if self.bias is None else normalized + self.bias

    def pull_back(self, direction: Float[Array, "*n d"], scale: Float[Array, "*n 1"]) -> Float[Array, "*n d"]:
        """The direction before the norm whose product with a row is that of `direction` after it.

        The norm's scale is frozen at `scale`, its bias left out (it is a constant).
        """
        pulled: Array = direction * self.weight * scale
        return pulled - pulled.mean(-1, keepdims=True) if self.kind == "layer" else pulled


@dataclass(frozen=True)
class LayerWeights:
    """One layer. n_head query heads share n_kv_head key/value heads: head h uses h // (n_head // n_kv_head).

    `key_norm` and `query_norm` are per-head weights of a norm on keys and queries (before the rotary
    turn), None where there is none. In a parallel block without an `mlp_norm` the MLP reads what attention
    reads. In an MLP of experts the neuron axis runs over (expert, index).
    """

    attention_norm: Norm | None
    w_q: Float[Array, "n_head d_model d_head"]
    w_k: Float[Array, "n_kv_head d_model d_head"]
    w_v: Float[Array, "n_kv_head d_model d_head"]
    w_o: Float[Array, "n_head d_head d_model"]
    b_o: Float[Array, " d_model"] | None
    query_norm: Float[Array, "n_head d_head"] | None
    key_norm: Float[Array, "n_kv_head d_head"] | None
    attention_post_norm: Norm | None
    mlp_norm: Norm | None
    mlp_key: Float[Array, "n_neuron d_model"]
    mlp_up: Float[Array, "n_neuron d_model"] | None
    mlp_value: Float[Array, "n_neuron d_model"]
    mlp_bias: Float[Array, " d_model"] | None
    mlp_post_norm: Norm | None


@dataclass(frozen=True, eq=False)
class Decoder:
    """The static part of a model: shapes, layers on demand, the final norm and the unembedding.

    `residual_multiplier` scales what both branches add (Granite). `residual_norm` is true when the
    norm acts on the residual itself after each addition (OPT-350m): then `attention_post_norm` and
    `mlp_post_norm` of the layers hold those norms, the MLP reads the output of the former and the next
    layer that of the latter; the last layer's is the final norm and nowhere else. `logit_scale` multiplies the logits, `softcap`
    is Gemma's final c * tanh(logits / c).
    """

    name: str
    fingerprint: str
    family: str
    n_layer: int
    n_head: int
    n_kv_head: int
    d_model: int
    d_head: int
    d_mlp: int
    n_expert: int
    vocab_size: int
    n_context: int
    parallel: bool
    gated: bool
    layer: Callable[[int], LayerWeights]
    final_norm: Norm | None
    unembedding: Float[Array, "d_model vocab"]
    unembedding_bias: Float[Array, " vocab"] | None
    residual_multiplier: float = 1.0
    residual_norm: bool = False
    logit_scale: float = 1.0
    softcap: float | None = None


@dataclass(frozen=True)
class ForwardLayer:
    """What one layer did for one prompt. P query positions, T tokens, H heads, F neurons with edges.

    Keys, queries are after a qk-norm and before the rotary turn; attention_logits after the turn,
    scaling, softcap, ALiBi and mask (-inf where masked). `neuron` names the columns of the MLP's
    coefficients where only some neurons took part (experts), per position; `router` is the weight
    of each column's expert (already inside `mlp_coefficient`).
    """

    attention_norm: Float[Array, "P d_model"]
    query: Float[Array, "P H d_head"]
    key: Float[Array, "T n_kv_head d_head"]
    value: Float[Array, "T n_kv_head d_head"]
    attention_logits: Float[Array, "P H T"]
    attention: Float[Array, "P H T"]
    head: Float[Array, "P H d_head"]
    attention_output: Float[Array, "P d_model"]
    attention_post_norm: Float[Array, "P d_model"] | None
    residual_mid: Float[Array, "P d_model"] | None
    mlp_norm: Float[Array, "P d_model"]
    mlp_gate: Float[Array, "P F"]
    mlp_up: Float[Array, "P F"] | None
    mlp_coefficient: Float[Array, "P F"]
    mlp_output: Float[Array, "P d_model"]
    mlp_post_norm: Float[Array, "P d_model"] | None
    residual_post: Float[Array, "P d_model"]
    neuron: Int[Array, "P F"] | None = None
    router: Float[Array, "P F"] | None = None


@dataclass(frozen=True)
class Forward:
    """One prompt's forward pass at its query positions (float32)."""

    token_ids: Int[Array, " T"]
    positions: Int[Array, " P"]
    token_embedding: Float[Array, "P d_model"]
    position_embedding: Float[Array, "P d_model"] | None
    embedding: Float[Array, "P d_model"]
    layers: Sequence[ForwardLayer]
    final_norm: Float[Array, "P d_model"]
    logits: Float[Array, "P vocab"]
    bos: bool = field(default=False)
