"""The norms that a pass goes through, and the vectors before and after each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from flowatlas.errors import ModelError
from flowatlas.vocabulary import Kind
from ingest.architecture.decoder import Decoder, Forward, Norm

Array = np.ndarray


@dataclass(frozen=True)
class Step:
    """A norm between the residual and a branch: `attention_norm` (the paper's ln1) or `mlp_norm` (ln2)."""

    layer: int
    kind: Kind
    norm: Norm

    def rows(self, forwards: Sequence[Forward], *, parallel: bool) -> tuple[Float[Array, "n d"], Float[Array, "n d"]]:
        """The residual that each pass gives the norm at its last query position, and what the norm makes of it."""
        pairs = [self._pair(forward, parallel) for forward in forwards]
        return np.stack([before for before, _ in pairs]), np.stack([after for _, after in pairs])

    def _pair(self, forward: Forward, parallel: bool) -> tuple[Float[Array, " d"], Float[Array, " d"]]:
        layer = forward.layers[self.layer]
        entering = forward.embedding if self.layer == 0 else forward.layers[self.layer - 1].residual_post
        if self.kind is Kind.ATTENTION_NORM:
            return entering[-1], layer.attention_norm[-1]
        before = entering if parallel else layer.residual_mid
        assert before is not None
        return before[-1], layer.mlp_norm[-1]


def steps(decoder: Decoder) -> list[Step]:
    """The norms of every layer, in the order of the flow.

    Raises ModelError for a family whose norms come after the branches (or act on the residual itself).
    """
    found: list[Step] = []
    for number in range(decoder.n_layer):
        layer = decoder.layer(number)
        norms = {Kind.ATTENTION_NORM: layer.attention_norm, Kind.MLP_NORM: layer.mlp_norm}
        found += [Step(number, kind, norm) for kind, norm in norms.items() if norm is not None]
    if not found:
        raise ModelError(
            f"{decoder.name} has no norms before attention and the MLP: those of its family, {decoder.family}, come after.",
            next_step="What norms do to token probabilities can be asked of families with norms before the branches.",
        )
    return found
