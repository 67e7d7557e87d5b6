"""What flows between the vectors of a pass: every relationship of the graph with its scores.

Scores are those of the paper's appendix A.4: the coefficient where vectors are multiplied, the norm
of what is added where they are summed. Contributions are direct effects on the logits of the target
and the foil (`ingest.decompose.directions`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from flowatlas.vocabulary import Kind, Label, Type
from ingest.architecture.decoder import Decoder, Forward, ForwardLayer, LayerWeights
from ingest.decompose.directions import Directions
from ingest.decompose.neuron_flows import attention_output_neurons, mlp_neurons
from ingest.decompose.shape import GraphShape, Numbering, label_of
from ingest.decompose.vectors import ungroup
from ingest.neurons import NeuronIndex, TargetRanks

Array = np.ndarray
Columns = dict[str, Array]


@dataclass
class Flows:
    """Relationships of one prompt by table name; each a list of column dictionaries to concatenate."""

    tables: defaultdict[str, list[Columns]] = field(default_factory=lambda: defaultdict(list))

    def add(self, type_: Type, source: Label, target: Label, columns: Mapping[str, Array]) -> None:
        """Add relationships; every column has as many rows as `columns["from"]`."""
        rows = len(columns["from"])
        full = {name: np.broadcast_to(values, (rows,)) for name, values in columns.items()}
        self.tables[f"{type_}_{source}_{target}"].append(full)

    def join(self, type_: Type, source: Kind, target: Kind, columns: Mapping[str, Array]) -> None:
        """Add relationships between vectors of two kinds."""
        self.add(type_, label_of(source), label_of(target), columns)


@dataclass(frozen=True)
class _Context:
    """What every step needs to know of the prompt."""

    decoder: Decoder
    forward: Forward
    shape: GraphShape
    numbering: Numbering
    target: Directions
    foil: Directions
    tokens: Int[Array, " P"]
    ranks: TargetRanks
    flows: Flows

    @property
    def seen(self) -> bool:
        """Whether query positions other than the last are there, so that states join the memory they create."""
        return len(self.forward.positions) > 1 or self.forward.positions[0] != len(self.forward.token_ids) - 1


def flows(
    decoder: Decoder,
    forward: Forward,
    shape: GraphShape,
    numbering: Numbering,
    target_ranks: TargetRanks,
    target_tokens: Int[Array, " P"],
    target: Directions,
    foil: Directions,
) -> Flows:
    """All relationships of a pass, between local indices of its vectors and ids of its model's neurons."""
    context = _Context(decoder, forward, shape, numbering, target, foil, target_tokens, target_ranks, Flows())
    neurons = target_ranks.index
    _tokens(context)
    _embeddings(context)
    residual = (-1, Kind.EMBEDDING, forward.embedding)
    for layer, captured in enumerate(forward.layers):
        weights = decoder.layer(layer)
        residual = _attention_block(context, neurons, layer, captured, weights, residual)
        residual = _mlp_block(context, neurons, layer, captured, weights, residual)
    if shape.final_kinds:
        _edge(context, Type.NORMALIZES, residual[:2], (shape.n_layer, Kind.FINAL_NORM), forward.final_norm)
    return context.flows


Residual = tuple[int, Kind, Array]


def _attention_block(
    context: _Context, neurons: NeuronIndex, layer: int, captured: ForwardLayer, weights: LayerWeights, residual: Residual
) -> Residual:
    """From the residual through attention to the residual after it (A.1)."""
    shape, ids = context.shape, context.numbering.ids
    reads = (layer, shape.attention_reads) if shape.has(Kind.ATTENTION_NORM) else residual[:2]
    if shape.has(Kind.ATTENTION_NORM):
        _edge(context, Type.NORMALIZES, residual[:2], reads, captured.attention_norm)
    _edge(context, Type.PROJECTS, reads, (layer, Kind.QKV), _own_qkv(context.forward, captured))
    _query_to_head(context, layer, captured, weights, reads)
    _edge(context, Type.PROJECTS, (layer, Kind.CONCATENATED_HEADS), (layer, Kind.ATTENTION_OUTPUT), _without(captured.attention_output, weights.b_o))
    rows = attention_output_neurons(captured, weights, context.target.attention[layer])
    _neurons(context, rows, ids(layer, Kind.CONCATENATED_HEADS), ids(layer, Kind.ATTENTION_OUTPUT), neurons.attention_output(layer))
    if weights.b_o is not None:
        _adds(context, (layer, Kind.ATTENTION_BIAS), (layer, Kind.ATTENTION_OUTPUT), weights.b_o, "attention", layer)
    branch = (Kind.ATTENTION_OUTPUT, captured.attention_output)
    if shape.has(Kind.ATTENTION_POST_NORM) and not shape.residual_norm:
        assert captured.attention_post_norm is not None
        _edge(context, Type.NORMALIZES, (layer, branch[0]), (layer, Kind.ATTENTION_POST_NORM), captured.attention_post_norm)
        branch = (Kind.ATTENTION_POST_NORM, captured.attention_post_norm)
    meets = Kind.RESIDUAL_POST if shape.parallel else Kind.RESIDUAL_MID
    _adds(context, (layer, branch[0]), (layer, meets), context.decoder.residual_multiplier * branch[1], "attention_residual", layer)
    if shape.parallel:
        return residual
    assert captured.residual_mid is not None
    _edge(context, Type.SKIPS, residual[:2], (layer, Kind.RESIDUAL_MID), residual[2])
    return _renormalized(context, layer, Kind.RESIDUAL_MID, captured.residual_mid, Kind.ATTENTION_POST_NORM, captured.attention_post_norm)


def _mlp_block(
    context: _Context, neurons: NeuronIndex, layer: int, captured: ForwardLayer, weights: LayerWeights, residual: Residual
) -> Residual:
    """From the residual through the MLP to the residual after it (A.2)."""
    shape, ids = context.shape, context.numbering.ids
    reads = (layer, shape.mlp_reads)
    if shape.has(Kind.MLP_NORM):
        _edge(context, Type.NORMALIZES, residual[:2], reads, captured.mlp_norm)
    elif shape.mlp_reads is not Kind.ATTENTION_NORM:
        reads = residual[:2]
    _edge(context, Type.PROJECTS, reads, (layer, Kind.MLP_OUTPUT), _without(captured.mlp_output, weights.mlp_bias))
    rows = mlp_neurons(captured, weights, context.target.mlp[layer])
    _neurons(context, rows, ids(*reads), ids(layer, Kind.MLP_OUTPUT), neurons.mlp(layer))
    if weights.mlp_bias is not None:
        _adds(context, (layer, Kind.MLP_BIAS), (layer, Kind.MLP_OUTPUT), weights.mlp_bias, "mlp", layer)
    branch = (Kind.MLP_OUTPUT, captured.mlp_output)
    if shape.has(Kind.MLP_POST_NORM) and not shape.residual_norm:
        assert captured.mlp_post_norm is not None
        _edge(context, Type.NORMALIZES, (layer, branch[0]), (layer, Kind.MLP_POST_NORM), captured.mlp_post_norm)
        branch = (Kind.MLP_POST_NORM, captured.mlp_post_norm)
    end = (layer, Kind.RESIDUAL_POST)
    _adds(context, (layer, branch[0]), end, context.decoder.residual_multiplier * branch[1], "mlp_residual", layer)
    _edge(context, Type.SKIPS, residual[:2], end, residual[2])
    return _renormalized(context, layer, Kind.RESIDUAL_POST, captured.residual_post, Kind.MLP_POST_NORM, captured.mlp_post_norm)


def _renormalized(context: _Context, layer: int, kind: Kind, rows: Array, norm: Kind, normalized: Array | None) -> Residual:
    """The residual that goes on: normalized once more where the family's norms act on the residual itself."""
    if not context.shape.residual_norm or normalized is None:
        return layer, kind, rows
    _edge(context, Type.NORMALIZES, (layer, kind), (layer, norm), normalized)
    return layer, norm, normalized


def _tokens(context: _Context) -> None:
    """Tokens join their prompt (0 in a shard of one), their embedding and the memory they create."""
    tokens = np.arange(len(context.forward.token_ids), dtype=np.int64)
    ids, add = context.numbering.ids, context.flows.add
    add(Type.HAS_TOKEN, Label.PROMPT, Label.TOKEN, {"from": np.zeros_like(tokens), "to": tokens})
    embedding = context.forward.token_embedding
    columns = {"from": context.forward.positions.astype(np.int64), "to": ids(-1, Kind.TOKEN_EMBEDDING), "score": _norms(embedding)}
    add(Type.EMBEDS, Label.TOKEN, Label.STATE, columns)
    for layer in range(context.shape.n_layer):
        for kind in (Kind.KEY, Kind.VALUE):
            memory = ids(layer, kind)
            add(Type.CREATES, Label.TOKEN, label_of(kind), {"from": np.tile(tokens, context.shape.n_head), "to": memory})


def _embeddings(context: _Context) -> None:
    parts = {Kind.TOKEN_EMBEDDING: context.forward.token_embedding, Kind.POSITION_EMBEDDING: context.forward.position_embedding}
    for kind, rows in parts.items():
        if rows is not None:
            _adds(context, (-1, kind), (-1, Kind.EMBEDDING), rows, "embedding", None)


def _query_to_head(
    context: _Context, layer: int, captured: ForwardLayer, weights: LayerWeights, reads: tuple[int, Kind]
) -> None:
    """qkv -> Query -> Key -> Value -> Head -> concatenated heads, with the attention's numbers."""
    forward, ids = context.forward, context.numbering.ids
    n_head, positions, tokens = context.shape.n_head, len(forward.positions), len(forward.token_ids)
    query = ids(layer, Kind.QUERY).reshape(n_head, positions)
    key, value = (ids(layer, kind).reshape(n_head, tokens) for kind in (Kind.KEY, Kind.VALUE))
    head = ids(layer, Kind.HEAD).reshape(n_head, positions)
    by_head = {"from": np.tile(ids(layer, Kind.QKV), n_head), "to": query.reshape(-1)}
    query_norm = np.linalg.norm(captured.query, axis=-1).T.reshape(-1)
    context.flows.join(Type.SPLITS, Kind.QKV, Kind.QUERY, {**by_head, "score": query_norm})
    _memory(context, layer, captured, weights, query, key, value, head)
    if context.seen:
        _creations(context, layer, reads, key, value)
    projected = np.einsum("phd,hdm->hpm", captured.head, weights.w_o, optimize=True)
    columns = {"from": head.reshape(-1), "to": np.tile(ids(layer, Kind.CONCATENATED_HEADS), n_head), "score": _norms(projected).reshape(-1)}
    effects = _effects(context, projected, "attention", layer)
    context.flows.join(Type.CONCATENATES, Kind.HEAD, Kind.CONCATENATED_HEADS, {**columns, **effects})


def _memory(
    context: _Context,
    layer: int,
    captured: ForwardLayer,
    weights: LayerWeights,
    query: Int[Array, "H P"],
    key: Int[Array, "H T"],
    value: Int[Array, "H T"],
    head: Int[Array, "H P"],
) -> None:
    """ATTENDS, RECALLS and SUMS: one of each for every key that a query position sees."""
    score = captured.attention.transpose(1, 0, 2)
    logit = captured.attention_logits.transpose(1, 0, 2)
    visible = np.isfinite(logit)
    rank = ranks(np.where(visible, score, -1.0))
    at_head, at_position, at_token = np.nonzero(visible)
    columns = {"score": score[visible], "rank": rank[visible]}
    attends = {"from": query[at_head, at_position], "to": key[at_head, at_token], **columns, "logit": logit[visible]}
    context.flows.join(Type.ATTENDS, Kind.QUERY, Kind.KEY, attends)
    # A key recalls its value once; with several query positions the strongest recall counts.
    strongest = np.where(visible, score, -1.0).max(1)
    recalled = strongest >= 0
    recalls = {"from": key[recalled], "to": value[recalled], "score": strongest[recalled], "rank": ranks(strongest)[recalled]}
    context.flows.join(Type.RECALLS, Kind.KEY, Kind.VALUE, recalls)
    held = ungroup(captured.value, context.shape.n_head)
    norm = np.sqrt(np.einsum("thd,hde,the->ht", held, weights.w_o @ weights.w_o.transpose(0, 2, 1), held, optimize=True).clip(0))
    sums = {"from": value[at_head, at_token], "to": head[at_head, at_position], **columns, "norm": (score * norm[:, None, :])[visible]}
    for name, found in (("contribution", context.target), ("foil_contribution", context.foil)):
        effect = np.einsum("thd,hde,pe->hpt", held, weights.w_o, found.attention[layer], optimize=True)
        sums[name] = (score * effect)[visible]
    context.flows.join(Type.SUMS, Kind.VALUE, Kind.HEAD, sums)


def _creations(context: _Context, layer: int, reads: tuple[int, Kind], key: Array, value: Array) -> None:
    """What a query position's attention reads creates the keys and values of that position."""
    creators = np.tile(context.numbering.ids(*reads), context.shape.n_head)
    for kind, memory in ((Kind.KEY, key), (Kind.VALUE, value)):
        columns = {"from": creators, "to": memory[:, context.forward.positions].reshape(-1)}
        context.flows.add(Type.CREATES, Label.STATE, label_of(kind), columns)


def _neurons(context: _Context, rows: Columns, reads: Array, writes: Array, base: int) -> None:
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


def _edge(context: _Context, type_: Type, source: tuple[int, Kind], target: tuple[int, Kind], vector: Array) -> None:
    """One relationship a position, scored by the norm of `vector`."""
    ids = context.numbering.ids
    context.flows.join(type_, source[1], target[1], {"from": ids(*source), "to": ids(*target), "score": _norms(vector)})


def _adds(
    context: _Context, source: tuple[int, Kind], target: tuple[int, Kind], added: Array, where: str, layer: int | None
) -> None:
    """ADDS with the norm of what is added and its contribution, in the direction named `where`."""
    ids = context.numbering.ids
    rows = np.broadcast_to(added, (len(context.forward.positions), added.shape[-1]))
    columns = {"from": ids(*source), "to": ids(*target), "score": _norms(rows)}
    context.flows.join(Type.ADDS, source[1], target[1], {**columns, **_effects(context, rows, where, layer)})


def _effects(context: _Context, rows: Float[Array, "*n P d_model"], where: str, layer: int | None) -> Columns:
    """Contributions of `rows` to the logits of target and foil."""
    effects = {}
    for name, found in (("contribution", context.target), ("foil_contribution", context.foil)):
        direction = getattr(found, where) if layer is None else getattr(found, where)[layer]
        effects[name] = (rows * direction).sum(-1).reshape(-1)
    return effects


def ranks(scores: Float[Array, "*n m"]) -> Int[Array, "*n m"]:
    """Rank of every score along the last axis, 1 = the largest; equal scores in their order."""
    order = np.argsort(-scores, axis=-1, kind="stable")
    rank = np.empty_like(order, dtype=np.int32)
    np.put_along_axis(rank, order, np.arange(1, scores.shape[-1] + 1, dtype=np.int32), -1)
    return rank


def _own_qkv(forward: Forward, captured: ForwardLayer) -> Float[Array, "P n"]:
    own = (captured.query, captured.key[forward.positions], captured.value[forward.positions])
    return np.concatenate([part.reshape(len(part), -1) for part in own], axis=1)


def _without(rows: Array, bias: Array | None) -> Array:
    return rows if bias is None else rows - bias


def _norms(rows: Float[Array, "*n d"]) -> Float[Array, "*n"]:
    norms: Array = np.linalg.norm(rows, axis=-1)
    return norms
