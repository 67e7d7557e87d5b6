"""The vectors of a forward pass, group by group, as the lens will read them.

Head-wise vectors (queries, keys, values, heads) stay in their d_head dimensions and name the circuit
that takes them to the residual (section 2.3, appendix D.3): W_O for values and heads (OV circuit),
W_K^T for queries and W_Q^T for keys (QK circuit). All others are residual-wide.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from flowatlas.vocabulary import Kind
from ingest.architecture.decoder import Decoder, Forward, ForwardLayer, LayerWeights
from ingest.decompose.shape import GraphShape, Numbering

Array = np.ndarray


@dataclass(frozen=True)
class VectorGroup:
    """All vectors of one kind in one layer of one prompt.

    `rows` is what the lens reads: (n, d_model), or (n_head, m, d_head) head by head with n = n_head * m.
    `head` and `source` are there for the kinds that have them.
    """

    kind: Kind
    layer: int
    local: Int[Array, " n"]
    position: Int[Array, " n"]
    norm: Float[Array, " n"]
    rows: Float[Array, "..."]
    head: Int[Array, " n"] | None = None
    source: Int[Array, " n"] | None = None


def circuit(weights: LayerWeights, kind: Kind, head: int) -> Float[Array, "d_head d_model"]:
    """The matrix that takes a head's vector of `kind` to the residual, grouped heads resolved.

    A norm on keys (queries) is linear but for its scale, so its weight belongs to the circuit of the
    queries (keys) that it is multiplied with.
    """
    group = head // (len(weights.w_q) // len(weights.w_k))
    matrix: Array
    if kind in (Kind.VALUE, Kind.HEAD):
        matrix = weights.w_o[head]
    elif kind is Kind.QUERY:
        matrix = weights.w_k[group].T if weights.key_norm is None else (weights.w_k[group] * weights.key_norm[group]).T
    elif kind is Kind.KEY:
        matrix = weights.w_q[head].T if weights.query_norm is None else (weights.w_q[head] * weights.query_norm[head]).T
    else:
        raise ValueError(kind)
    return matrix


def ungroup(rows: Float[Array, "n n_kv_head d_head"], n_head: int) -> Float[Array, "n n_head d_head"]:
    """Keys or values of grouped heads, repeated for every query head."""
    return np.repeat(rows, n_head // rows.shape[1], axis=1)


def vectors(forward: Forward, decoder: Decoder, shape: GraphShape, numbering: Numbering) -> Iterator[VectorGroup]:
    """Every vector of the pass, in the order of the flow."""
    embeddings = {
        Kind.TOKEN_EMBEDDING: forward.token_embedding,
        Kind.POSITION_EMBEDDING: forward.position_embedding,
        Kind.EMBEDDING: forward.embedding,
    }
    for kind in shape.embedding_kinds:
        yield _wide(forward, numbering, -1, kind, embeddings[kind])
    for layer, captured in enumerate(forward.layers):
        yield from _layer_vectors(forward, captured, decoder.layer(layer), layer, shape, numbering)
    for kind in shape.final_kinds:
        yield _wide(forward, numbering, shape.n_layer, kind, forward.final_norm)


def _layer_vectors(
    forward: Forward, captured: ForwardLayer, weights: LayerWeights, layer: int, shape: GraphShape, numbering: Numbering
) -> Iterator[VectorGroup]:
    positions, tokens = forward.positions, np.arange(len(forward.token_ids))
    wide = _wide_vectors(captured, weights)
    head_wise = {
        Kind.QUERY: (captured.query, positions),
        Kind.KEY: (ungroup(captured.key, shape.n_head), tokens),
        Kind.VALUE: (ungroup(captured.value, shape.n_head), tokens),
        Kind.HEAD: (captured.head, positions),
    }
    for kind in shape.kinds(layer):
        if kind is Kind.QKV:
            yield _qkv(forward, captured, weights, layer, numbering)
        elif kind in head_wise:
            rows, where = head_wise[kind]
            yield _by_head(numbering, layer, kind, rows, where)
        else:
            yield _wide(forward, numbering, layer, kind, wide[kind])


def _wide_vectors(captured: ForwardLayer, weights: LayerWeights) -> dict[Kind, Array | None]:
    positions = len(captured.attention_norm)
    return {
        Kind.ATTENTION_NORM: captured.attention_norm,
        Kind.CONCATENATED_HEADS: _concatenated(captured, weights),
        Kind.ATTENTION_BIAS: _repeat(weights.b_o, positions),
        Kind.ATTENTION_OUTPUT: captured.attention_output,
        Kind.ATTENTION_POST_NORM: captured.attention_post_norm,
        Kind.RESIDUAL_MID: captured.residual_mid,
        Kind.MLP_NORM: captured.mlp_norm,
        Kind.MLP_BIAS: _repeat(weights.mlp_bias, positions),
        Kind.MLP_OUTPUT: captured.mlp_output,
        Kind.MLP_POST_NORM: captured.mlp_post_norm,
        Kind.RESIDUAL_POST: captured.residual_post,
    }


def _concatenated(captured: ForwardLayer, weights: LayerWeights) -> Float[Array, "P d_model"]:
    """The concatenated heads through W_O (OV circuit): the attention output without its bias."""
    heads: Array = captured.attention_output if weights.b_o is None else captured.attention_output - weights.b_o
    return heads


def _repeat(bias: Array | None, times: int) -> Array | None:
    return None if bias is None else np.broadcast_to(bias, (times, len(bias)))


def _wide(forward: Forward, numbering: Numbering, layer: int, kind: Kind, rows: Array | None) -> VectorGroup:
    if rows is None:
        raise ValueError(f"The capture has no {kind} in layer {layer}.")
    held = rows
    if kind is Kind.CONCATENATED_HEADS:
        # The heads side by side have their own norm; the lens reads them through W_O.
        held = forward.layers[layer].head.reshape(len(rows), -1)
    elif kind is Kind.FINAL_NORM:
        # The lens has this very norm in it: what goes into the norm is read, so that it is applied once.
        rows = forward.layers[-1].residual_post
    return VectorGroup(kind, layer, numbering.ids(layer, kind), forward.positions, np.linalg.norm(held, axis=-1), rows)


def _qkv(
    forward: Forward, captured: ForwardLayer, weights: LayerWeights, layer: int, numbering: Numbering
) -> VectorGroup:
    """Query, key and value of the position as one node (A.1 step 2), read as the sum of its projected queries."""
    rows = np.zeros_like(captured.attention_output)
    for head in range(captured.query.shape[1]):
        rows += captured.query[:, head] @ circuit(weights, Kind.QUERY, head)
    own = (captured.query, captured.key[forward.positions], captured.value[forward.positions])
    norm = np.sqrt(sum((part**2).sum((1, 2)) for part in own))
    return VectorGroup(Kind.QKV, layer, numbering.ids(layer, Kind.QKV), forward.positions, norm, rows)


def _by_head(
    numbering: Numbering, layer: int, kind: Kind, rows: Float[Array, "m n_head d_head"], where: Int[Array, " m"]
) -> VectorGroup:
    n_head = rows.shape[1]
    by_head = np.ascontiguousarray(rows.transpose(1, 0, 2))
    position = np.tile(where, n_head)
    return VectorGroup(
        kind,
        layer,
        numbering.ids(layer, kind),
        position,
        np.linalg.norm(by_head, axis=-1).reshape(-1),
        by_head,
        head=np.repeat(np.arange(n_head), len(where)),
        source=position if kind in (Kind.KEY, Kind.VALUE) else None,
    )
