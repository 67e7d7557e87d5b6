"""The rank of a token in the projection of every static neuron, for either sign of its coefficient.

A negative coefficient adds -v, so a prompt's `WRITES.target_rank` is the target's rank in LL(v) or
in LL(-v). Ranks depend on the neuron and the token alone: each token is ranked once a model.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from ingest.architecture.decoder import Decoder
from ingest.cache_files import keep
from ingest.lens.lens import LogitLens
from ingest.neurons.index import NeuronIndex

Array = np.ndarray


class TargetRanks:
    """Ranks of tokens in all neurons of a model; computed for new tokens together, kept on disk.

    `cache` is a folder (or None): one file a token, under the model's fingerprint.
    """

    def __init__(self, decoder: Decoder, lens: LogitLens, cache: Path | None = None) -> None:
        self.index = NeuronIndex.of(decoder)
        self._decoder = decoder
        self._lens = lens
        self._cache = None if cache is None else cache / decoder.fingerprint / "neuron_ranks"
        self._ranks: dict[int, Int[Array, "2 n_neuron"]] = {}

    def prepare(self, tokens: Int[Array, " n"]) -> None:
        """Rank `tokens` in every neuron, those that are not known yet in one pass over the weights."""
        wanted = {int(token) for token in np.unique(tokens) if token >= 0}
        self._ranks = {token: found for token, found in self._ranks.items() if token in wanted}
        missing = [token for token in sorted(wanted - self._ranks.keys()) if not self._load(token)]
        if not missing:
            return
        ids = np.asarray(missing, dtype=np.int64)
        found = np.empty((2, self.index.total, len(missing)), np.int32)
        for layer in range(self.index.n_layer):
            weights = self._decoder.layer(layer)
            matrices = (weights.w_o.reshape(self.index.n_attention_output, -1), weights.mlp_value)
            start = layer * self.index.per_layer
            for rows in matrices:
                found[:, start : start + len(rows)] = self._lens.ranks_of(np.ascontiguousarray(rows), ids)
                start += len(rows)
        for column, token in enumerate(missing):
            self._ranks[token] = np.ascontiguousarray(found[:, :, column])
            self._save(token)

    def of(self, tokens: Int[Array, " n"], neurons: Int[Array, " n"], positive: Bool[Array, " n"]) -> Int[Array, " n"]:
        """Rank of `tokens[i]` in the projection of neuron `neurons[i]` (number in the model) or of its negative."""
        ranks = np.empty(len(neurons), np.int32)
        for token in np.unique(tokens):
            here = tokens == token
            ranks[here] = self._ranks[int(token)][np.where(positive[here], 0, 1), neurons[here]]
        return ranks

    def _load(self, token: int) -> bool:
        if self._cache is None:
            return False
        file = self._cache / f"{token}.npy"
        try:
            ranks = np.load(file)
        except (OSError, ValueError):
            return False
        if ranks.shape != (2, self.index.total):
            return False
        self._ranks[token] = ranks
        return True

    def _save(self, token: int) -> None:
        if self._cache is None:
            return
        keep(self._cache / f"{token}.npy", lambda stream: np.save(stream, self._ranks[token]))
