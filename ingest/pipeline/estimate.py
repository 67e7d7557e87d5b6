"""How large a prompt's graph will be, by formula, before anything runs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowatlas.vocabulary import Kind, Label, Lens
from ingest.architecture.decoder import Decoder
from ingest.decompose.shape import GraphShape, label_of

if TYPE_CHECKING:
    from ingest.architecture.load import LoadedModel

BYTES_PER_STATE = 330
"""Measured on shards and the embedded store together, about."""
BYTES_PER_LIST = 190
"""Top ids of a further lens."""
BYTES_PER_RELATIONSHIP = 75


@dataclass(frozen=True)
class Size:
    """Vectors and relationships of graphs, and the bytes of their shards and their part of the embedded store.

    `lists` counts vectors that a lens beside `circuit` reads, once for each such lens.
    """

    states: int = 0
    relationships: int = 0
    lists: int = 0

    def __add__(self, other: Size) -> Size:
        return Size(self.states + other.states, self.relationships + other.relationships, self.lists + other.lists)

    @property
    def bytes(self) -> int:
        """About how many bytes on disk."""
        lists = self.lists * BYTES_PER_LIST
        return self.states * BYTES_PER_STATE + self.relationships * BYTES_PER_RELATIONSHIP + lists


def model_shape(model: LoadedModel) -> GraphShape:
    """The shape of a model's graphs, from a pass over one token."""
    probe = model.capture([[0]])[0]
    return GraphShape.of(model.decoder, position_embedding=probe.position_embedding is not None)


def graph_size(
    decoder: Decoder,
    shape: GraphShape,
    n_tokens: int,
    positions: list[int],
    chosen: int | None = None,
    lenses: Collection[Lens] = (),
) -> Size:
    """Size of one prompt's graph that keeps all neurons.

    `chosen` is the number of MLP neurons with coefficients at a position, where experts are chosen.
    """
    queries = len(positions)
    counts = [(kind, shape.count(kind, queries, n_tokens)) for _, kind in shape.groups()]
    states = sum(count for _, count in counts)
    by_head = sum(count for kind, count in counts if label_of(kind) is not Label.STATE)
    lists = by_head * (Lens.NAIVE in lenses) + (states - by_head) * (Lens.NO_FINAL_NORM in lenses)
    seen = sum(position + 1 for position in positions)
    last_only = queries == 1 and positions[0] == n_tokens - 1
    mlp = decoder.d_mlp * decoder.n_expert if chosen is None else chosen
    per_head = queries * 2 + 2 * seen + (max(positions) + 1) + 2 * n_tokens + (0 if last_only else 2 * queries)
    neurons = 2 * queries * (decoder.n_head * decoder.d_head + mlp)
    layers = decoder.n_layer * (decoder.n_head * per_head + neurons + queries * _between(shape))
    embeddings = queries * (len(shape.embedding_kinds) - 1 + 1)
    return Size(states, n_tokens + embeddings + layers + queries * len(shape.final_kinds), lists)


def _between(shape: GraphShape) -> int:
    """Relationships a position and layer that are not by head, token or neuron."""
    optional = (
        Kind.ATTENTION_NORM, Kind.ATTENTION_BIAS, Kind.ATTENTION_POST_NORM,
        Kind.MLP_NORM, Kind.MLP_BIAS, Kind.MLP_POST_NORM,
    )  # fmt: skip
    projects, adds, skips = 3, 2, 1 if shape.parallel else 2
    return projects + adds + skips + sum(shape.has(kind) for kind in optional)
