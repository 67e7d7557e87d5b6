"""Attention as flow: qkv to queries, keys, values, heads and their concatenation (appendix A.1, steps 3-5)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from flowatlas.vocabulary import Kind, Label, Type
from ingest.architecture.decoder import ForwardLayer
from ingest.decompose.effects import StaticLayer
from ingest.decompose.flow_tables import Context, ranks
from ingest.decompose.shape import label_of
from ingest.decompose.vectors import ungroup

Array = np.ndarray


def query_to_head(
    context: Context, layer: int, captured: ForwardLayer, static: StaticLayer, reads: tuple[int, Kind]
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
    _memory(context, layer, captured, static, query, key, value, head)
    if context.seen:
        _creations(context, reads, key, value)
    columns = {
        "from": head.reshape(-1),
        "to": np.tile(ids(layer, Kind.CONCATENATED_HEADS), n_head),
        "score": static.norm_through(captured.head).T.reshape(-1),
    }
    for name, effects in context.attention_effects(layer):
        columns[name] = (captured.head * effects).sum(-1).T.reshape(-1)
    context.flows.join(Type.CONCATENATES, Kind.HEAD, Kind.CONCATENATED_HEADS, columns)


def _memory(
    context: Context,
    layer: int,
    captured: ForwardLayer,
    static: StaticLayer,
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
    norm = static.norm_through(held).T
    sums = {
        "from": value[at_head, at_token],
        "to": head[at_head, at_position],
        **columns,
        "norm": (score * norm[:, None, :])[visible],
    }
    for name, effects in context.attention_effects(layer):
        effect = np.matmul(effects.transpose(1, 0, 2), held.transpose(1, 2, 0))
        sums[name] = (score * effect)[visible]
    context.flows.join(Type.SUMS, Kind.VALUE, Kind.HEAD, sums)


def _creations(context: Context, reads: tuple[int, Kind], key: Array, value: Array) -> None:
    """What a query position's attention reads creates the keys and values of that position."""
    creators = np.tile(context.numbering.ids(*reads), context.shape.n_head)
    for kind, memory in ((Kind.KEY, key), (Kind.VALUE, value)):
        columns = {"from": creators, "to": memory[:, context.forward.positions].reshape(-1)}
        context.flows.add(Type.CREATES, Label.STATE, label_of(kind), columns)
