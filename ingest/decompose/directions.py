"""Directions whose product with a vector is the vector's direct effect on a token's logit.

With the scale of every norm frozen at what it was in the pass, the way from a branch's output to the
logit is linear: logit = sum of contributions + constant. The constant is what no vector of the pass
adds: the biases of the unembedding and of the norms on the way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ingest.architecture.decoder import Decoder, Forward, Norm

Array = np.ndarray


@dataclass(frozen=True)
class Directions:
    """For one token at every query position; all arrays nan where the token is -1 (none)."""

    attention: list[Float[Array, "P d_model"]]
    mlp: list[Float[Array, "P d_model"]]
    attention_residual: list[Float[Array, "P d_model"]]
    mlp_residual: list[Float[Array, "P d_model"]]
    embedding: Float[Array, "P d_model"]
    constant: Float[Array, " P"]
    logit: Float[Array, " P"]


def directions(decoder: Decoder, forward: Forward, tokens: Int[Array, " P"]) -> Directions:
    """Directions for the logit of `tokens[p]` at query position p, from the last layer to the first.

    `attention[l]` and `mlp[l]` are for the outputs of the branches, `*_residual[l]` for what is added
    to the residual (they differ where a norm or a multiplier stands between).
    """
    wanted = np.where(tokens >= 0, tokens, 0)
    through = decoder.logit_scale * decoder.unembedding.T[wanted]
    bias = 0.0 if decoder.unembedding_bias is None else decoder.logit_scale * decoder.unembedding_bias[wanted]
    constant = np.zeros(len(tokens), np.float32) + bias
    logit = (forward.final_norm * through).sum(-1) + constant
    walk = _Walk(through, constant)
    if decoder.final_norm is not None:
        walk.through_norm(decoder.final_norm, forward.layers[-1].residual_post)
    attention, mlp, attention_residual, mlp_residual = [], [], [], []
    for index in reversed(range(decoder.n_layer)):
        captured, weights = forward.layers[index], decoder.layer(index)
        if decoder.residual_norm and weights.mlp_post_norm is not None:
            walk.through_norm(weights.mlp_post_norm, captured.residual_post)
        mlp_residual.append(walk.direction)
        mlp.append(walk.branch(decoder, weights.mlp_post_norm, captured.mlp_output))
        if decoder.residual_norm and weights.attention_post_norm is not None:
            assert captured.residual_mid is not None
            walk.through_norm(weights.attention_post_norm, captured.residual_mid)
        attention_residual.append(walk.direction)
        attention.append(walk.branch(decoder, weights.attention_post_norm, captured.attention_output))
    missing = np.where(tokens >= 0, np.float32(0), np.float32(np.nan))

    def in_order(found: list[Array]) -> list[Array]:
        return [array + missing[:, None] for array in reversed(found)]

    return Directions(
        in_order(attention),
        in_order(mlp),
        in_order(attention_residual),
        in_order(mlp_residual),
        walk.direction + missing[:, None],
        walk.constant + missing,
        logit + missing,
    )


@dataclass
class _Walk:
    """Where a walk from the logit back to the embedding stands: the direction here, the constant so far."""

    direction: Float[Array, "P d_model"]
    constant: Float[Array, " P"]

    def through_norm(self, norm: Norm, before: Float[Array, "P d_model"]) -> None:
        """Step back through a norm on the residual, whose input was `before`."""
        if norm.bias is not None:
            self.constant = self.constant + self.direction @ norm.bias
        self.direction = norm.pull_back(self.direction, norm.scale(before))

    def branch(self, decoder: Decoder, post_norm: Norm | None, output: Float[Array, "P d_model"]) -> Array:
        """The direction for a branch's output, through its multiplier and its own norm."""
        direction = decoder.residual_multiplier * self.direction
        if post_norm is None or decoder.residual_norm:
            return direction
        if post_norm.bias is not None:
            self.constant = self.constant + direction @ post_norm.bias
        return post_norm.pull_back(direction, post_norm.scale(output))
