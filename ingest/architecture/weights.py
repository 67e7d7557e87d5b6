"""From modules to plain matrices: the `Decoder` of a bound model.

Weights are views of the model's memory wherever a view can express them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, Literal

import numpy as np
from jaxtyping import Float
from torch import nn

from flowatlas.errors import ModelError
from ingest.architecture.decoder import Array, Decoder, LayerWeights, Norm
from ingest.architecture.description import GUIDE, NormDescription
from ingest.architecture.parts import LayerParts, Parts

_UNBOUNDED_CONTEXT: Final = 1 << 20
_EPS: Final = ("eps", "variance_epsilon")


@dataclass(frozen=True)
class HeadShape:
    """How the columns of a projection are heads."""

    n_head: int
    n_kv_head: int
    d_head: int
    layout: Literal["blocks", "groups"] | None

    def split(self, columns: Float[Array, "*n out"]) -> tuple[Array, Array, Array]:
        """A fused projection's columns as queries [..., n_head, d_head], keys and values [..., n_kv_head, d_head]."""
        lead = columns.shape[:-1]
        if self.layout == "blocks":
            q = self.n_head * self.d_head
            kv = self.n_kv_head * self.d_head
            parts = columns[..., :q], columns[..., q : q + kv], columns[..., q + kv :]
            query, key, value = (part.reshape(*lead, -1, self.d_head) for part in parts)
            return query, key, value
        groups = columns.reshape(*lead, self.n_kv_head, self.n_head // self.n_kv_head + 2, self.d_head)
        query = groups[..., :-2, :].reshape(*lead, self.n_head, self.d_head)
        return query, groups[..., -2, :], groups[..., -1, :]

    def heads(self, columns: Float[Array, "*n out"]) -> Float[Array, "*n heads d_head"]:
        """A separate projection's columns as heads."""
        return columns.reshape(*columns.shape[:-1], -1, self.d_head)


@dataclass(frozen=True)
class LayerBiases:
    """Biases that the graph has no node for, because the vectors they belong to include them."""

    b_q: Float[Array, "n_head d_head"] | None
    b_k: Float[Array, "n_kv_head d_head"] | None
    b_v: Float[Array, "n_kv_head d_head"] | None
    mlp_key: Float[Array, " n_neuron"] | None
    mlp_up: Float[Array, " n_neuron"] | None


def head_shape(parts: Parts) -> HeadShape:
    """The heads of a model, from the shapes of its matrices. Raises ModelError when they do not divide."""
    layer, attention = parts.layers[0], parts.description.attention
    n_head = parts.n_head
    d_head = _divided(_matrix(parts, layer.output).shape[0], n_head, "attention.output")
    if layer.fused is not None:
        columns = _divided(_matrix(parts, layer.fused).shape[1], d_head, "attention.fused")
        n_kv_head = _divided(columns - n_head, 2, "attention.fused")
    else:
        assert layer.key is not None
        n_kv_head = _divided(_matrix(parts, layer.key).shape[1], d_head, "attention.key")
    _divided(n_head, n_kv_head, "attention.key")
    return HeadShape(n_head, n_kv_head, d_head, attention.layout)


def decoder(parts: Parts, *, name: str, family: str, fingerprint: str) -> Decoder:
    """The model as plain matrices. Raises ModelError when a matrix does not have the shape that its place asks for."""
    shape, config = head_shape(parts), parts.config
    embedding = _array(parts.token_embedding.weight)
    unembedding = _array(parts.unembedding.weight).T
    bias = _bias(parts.unembedding)
    if parts.output_projection is not None:
        narrowing = _matrix(parts, parts.output_projection)
        _expect("output_projection", narrowing.shape, (narrowing.shape[0], unembedding.shape[0]))
        unembedding = narrowing @ unembedding
    get_layer = lru_cache(maxsize=None)(lambda index: layer_weights(parts, shape, index))
    first: LayerWeights = get_layer(0)
    last_norm = final_norm(parts)
    d_model = first.w_o.shape[2]
    if parts.embedding_projection is None and embedding.shape[1] != d_model:
        _misshapen("token_embedding", (embedding.shape[0], d_model), embedding.shape)
    if unembedding.shape[0] != d_model:
        _misshapen("the unembedding", (d_model, unembedding.shape[1]), unembedding.shape)
    experts = parts.description.mlp.experts
    n_expert = len(_parameter(parts.layers[0].experts, experts.value, "mlp.experts.value")) if experts else 1
    return Decoder(
        name=name,
        fingerprint=fingerprint,
        family=family,
        n_layer=len(parts.layers),
        n_head=shape.n_head,
        n_kv_head=shape.n_kv_head,
        d_model=d_model,
        d_head=shape.d_head,
        d_mlp=first.mlp_value.shape[0] // n_expert,
        n_expert=n_expert,
        vocab_size=unembedding.shape[1],
        n_context=int(getattr(config, "max_position_embeddings", None) or _UNBOUNDED_CONTEXT),
        parallel=parts.description.block == "parallel",
        gated=first.mlp_up is not None,
        layer=get_layer,
        final_norm=last_norm,
        unembedding=unembedding,
        unembedding_bias=bias,
        residual_multiplier=parts.residual_multiplier,
        residual_norm=parts.description.block == "post_norm",
        logit_scale=parts.logit_scale,
        softcap=parts.softcap,
    )


def final_norm(parts: Parts) -> Norm | None:
    """The norm before the unembedding; in a post-norm model that of the last layer's MLP."""
    if parts.description.block == "post_norm" and parts.final_norm is None:
        return norm(parts.layers[-1].mlp_post_norm, parts.description.norm, "mlp.post_norm")
    return norm(parts.final_norm, parts.description.norm, "final_norm")


def layer_weights(parts: Parts, shape: HeadShape, index: int) -> LayerWeights:
    """The matrices of one layer. Raises ModelError for a shape that does not fit."""
    layer, described = parts.layers[index], parts.description
    w_o = _matrix(parts, layer.output)
    d_model = w_o.shape[1]
    w_q, w_k, w_v = (_heads_first(w) for w in _projections(parts, layer, shape))
    _expect("attention.query", w_q.shape, (shape.n_head, d_model, shape.d_head))
    _expect("attention.key", w_k.shape, (shape.n_kv_head, d_model, shape.d_head))
    _expect("attention.value", w_v.shape, (shape.n_kv_head, d_model, shape.d_head))
    _expect("attention.output", w_o.shape, (shape.n_head * shape.d_head, d_model))
    mlp_key, mlp_up, mlp_value = _mlp(parts, layer)
    _expect("mlp.key", mlp_key.shape, (mlp_key.shape[0], d_model))
    _expect("mlp.value", mlp_value.shape, (mlp_key.shape[0], d_model))
    if mlp_up is not None:
        _expect("mlp.up", mlp_up.shape, mlp_key.shape)
    weights = LayerWeights(
        attention_norm=norm(layer.attention_norm, described.norm, "attention.norm"),
        w_q=w_q,
        w_k=w_k,
        w_v=w_v,
        w_o=w_o.reshape(shape.n_head, shape.d_head, d_model),
        b_o=_bias(layer.output),
        query_norm=_per_head(parts, query_norm(parts, layer), shape.n_head, shape.d_head),
        key_norm=_per_head(parts, key_norm(parts, layer), shape.n_kv_head, shape.d_head),
        attention_post_norm=norm(layer.attention_post_norm, described.norm, "attention.post_norm"),
        mlp_norm=None if _shares_norm(parts, layer) else norm(layer.mlp_norm, described.norm, "mlp.norm"),
        mlp_key=mlp_key,
        mlp_up=mlp_up,
        mlp_value=mlp_value,
        mlp_bias=None if layer.mlp_value is None else _bias(layer.mlp_value),
        mlp_post_norm=norm(layer.mlp_post_norm, described.norm, "mlp.post_norm"),
    )
    is_last = index == len(parts.layers) - 1
    return replace(weights, mlp_post_norm=None) if is_last and _is_final(parts) else weights


def _shares_norm(parts: Parts, layer: LayerParts) -> bool:
    """Whether attention and MLP read one norm, which is then the attention's."""
    return parts.description.block == "parallel" and layer.mlp_norm is layer.attention_norm


def _is_final(parts: Parts) -> bool:
    """Whether the last layer's MLP norm is the final norm."""
    return parts.description.block == "post_norm" and parts.final_norm is None


def layer_biases(parts: Parts, shape: HeadShape, index: int) -> LayerBiases:
    """The biases of one layer that are inside its vectors."""
    layer = parts.layers[index]
    if layer.fused is not None:
        fused = _bias(layer.fused)
        b_q, b_k, b_v = (None, None, None) if fused is None else shape.split(fused)
    else:
        separate = [_bias(module) for module in (layer.query, layer.key, layer.value)]
        b_q, b_k, b_v = (None if bias is None else shape.heads(bias) for bias in separate)
    key, up = _bias(layer.mlp_key), _bias(layer.mlp_up)
    key_up = _bias(layer.mlp_key_up)
    if key_up is not None:
        key, up = np.split(key_up, 2)
    return LayerBiases(b_q, b_k, b_v, key, up)


def finished(parts: Parts, rows: Float[Array, "n heads d_head"], over: Norm | None) -> Float[Array, "n heads d_head"]:
    """Projected queries, keys or values (which have no norm) as attention takes them: normed, then clipped."""
    if over is not None:
        whole = parts.description.attention.qk_norm_over == "projection"
        rows = over(rows.reshape(len(rows), -1)).reshape(rows.shape) if whole else over(rows)
    return rows if parts.clip is None else np.clip(rows, -parts.clip, parts.clip)


def query_norm(parts: Parts, layer: LayerParts) -> Norm | None:
    """The norm on queries; its weight is [d_head], [n_head, d_head] or [n_head * d_head]."""
    described = parts.description
    return norm(layer.query_norm, described.attention.qk_norm or described.norm, "attention.query_norm")


def key_norm(parts: Parts, layer: LayerParts) -> Norm | None:
    """The norm on keys."""
    described = parts.description
    return norm(layer.key_norm, described.attention.qk_norm or described.norm, "attention.key_norm")


def norm(module: nn.Module | None, description: NormDescription, field: str) -> Norm | None:
    """A norm's module as numbers; a list of norms is one norm with a row a head.

    Raises ModelError for a module that is no norm.
    """
    if module is None:
        return None
    if isinstance(module, nn.ModuleList):
        each = [norm(part, description, field) for part in module]
        return Norm(description.kind, *_stacked([one for one in each if one is not None]))
    weight, bias = getattr(module, "weight", None), _bias(module)
    size = getattr(module, "normalized_shape", None)
    eps = next((getattr(module, name) for name in _EPS if hasattr(module, name)), description.eps)
    if eps is None or (weight is None and size is None):
        raise ModelError(
            f"{field}: {type(module).__name__} is no norm: it has no {'eps' if eps is None else 'weight'}.",
            next_step=f"Correct the description; see {GUIDE}.",
        )
    array = _array(weight) if weight is not None else np.ones(tuple(size or ()), dtype=np.float32)
    if description.offset:
        array = array + np.float32(description.offset)
    return Norm(description.kind, array, bias, float(eps))


def _stacked(norms: list[Norm]) -> tuple[Array, Array | None, float]:
    biases = [norm.bias for norm in norms if norm.bias is not None]
    return np.stack([norm.weight for norm in norms]), np.stack(biases) if biases else None, norms[0].eps


def _projections(parts: Parts, layer: LayerParts, shape: HeadShape) -> tuple[Array, Array, Array]:
    """Query, key and value weights as [d_model, heads, d_head]."""
    if layer.fused is not None:
        return shape.split(_matrix(parts, layer.fused))
    query, key, value = (_matrix(parts, module) for module in (layer.query, layer.key, layer.value))
    for matrix, name in ((query, "query"), (key, "key"), (value, "value")):
        _divided(matrix.shape[1], shape.d_head, f"attention.{name}")
    return shape.heads(query), shape.heads(key), shape.heads(value)


def _mlp(parts: Parts, layer: LayerParts) -> tuple[Array, Array | None, Array]:
    """Key (gate), up and value matrices, one row a neuron."""
    if layer.experts is not None:
        names = parts.description.mlp.experts
        assert names is not None
        key_up = _parameter(layer.experts, names.key_up, "mlp.experts.key_up")
        values = _parameter(layer.experts, names.value, "mlp.experts.value")
        gates, ups = np.split(key_up, 2, axis=1)
        rows = values.transpose(0, 2, 1).reshape(-1, values.shape[1])
        return gates.reshape(-1, gates.shape[-1]), ups.reshape(-1, ups.shape[-1]), rows
    value = _matrix(parts, layer.mlp_value)
    if layer.mlp_key_up is not None:
        gate, up = np.split(_matrix(parts, layer.mlp_key_up).T, 2)
        return gate, up, value
    return _matrix(parts, layer.mlp_key).T, None if layer.mlp_up is None else _matrix(parts, layer.mlp_up).T, value


def _parameter(experts: nn.Module | None, name: str, field: str) -> Float[Array, "expert a b"]:
    """A parameter that holds a matrix of every expert. Raises ModelError when it is none."""
    parameter = getattr(experts, name, None)
    if not isinstance(parameter, nn.Parameter) or parameter.ndim != 3:
        raise ModelError(
            f"{field}: {type(experts).__name__} has no parameter '{name}' with a matrix an expert.",
            next_step=f"Correct the description; see {GUIDE}.",
        )
    return _array(parameter)


def _heads_first(weight: Float[Array, "d_model heads d_head"]) -> Float[Array, "heads d_model d_head"]:
    return weight.transpose(1, 0, 2)


def _per_head(parts: Parts, over: Norm | None, heads: int, d_head: int) -> Float[Array, "heads d_head"] | None:
    """A qk-norm's weight, for every head. Raises ModelError for one of another size."""
    if over is None:
        return None
    if parts.description.attention.qk_norm_over == "projection":
        _expect("attention.query_norm, key_norm", over.weight.shape, (heads * d_head,))
    elif over.weight.shape != (heads, d_head):
        _expect("attention.query_norm, key_norm", over.weight.shape, (d_head,))
    return np.broadcast_to(over.weight.reshape(-1, d_head), (heads, d_head))


def _matrix(parts: Parts, module: nn.Module | None) -> Float[Array, "n_in n_out"]:
    """A linear module's weight as (in, out)."""
    weight = getattr(module, "weight", None)
    if weight is None or weight.ndim != 2:
        raise ModelError(
            f"{type(module).__name__} is no linear map: it has no weight matrix.",
            next_step=f"Correct the description; see {GUIDE}.",
        )
    array = _array(weight)
    return array if parts.description.weights == "in_out" else array.T


def _bias(module: nn.Module | None) -> Array | None:
    bias = getattr(module, "bias", None)
    return None if bias is None else _array(bias)


def _array(tensor: Any) -> Array:
    """A parameter's memory as float32."""
    array: Array = tensor.detach().cpu().float().numpy()
    return array


def _divided(whole: int, part: int, field: str) -> int:
    if part <= 0 or whole <= 0 or whole % part:
        raise ModelError(
            f"{field}: {whole} columns cannot be divided into parts of {part}.",
            known="The heads must divide the projections.",
            next_step=f"Correct the description; see {GUIDE}.",
        )
    return whole // part


def _expect(field: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if found != expected:
        _misshapen(field, expected, found)


def _misshapen(field: str, expected: tuple[int, ...], found: tuple[int, ...]) -> None:
    raise ModelError(
        f"{field}: its weights have the shape {found}.",
        known=f"Expected {expected}.",
        next_step=f"Correct the description (a transposed matrix, another split?); see {GUIDE}.",
    )
