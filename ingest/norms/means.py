"""Mean probability of every token before and after a norm: sums over vectors, never the vectors' own distributions.

Logits and softmax are float32 (torch), sums float64. Memory is one block of logits and, for each norm
and lens, two sums over the vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float

from flowatlas.vocabulary import Lens
from ingest.architecture.decoder import Decoder
from ingest.lens.unembedding import Unembedding

Array = np.ndarray

BLOCK_BYTES = 2**27
"""Logits at once: 128 MiB, and as much again for their exponentials."""


class Probabilities:
    """Token probabilities of vectors under the lenses with and without the final norm."""

    def __init__(self, decoder: Decoder) -> None:
        full = Unembedding(
            decoder.final_norm, decoder.unembedding, decoder.unembedding_bias, decoder.logit_scale, decoder.softcap
        )
        self.lenses: Mapping[Lens, Unembedding] = {Lens.CIRCUIT: full, Lens.NO_FINAL_NORM: full.without_norm()}
        self.vocabulary = full.vocabulary
        self._direct = torch.from_numpy(full.direct.matrix)

    def total(self, lens: Lens, rows: Float[Array, "n d"]) -> Float[Array, " V"]:
        """The sum over `rows` of softmax(logits), float64."""
        unembedding = self.lenses[lens]
        normalized = torch.from_numpy(unembedding.normalized(rows).astype(np.float32))
        total = torch.zeros(self.vocabulary, dtype=torch.float64)
        for part in torch.split(normalized, max(1, BLOCK_BYTES // (4 * self.vocabulary))):
            logits = torch.addmm(self._direct[-1], part, self._direct[:-1])
            if unembedding.softcap:
                logits = unembedding.softcap * torch.tanh(logits / unembedding.softcap)
            powers = torch.exp_(logits.sub_(logits.amax(dim=1, keepdim=True)))
            total += (1.0 / powers.sum(dim=1)) @ powers
        summed: Array = total.numpy()
        return summed


@dataclass
class Means:
    """Sums over the vectors before and after one norm."""

    probabilities: Probabilities
    n: int = 0
    before: dict[Lens, Array] = field(default_factory=dict)
    after: dict[Lens, Array] = field(default_factory=dict)
    state_before: Array | float = 0.0
    state_after: Array | float = 0.0
    squares: Array | float = 0.0

    def add(self, before: Float[Array, "n d"], after: Float[Array, "n d"]) -> None:
        """Count vectors and what the norm made of them."""
        self.n += len(before)
        for lens in self.probabilities.lenses:
            for sums, rows in ((self.before, before), (self.after, after)):
                sums[lens] = sums.get(lens, 0.0) + self.probabilities.total(lens, rows)
        wide = before.astype(np.float64)
        self.state_before = self.state_before + wide.sum(0)
        self.state_after = self.state_after + after.sum(0, dtype=np.float64)
        self.squares = self.squares + (wide**2).sum(0)

    def mean_and_spread(self) -> tuple[Float[Array, " d"], Float[Array, " d"]]:
        """Mean of the vectors before the norm and their standard deviation, dimension by dimension."""
        mean = np.asarray(self.state_before) / self.n
        return mean, np.sqrt(np.maximum(np.asarray(self.squares) / self.n - mean**2, 0.0))

    def columns(self, lens: Lens) -> dict[str, Float[Array, " V"]]:
        """Mean probabilities before and after, and the probabilities of the mean vectors before and after."""
        mean_states = (np.asarray(state)[None] / self.n for state in (self.state_before, self.state_after))
        of_before, of_after = (self.probabilities.total(lens, state) for state in mean_states)
        return {
            "before": self.before[lens] / self.n,
            "after": self.after[lens] / self.n,
            "mean_state_before": of_before,
            "mean_state_after": of_after,
        }
