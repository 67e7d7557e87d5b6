"""What analyses need of a model itself: rows of its MLP matrices, and what random vectors project to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from flowatlas.errors import ModelError
from ingest.architecture.load import load_model
from ingest.lens.lens import LogitLens

Array = np.ndarray


class ModelReader:
    """Reads a model by `demo`, a name or a folder. Raises ModelError.

    `fingerprint` is the id of the model in a store, which must be that of the prompts.
    """

    def __init__(self, model: str, fingerprint: str) -> None:
        self._decoder = load_model(model).decoder
        self._lens: LogitLens | None = None
        if self._decoder.fingerprint != fingerprint:
            raise ModelError(
                f"{model} is not the model of the prompts.", known=f"Its id is {self._decoder.fingerprint}, theirs {fingerprint}.",
                next_step="Give the model that they were ingested with (`flowatlas query models`).",
            )  # fmt: skip

    def rows(self, layer: int, neurons: Sequence[int]) -> Float[Array, "n d_model"]:
        """Rows of a layer's second MLP matrix."""
        found: Array = np.asarray(self._decoder.layer(layer).mlp_value)[np.asarray(neurons)]
        return found

    def mean(self, layer: int) -> Float[Array, " d_model"]:
        """The mean row of a layer's second MLP matrix."""
        found: Array = np.asarray(self._decoder.layer(layer).mlp_value).mean(axis=0)
        return found

    def random_ids(self, count: int, seed: int) -> Int[Array, "count k"]:
        """Top ids of standard normal vectors through the lens (caption of figure 20)."""
        self._lens = self._lens or LogitLens.of(self._decoder)
        rows = np.random.default_rng(seed).standard_normal((count, self._decoder.d_model)).astype(np.float32)
        found: Array = np.asarray(self._lens.project_static(rows).top_ids)
        return found
