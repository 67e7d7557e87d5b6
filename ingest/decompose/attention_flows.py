"""Attention as flow: qkv to queries, keys, values, heads and their concatenation (appendix A.1, steps 3-5)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from flowatlas.vocabulary import Kind, Label, Type
from ingest.architecture.decoder import ForwardLayer, LayerWeights
from ingest.decompose.flow_tables import Context, effects, norms, ranks
from ingest.decompose.shape import label_of
from ingest.decompose.vectors import ungroup

Array = np.ndarray


def query_to_head(
    context: Context, layer: int, captured: ForwardLayer, weights: LayerWeights, reads: tuple[int, Kind]
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
        _creations(context, reads, key, value)
    projected = np.einsum("phd,hdm->hpm", captured.head, weights.w_o, optimize=True)
    columns = {
        "from": head.reshape(-1),
        "to": np.tile(ids(layer, Kind.CONCATENATED_HEADS), n_head),
        "score": norms(projected).reshape(-1),
    }
    found = effects(context, projected, "attention", layer)
    context.flows.join(Type.CONCATENATES, Kind.HEAD, Kind.CONCATENATED_HEADS, {**columns, **found})


def _memory(
    context: Context,
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
    recalls = {
        "from": key[recalled],
        "to": value[recalled],
        "score": strongest[recalled],
        "rank": ranks(strongest)[recalled],
    }
    context.flows.join(Type.RECALLS, Kind.KEY, Kind.VALUE, recalls)
    held = ungroup(captured.value, context.shape.n_head)
    norm = np.sqrt(
        np.einsum("thd,hde,the->ht", held, weights.w_o @ weights.w_o.transpose(0, 2, 1), held, optimize=True).clip(0)
    )
    sums = {
        "from": value[at_head, at_token],
        "to": head[at_head, at_position],
        **columns,
        "norm": (score * norm[:, None, :])[visible],
    }
    for name, found in (("contribution", context.target), ("foil_contribution", context.foil)):
        effect = np.einsum("thd,hde,pe->hpt", held, weights.w_o, found.attention[layer], optimize=True)
        sums[name] = (score * effect)[visible]
    context.flows.join(Type.SUMS, Kind.VALUE, Kind.HEAD, sums)


def _creations(context: Context, reads: tuple[int, Kind], key: Array, value: Array) -> None:
    """What a query position's attention reads creates the keys and values of that position."""
    creators = np.tile(context.numbering.ids(*reads), context.shape.n_head)
    for kind, memory in ((Kind.KEY, key), (Kind.VALUE, value)):
        columns = {"from": creators, "to": memory[:, context.forward.positions].reshape(-1)}
        context.flows.add(Type.CREATES, Label.STATE, label_of(kind), columns)
