"""What flows between the vectors of a pass: every relationship of the graph with its scores.

Scores are those of the paper's appendix A.4: the coefficient where vectors are multiplied, the norm
of what is added where they are summed. Contributions are direct effects on the logits of the target
and the foil (`ingest.decompose.directions`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from flowatlas.vocabulary import Kind, Label, Type
from ingest.architecture.decoder import Decoder, Forward, ForwardLayer, LayerWeights
from ingest.decompose.attention_flows import query_to_head
from ingest.decompose.directions import Directions
from ingest.decompose.effects import LayerEffects, static_layer
from ingest.decompose.flow_tables import Columns, Context, Flows, adds, edge, norms
from ingest.decompose.neuron_flows import attention_output_neurons, mlp_neurons
from ingest.decompose.shape import GraphShape, Numbering, label_of
from ingest.neurons import NeuronIndex, TargetRanks

Array = np.ndarray


def flows(
    decoder: Decoder,
    forward: Forward,
    shape: GraphShape,
    numbering: Numbering,
    target_ranks: TargetRanks,
    target_tokens: Int[Array, " P"],
    target: Directions,
    foil: Directions,
    effects: Sequence[LayerEffects],
) -> Flows:
    """All relationships of a pass, between local indices of its vectors and ids of its model's neurons."""
    context = Context(decoder, forward, shape, numbering, target, foil, effects, target_tokens, target_ranks, Flows())
    neurons = target_ranks.index
    _tokens(context)
    _embeddings(context)
    residual = (-1, Kind.EMBEDDING, forward.embedding)
    for layer, captured in enumerate(forward.layers):
        weights = decoder.layer(layer)
        residual = _attention_block(context, neurons, layer, captured, weights, residual)
        residual = _mlp_block(context, neurons, layer, captured, weights, residual)
    if shape.final_kinds:
        edge(context, Type.NORMALIZES, residual[:2], (shape.n_layer, Kind.FINAL_NORM), forward.final_norm)
    return context.flows


Residual = tuple[int, Kind, Array]


def _attention_block(
    context: Context,
    neurons: NeuronIndex,
    layer: int,
    captured: ForwardLayer,
    weights: LayerWeights,
    residual: Residual,
) -> Residual:
    """From the residual through attention to the residual after it (A.1)."""
    shape, ids = context.shape, context.numbering.ids
    reads = (layer, shape.attention_reads) if shape.has(Kind.ATTENTION_NORM) else residual[:2]
    if shape.has(Kind.ATTENTION_NORM):
        edge(context, Type.NORMALIZES, residual[:2], reads, captured.attention_norm)
    edge(context, Type.PROJECTS, reads, (layer, Kind.QKV), _own_qkv(context.forward, captured))
    static = static_layer(context.decoder, layer)
    query_to_head(context, layer, captured, static, reads)
    edge(
        context,
        Type.PROJECTS,
        (layer, Kind.CONCATENATED_HEADS),
        (layer, Kind.ATTENTION_OUTPUT),
        _without(captured.attention_output, weights.b_o),
    )
    rows = attention_output_neurons(captured, static, context.layer_effects[layer])
    _neurons(
        context,
        rows,
        ids(layer, Kind.CONCATENATED_HEADS),
        ids(layer, Kind.ATTENTION_OUTPUT),
        neurons.attention_output(layer),
    )
    if weights.b_o is not None:
        adds(context, (layer, Kind.ATTENTION_BIAS), (layer, Kind.ATTENTION_OUTPUT), weights.b_o, "attention", layer)
    branch = (Kind.ATTENTION_OUTPUT, captured.attention_output)
    if shape.has(Kind.ATTENTION_POST_NORM) and not shape.residual_norm:
        assert captured.attention_post_norm is not None
        edge(
            context,
            Type.NORMALIZES,
            (layer, branch[0]),
            (layer, Kind.ATTENTION_POST_NORM),
            captured.attention_post_norm,
        )
        branch = (Kind.ATTENTION_POST_NORM, captured.attention_post_norm)
    meets = Kind.RESIDUAL_POST if shape.parallel else Kind.RESIDUAL_MID
    adds(
        context,
        (layer, branch[0]),
        (layer, meets),
        context.decoder.residual_multiplier * branch[1],
        "attention_residual",
        layer,
    )
    if shape.parallel:
        return residual
    assert captured.residual_mid is not None
    edge(context, Type.SKIPS, residual[:2], (layer, Kind.RESIDUAL_MID), residual[2])
    return _renormalized(
        context, layer, Kind.RESIDUAL_MID, captured.residual_mid, Kind.ATTENTION_POST_NORM, captured.attention_post_norm
    )


def _mlp_block(
    context: Context,
    neurons: NeuronIndex,
    layer: int,
    captured: ForwardLayer,
    weights: LayerWeights,
    residual: Residual,
) -> Residual:
    """From the residual through the MLP to the residual after it (A.2)."""
    shape, ids = context.shape, context.numbering.ids
    reads = (layer, shape.mlp_reads)
    if shape.has(Kind.MLP_NORM):
        edge(context, Type.NORMALIZES, residual[:2], reads, captured.mlp_norm)
    elif shape.mlp_reads is not Kind.ATTENTION_NORM:
        reads = residual[:2]
    edge(context, Type.PROJECTS, reads, (layer, Kind.MLP_OUTPUT), _without(captured.mlp_output, weights.mlp_bias))
    rows = mlp_neurons(
        captured, weights, static_layer(context.decoder, layer), context.layer_effects[layer], context.target.mlp[layer]
    )
    _neurons(context, rows, ids(*reads), ids(layer, Kind.MLP_OUTPUT), neurons.mlp(layer))
    if weights.mlp_bias is not None:
        adds(context, (layer, Kind.MLP_BIAS), (layer, Kind.MLP_OUTPUT), weights.mlp_bias, "mlp", layer)
    branch = (Kind.MLP_OUTPUT, captured.mlp_output)
    if shape.has(Kind.MLP_POST_NORM) and not shape.residual_norm:
        assert captured.mlp_post_norm is not None
        edge(context, Type.NORMALIZES, (layer, branch[0]), (layer, Kind.MLP_POST_NORM), captured.mlp_post_norm)
        branch = (Kind.MLP_POST_NORM, captured.mlp_post_norm)
    end = (layer, Kind.RESIDUAL_POST)
    adds(context, (layer, branch[0]), end, context.decoder.residual_multiplier * branch[1], "mlp_residual", layer)
    edge(context, Type.SKIPS, residual[:2], end, residual[2])
    return _renormalized(
        context, layer, Kind.RESIDUAL_POST, captured.residual_post, Kind.MLP_POST_NORM, captured.mlp_post_norm
    )


def _renormalized(
    context: Context, layer: int, kind: Kind, rows: Array, norm: Kind, normalized: Array | None
) -> Residual:
    """The residual that goes on: normalized once more where the family's norms act on the residual itself."""
    if not context.shape.residual_norm or normalized is None:
        return layer, kind, rows
    edge(context, Type.NORMALIZES, (layer, kind), (layer, norm), normalized)
    return layer, norm, normalized


def _tokens(context: Context) -> None:
    """Tokens join their prompt (0 in a shard of one), their embedding and the memory they create."""
    tokens = np.arange(len(context.forward.token_ids), dtype=np.int64)
    ids, add = context.numbering.ids, context.flows.add
    add(Type.HAS_TOKEN, Label.PROMPT, Label.TOKEN, {"from": np.zeros_like(tokens), "to": tokens})
    embedding = context.forward.token_embedding
    columns = {
        "from": context.forward.positions.astype(np.int64),
        "to": ids(-1, Kind.TOKEN_EMBEDDING),
        "score": norms(embedding),
    }
    add(Type.EMBEDS, Label.TOKEN, Label.STATE, columns)
    for layer in range(context.shape.n_layer):
        for kind in (Kind.KEY, Kind.VALUE):
            memory = ids(layer, kind)
            add(
                Type.CREATES, Label.TOKEN, label_of(kind), {"from": np.tile(tokens, context.shape.n_head), "to": memory}
            )


def _embeddings(context: Context) -> None:
    parts = {
        Kind.TOKEN_EMBEDDING: context.forward.token_embedding,
        Kind.POSITION_EMBEDDING: context.forward.position_embedding,
    }
    for kind, rows in parts.items():
        if rows is not None:
            adds(context, (-1, kind), (-1, Kind.EMBEDDING), rows, "embedding", None)


def _neurons(context: Context, rows: Columns, reads: Array, writes: Array, base: int) -> None:
    """ACTIVATES and WRITES of one matrix; `rows` has `position` (index) and `neuron` beside the numbers."""
    neuron = rows["neuron"] + base
    activates = {"from": reads[rows["position"]], "to": neuron, "score": rows["input"], "rank": rows["input_rank"]}
    activates |= {name: rows[name] for name in ("gate", "up", "router") if name in rows}
    context.flows.add(Type.ACTIVATES, Label.STATE, Label.NEURON, activates)
    writes_columns = {"from": neuron, "to": writes[rows["position"]]}
    writes_columns |= {name: rows[name] for name in ("score", "rank", "norm", "contribution")}
    token = context.tokens[rows["position"]]
    writes_columns["target_rank"] = context.ranks.of(token, neuron - context.ranks.index.base, rows["score"] >= 0)
    context.flows.add(Type.WRITES, Label.NEURON, Label.STATE, writes_columns)


def _own_qkv(forward: Forward, captured: ForwardLayer) -> Float[Array, "P n"]:
    own = (captured.query, captured.key[forward.positions], captured.value[forward.positions])
    return np.concatenate([part.reshape(len(part), -1) for part in own], axis=1)


def _without(rows: Array, bias: Array | None) -> Array:
    return rows if bias is None else rows - bias
