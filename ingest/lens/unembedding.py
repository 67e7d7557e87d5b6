"""The model's last step, LL(x) = softmax(softcap(logit_scale * (norm_f(x) U + b))), made ready to be run.

Everything that is linear after the norm's scale is folded into one matrix per *circuit*, a linear
map W from the rows to the residual (identity for full vectors, a head's W_O slice, a head's QK
product). With x = v W and a frozen scale 1/sigma, logits = [v / sigma, 1] @ [W' ; constant], where
W' = centred(W) * weight @ U and sigma^2 = v G v^T + eps with G = centred(W) centred(W)^T / d.
So a head's vectors of d_head numbers never become vectors of d_model numbers.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from flowatlas.errors import ModelError
from ingest.architecture.decoder import Norm

Array = np.ndarray

TOLERANCE = 2e-7
"""Logits closer than this times the lengths of the vectors multiplied are decided in float64."""
GREATEST = 1e30
"""A bound that keeps logits and what is made from them far from float32's greatest number."""


@dataclass(frozen=True)
class Factor:
    """What takes rows of d_in numbers to logits: `matrix` (d_in + 1, V), the constant logits last
    (a numpy array, or a torch tensor where a GPU does the work).

    `gram` (d_in, d_in) gives sigma^2, None without a norm. `folded` is centred(W) * weight, None for
    the identity; `lengths` are those of its rows, from which the rounding of a logit is estimated.
    """

    matrix: Any
    gram: Float[Array, "d_in d_in"] | None
    folded: Float[Array, "d_in d"] | None
    lengths: Float[Array, " d_in"]


class Unembedding:
    """The final norm and the unembedding of a model, in float32 for speed and float64 for doubt.

    Raises ModelError when a weight is not finite or shapes do not fit.
    """

    def __init__(
        self,
        final_norm: Norm | None,
        unembedding: Float[Array, "d V"],
        bias: Float[Array, " V"] | None,
        logit_scale: float,
        softcap: float | None,
    ) -> None:
        self.d_model, self.vocabulary = int(unembedding.shape[0]), int(unembedding.shape[1])
        self.norm = final_norm
        self.logit_scale = logit_scale
        self.softcap = softcap or 0.0
        self.vectors = np.ascontiguousarray(unembedding.T, dtype=np.float32)
        self.bias = np.zeros(self.vocabulary) if bias is None else bias.astype(np.float64) * logit_scale
        self.weight = np.full(self.d_model, logit_scale)
        self.constant = np.zeros(self.d_model)
        if final_norm is not None:
            self.weight = self.weight * final_norm.weight.astype(np.float64)
            if final_norm.bias is not None:
                self.constant = logit_scale * final_norm.bias.astype(np.float64)
        self._check()
        self.direct = self._direct()
        self._length = float(np.sqrt(np.einsum("vd,vd->v", self.vectors, self.vectors, dtype=np.float64).max()))

    def without_norm(self) -> Unembedding:
        """The same without the final norm: x U + b, its matrices shared."""
        bare = copy(self)
        bare.__dict__.pop("constant_logits", None)  # made with the norm's bias
        bare.norm, bare.weight, bare.constant = None, np.full(self.d_model, self.logit_scale), np.zeros(self.d_model)
        return bare

    def _check(self) -> None:
        if self.bias.shape != (self.vocabulary,) or self.weight.shape != (self.d_model,):
            raise ModelError(
                "The final norm or the unembedding's bias does not fit the unembedding.",
                known=f"The unembedding has {self.d_model} rows and {self.vocabulary} columns.",
            )
        for name, part in (
            ("unembedding", self.vectors),
            ("bias", self.bias),
            ("norm", self.weight),
            ("norm's bias", self.constant),
        ):
            if not np.isfinite(part).all():
                raise ModelError(
                    f"The final {name} of the model has values that are not finite (NaN or infinite).",
                    next_step="Check the weights file: it may be damaged or trained to divergence.",
                )

    def _direct(self) -> Factor:
        """The factor of whole vectors after the norm's scale and weight (d_in = d_model).

        Softmax does not see what all logits have in common, so the mean unembedding vector is taken
        off: models have large common offsets, which would cost float32 its last digits. A softcap
        does see them.
        """
        matrix = np.empty((self.d_model + 1, self.vocabulary), np.float32)
        mean = np.zeros(self.d_model) if self.softcap else self.vectors.mean(0, dtype=np.float64)
        np.subtract(self.vectors.T, mean[:, None], out=matrix[:-1], casting="same_kind")
        shared = 0.0 if self.softcap else self.bias.mean()
        matrix[-1] = self.bias - shared
        return Factor(matrix, None, None, np.ones(self.d_model))

    @cached_property
    def constant_logits(self) -> Float[Array, " V"]:
        """The part of all logits that does not depend on the row: the norm's bias and the unembedding's."""
        logits: Array = self.constant.astype(np.float32) @ self.direct.matrix[:-1] + self.direct.matrix[-1]
        return logits

    def centred(self, rows: Float[Array, "n d"]) -> Float[Array, "n d"]:
        """Float64 rows as the norm centres them."""
        wide = rows.astype(np.float64)
        return wide if self.norm is None else self.norm.centred(wide)

    def normalized(self, rows: Float[Array, "n d"], sign: float = 1.0) -> Float[Array, "n d"]:
        """What the unembedding multiplies, in float64: norm_f(sign * rows) * logit_scale."""
        centred = self.centred(rows)
        scale = 1.0 if self.norm is None else 1.0 / np.sqrt((centred**2).mean(-1, keepdims=True) + self.norm.eps)
        normalized: Array = centred * (sign * scale) * self.weight + self.constant
        return normalized

    def fold(self, circuit: Float[Array, "d_in d"], matrix: Any) -> Factor:
        """The factor of a circuit whose `matrix` is made from `folded_rows` by one GEMM."""
        centred = self.centred(circuit)
        folded = centred * self.weight
        gram = None if self.norm is None else centred @ centred.T / self.d_model
        return Factor(matrix, gram, folded, np.sqrt((folded**2).sum(1)))

    def folded_rows(self, circuit: Float[Array, "d_in d"]) -> Float[Array, "d_in_1 d"]:
        """What the unembedding multiplies to make the factor's matrix: centred(W) * weight, and the constant."""
        return np.vstack([self.centred(circuit) * self.weight, self.constant]).astype(np.float32)

    def scaled(self, rows: Float[Array, "n d_in"], factor: Factor) -> Float[Array, "n d_in"]:
        """rows / sigma in float64."""
        wide = rows.astype(np.float64)
        if factor.gram is None or self.norm is None:
            return wide
        variance = ((wide @ factor.gram) * wide).sum(1)
        scaled: Array = wide / np.sqrt(np.maximum(variance, 0.0) + self.norm.eps)[:, None]
        return scaled

    def exact(self, scaled: Float[Array, "n d_in"], factor: Factor) -> Float[Array, "n d"]:
        """What the unembedding multiplies, in float64, of rows that `scaled` (or `normalized`) gave."""
        return scaled if factor.folded is None else scaled @ factor.folded + self.constant

    def tolerance(self, scaled: Float[Array, "n d_in"], factor: Factor) -> Float[Array, " n"]:
        """How far apart two float32 logits of a row must be for their order to be certain.

        Raises ModelError when logits could overflow float32.
        """
        length = np.sqrt((scaled**2) @ (factor.lengths**2) + (self.constant**2).sum())
        bound = length * self._length + np.abs(self.bias).max()
        if not (bound < GREATEST).all():
            raise ModelError(
                "Logits overflow float32: a vector or a weight is too large to project.",
                next_step="Check the model's weights and its number format.",
            )
        tolerance: Array = (TOLERANCE * bound).astype(np.float32)
        return tolerance
