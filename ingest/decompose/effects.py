"""What a unit of every neuron adds to the logits, for a whole batch at once.

The direct effect of a neuron's row is row . direction. W_O's rows serve heads and memory values too:
a head's contribution is the sum of its entries times the effects of their rows. Taking all prompts of
a batch through one matrix product reads each layer's weights once a batch, not once a prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from ingest.architecture.decoder import Decoder
from ingest.decompose.directions import Directions

Array = np.ndarray


@dataclass(frozen=True)
class LayerEffects:
    """Effects of one layer's rows at P query positions of one prompt, on the target's and the foil's logit.

    `mlp` is None where the MLP consists of experts, of which each position uses a few.
    """

    attention: Float[Array, "P n_head d_head"]
    attention_foil: Float[Array, "P n_head d_head"]
    mlp: Float[Array, "P n_neuron"] | None


@dataclass(frozen=True)
class StaticLayer:
    """Numbers of a layer's weights that every prompt needs: norms of rows, and W_O W_O^T by head."""

    attention_row_norms: Float[Array, " n"]
    mlp_row_norms: Float[Array, " n_neuron"]
    gram: Float[Array, "n_head d_head d_head"]

    def norm_through(self, held: Float[Array, "n n_head d_head"]) -> Float[Array, "n n_head"]:
        """Norms of head-wise vectors after W_O: sqrt(v W_O W_O^T v^T)."""
        products = np.matmul(held.transpose(1, 0, 2), self.gram).transpose(1, 0, 2)
        squared: Array = np.sqrt((products * held).sum(-1).clip(0))
        return squared


@lru_cache(maxsize=256)
def static_layer(decoder: Decoder, layer: int) -> StaticLayer:
    """The static numbers of a layer, kept for the layers used last."""
    weights = decoder.layer(layer)
    return StaticLayer(
        np.linalg.norm(weights.w_o.reshape(-1, weights.w_o.shape[-1]), axis=1),
        np.linalg.norm(weights.mlp_value, axis=1),
        weights.w_o @ weights.w_o.transpose(0, 2, 1),
    )


def batch_effects(
    decoder: Decoder, target: Sequence[Directions], foil: Sequence[Directions]
) -> list[list[LayerEffects]]:
    """Effects of every layer's rows for every prompt of a batch."""
    ends = np.cumsum([len(found.logit) for found in target])[:-1]
    by_prompt: list[list[LayerEffects]] = [[] for _ in target]
    for layer in range(decoder.n_layer):
        weights = decoder.layer(layer)
        rows = weights.w_o.reshape(-1, weights.w_o.shape[-1])
        shape = (-1, *weights.w_o.shape[:2])
        attention = np.concatenate([found.attention[layer] for found in target]) @ rows.T
        attention_foil = np.concatenate([found.attention[layer] for found in foil]) @ rows.T
        mlp: list[Array | None] = [None] * len(target)
        if decoder.n_expert == 1:
            whole = np.concatenate([found.mlp[layer] for found in target]) @ weights.mlp_value.T
            mlp = list(np.split(whole, ends))
        split = zip(np.split(attention, ends), np.split(attention_foil, ends), mlp, strict=True)
        for number, (on_target, on_foil, of_mlp) in enumerate(split):
            by_prompt[number].append(LayerEffects(on_target.reshape(shape), on_foil.reshape(shape), of_mlp))
    return by_prompt
