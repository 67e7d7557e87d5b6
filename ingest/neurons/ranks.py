"""The rank of a token in the projection of every static neuron, for either sign of its coefficient.

A negative coefficient adds -v, so a prompt's `WRITES.target_rank` is the target's rank in LL(v) or
in LL(-v). Ranks depend on the neuron and the token alone: each token is ranked once a model.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from ingest.architecture.decoder import Decoder
from ingest.cache_files import keep
from ingest.lens.lens import LogitLens
from ingest.neurons.index import NeuronIndex

Array = np.ndarray

HELD_BYTES = 128 * 2**20
"""Ranks that are held in memory, as long as the prompts at hand do not need more."""


class TargetRanks:
    """Ranks of tokens in all neurons of a model; computed for new tokens together, kept on disk.

    A pass over the weights costs the same for one token as for many. `cache` is a folder (or None):
    one file a token, under the model's fingerprint.
    """

    def __init__(self, decoder: Decoder, lens: LogitLens, cache: Path | None = None) -> None:
        self.index = NeuronIndex.of(decoder)
        self._decoder = decoder
        self._lens = lens
        self._cache = None if cache is None else cache / decoder.fingerprint / "neuron_ranks"
        self._kind = np.dtype(np.uint16 if lens.vocabulary <= np.iinfo(np.uint16).max else np.int32)
        self._ranks: dict[int, Int[Array, "2 n_neuron"]] = {}

    def prepare(self, tokens: Iterable[int], ahead: Iterable[int] = ()) -> None:
        """Rank `tokens` in every neuron, those that are not known yet in one pass over the weights.

        The pass takes tokens of `ahead`, which will be wanted later, along: as many as memory may hold.
        """
        wanted = _ids(tokens)
        most = HELD_BYTES // (2 * self._kind.itemsize * self.index.total)
        if len(self._ranks.keys() | set(wanted)) > most:
            self._ranks = {token: self._ranks[token] for token in wanted if token in self._ranks}
        missing = [token for token in wanted if token not in self._ranks and not self._load(token)]
        if not missing:
            return
        room = max(0, most - len(self._ranks) - len(missing))
        later = (token for token in _ids(ahead) if token not in self._ranks and token not in missing)
        self._rank(missing + [token for token in islice(later, room) if not self._load(token)])

    def _rank(self, missing: list[int]) -> None:
        ids = np.asarray(missing, dtype=np.int64)
        found = np.empty((2, self.index.total, len(missing)), self._kind)
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
        self._ranks[token] = ranks.astype(self._kind, copy=False)
        return True

    def _save(self, token: int) -> None:
        if self._cache is None:
            return
        keep(self._cache / f"{token}.npy", lambda stream: np.save(stream, self._ranks[token]))


def _ids(tokens: Iterable[int]) -> list[int]:
    """Each token of `tokens` once, in their order; -1 means none."""
    return list(dict.fromkeys(int(token) for token in tokens if token >= 0))
