"""Which vectors a decoder's flow graph has, and the number of each within its prompt.

The graph is that of the paper's appendix A.1-A.3. What a family lacks (position embeddings, biases,
a norm before the MLP) has no node, and what it has more (norms after a branch) has one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int

from flowatlas.errors import ModelError
from flowatlas.vocabulary import STATE_STRIDE, Kind, Label
from ingest.architecture.decoder import Decoder

Array = np.ndarray

LABEL_OF_KIND = {Kind.QUERY: Label.QUERY, Kind.KEY: Label.KEY, Kind.VALUE: Label.VALUE, Kind.HEAD: Label.HEAD}


def label_of(kind: Kind) -> Label:
    """The node label of a kind of vector."""
    return LABEL_OF_KIND.get(kind, Label.STATE)


@dataclass(frozen=True)
class GraphShape:
    """The kinds of vectors in a decoder's graph, in the order of the flow."""

    n_layer: int
    n_head: int
    embedding_kinds: tuple[Kind, ...]
    layer_kinds: tuple[Kind, ...]
    final_kinds: tuple[Kind, ...]
    parallel: bool
    residual_norm: bool

    @classmethod
    def of(cls, decoder: Decoder, *, position_embedding: bool) -> GraphShape:
        """The shape of `decoder`'s graphs, with or without position embeddings."""
        first = decoder.layer(0)
        position = [Kind.POSITION_EMBEDDING] if position_embedding else []
        present = {
            Kind.ATTENTION_NORM: first.attention_norm is not None,
            Kind.ATTENTION_BIAS: first.b_o is not None,
            Kind.ATTENTION_POST_NORM: first.attention_post_norm is not None,
            Kind.RESIDUAL_MID: not decoder.parallel,
            Kind.MLP_NORM: first.mlp_norm is not None,
            Kind.MLP_BIAS: first.mlp_bias is not None,
            Kind.MLP_POST_NORM: first.mlp_post_norm is not None,
        }
        order = (
            Kind.ATTENTION_NORM, Kind.QKV, Kind.QUERY, Kind.KEY, Kind.VALUE, Kind.HEAD, Kind.CONCATENATED_HEADS,
            Kind.ATTENTION_BIAS, Kind.ATTENTION_OUTPUT, *_middle(decoder.residual_norm), Kind.MLP_NORM,
            Kind.MLP_BIAS, Kind.MLP_OUTPUT, *_end(decoder.residual_norm),
        )  # fmt: skip
        return cls(
            n_layer=decoder.n_layer,
            n_head=decoder.n_head,
            embedding_kinds=(Kind.TOKEN_EMBEDDING, *position, Kind.EMBEDDING),
            layer_kinds=tuple(kind for kind in order if present.get(kind, True)),
            final_kinds=(Kind.FINAL_NORM,) if decoder.final_norm is not None else (),
            parallel=decoder.parallel,
            residual_norm=decoder.residual_norm,
        )

    def has(self, kind: Kind) -> bool:
        """Whether the layers have this kind of vector."""
        return kind in self.layer_kinds

    def kinds(self, layer: int) -> tuple[Kind, ...]:
        """The kinds of a layer's vectors; where norms act on the residual, the last layer's is the final norm."""
        if self.residual_norm and self.final_kinds and layer == self.n_layer - 1:
            return tuple(kind for kind in self.layer_kinds if kind is not Kind.MLP_POST_NORM)
        return self.layer_kinds

    @cached_property
    def attention_reads(self) -> Kind:
        """What W_Q, W_K, W_V read: the norm's output, or the residual where there is no norm."""
        return Kind.ATTENTION_NORM if self.has(Kind.ATTENTION_NORM) else self.residual_before_attention

    @cached_property
    def mlp_reads(self) -> Kind:
        """What the MLP reads: its own norm, the norm shared with attention, or the residual."""
        if self.has(Kind.MLP_NORM):
            return Kind.MLP_NORM
        if self.parallel:
            return self.attention_reads
        return self.residual_after_attention

    @cached_property
    def residual_after_attention(self) -> Kind:
        """The residual between attention and MLP (the norm's output where norms act on the residual)."""
        return Kind.ATTENTION_POST_NORM if self.residual_norm else Kind.RESIDUAL_MID

    @cached_property
    def residual_before_attention(self) -> Kind:
        """The residual that leaves a layer and enters the next."""
        return Kind.MLP_POST_NORM if self.residual_norm else Kind.RESIDUAL_POST

    def groups(self) -> Iterator[tuple[int, Kind]]:
        """Every (layer, kind), in the order of the flow."""
        yield from ((-1, kind) for kind in self.embedding_kinds)
        for layer in range(self.n_layer):
            yield from ((layer, kind) for kind in self.kinds(layer))
        yield from ((self.n_layer, kind) for kind in self.final_kinds)

    def count(self, kind: Kind, positions: int, tokens: int) -> int:
        """How many vectors of `kind` a layer has, for P query positions and T tokens."""
        if kind in (Kind.KEY, Kind.VALUE):
            return self.n_head * tokens
        if kind in (Kind.QUERY, Kind.HEAD):
            return self.n_head * positions
        return positions

    def number(self, positions: int, tokens: int) -> Numbering:
        """Number the vectors of one prompt. Raises ModelError when there are more than ids."""
        starts: dict[tuple[int, Kind], tuple[int, int]] = {}
        total = 0
        for layer, kind in self.groups():
            count = self.count(kind, positions, tokens)
            starts[layer, kind] = (total, count)
            total += count
        if total > STATE_STRIDE:
            raise ModelError(
                f"A prompt of {tokens} tokens with {positions} query positions has {total:,} vectors.",
                known=f"At most {STATE_STRIDE:,} fit into one prompt's ids.",
                next_step="Use --positions last, or a list of positions.",
            )
        return Numbering(starts, total)


def _middle(residual_norm: bool) -> tuple[Kind, ...]:
    pair = (Kind.ATTENTION_POST_NORM, Kind.RESIDUAL_MID)
    return pair[::-1] if residual_norm else pair


def _end(residual_norm: bool) -> tuple[Kind, ...]:
    pair = (Kind.MLP_POST_NORM, Kind.RESIDUAL_POST)
    return pair[::-1] if residual_norm else pair


@dataclass(frozen=True)
class Numbering:
    """Local indices of one prompt's vectors: contiguous for each (layer, kind), head by head."""

    starts: dict[tuple[int, Kind], tuple[int, int]]
    total: int

    def ids(self, layer: int, kind: Kind) -> Int[Array, " n"]:
        """Local indices of all vectors of `kind` in `layer`."""
        start, count = self.starts[layer, kind]
        return np.arange(start, start + count, dtype=np.int64)
