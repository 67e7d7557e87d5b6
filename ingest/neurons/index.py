"""Ids of neurons: layer after layer, the rows of W_O before the rows of the second MLP matrix."""

from __future__ import annotations

from dataclasses import dataclass

from flowatlas.errors import ModelError
from flowatlas.vocabulary import NEURON_STRIDE
from ingest.architecture.decoder import Decoder

_HASH_DIGITS = 6  # 24 bits


@dataclass(frozen=True)
class NeuronIndex:
    """Where a model's neurons start; ids are the same in every shard and store."""

    base: int
    n_layer: int
    n_attention_output: int
    n_mlp: int

    @classmethod
    def of(cls, decoder: Decoder) -> NeuronIndex:
        """The index of `decoder`'s neurons. Raises ModelError when there are more than ids."""
        index = cls(
            int(decoder.fingerprint[:_HASH_DIGITS], 16) * NEURON_STRIDE,
            decoder.n_layer,
            decoder.n_head * decoder.d_head,
            decoder.d_mlp * decoder.n_expert,
        )
        if index.total > NEURON_STRIDE:
            raise ModelError(f"{decoder.name} has {index.total:,} neurons; at most {NEURON_STRIDE:,} have ids.")
        return index

    @property
    def per_layer(self) -> int:
        """Neurons of one layer."""
        return self.n_attention_output + self.n_mlp

    @property
    def total(self) -> int:
        """Neurons of the model."""
        return self.n_layer * self.per_layer

    def attention_output(self, layer: int) -> int:
        """Id of the first row of W_O in `layer`."""
        return self.base + layer * self.per_layer

    def mlp(self, layer: int) -> int:
        """Id of the first MLP neuron in `layer`."""
        return self.attention_output(layer) + self.n_attention_output
