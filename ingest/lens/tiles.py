"""GEMMs of a chunk of rows, tile by tile of the vocabulary: the logits never leave the cache."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from ingest.lens.unembedding import Factor

Array = np.ndarray

CHUNK_ROWS = 480
"""Rows that a thread takes at once: enough for BLAS to be at its best."""
TILE = 3840
"""Tokens whose logits a thread holds at once: a tile of 480 rows stays near the core."""


def buffer_size(chunk_rows: int, vocabulary: int) -> int:
    """Floats that a chunk of at most `chunk_rows` needs as its buffer: tiles of both signs."""
    return 2 * max(chunk_rows, 2) * min(TILE, vocabulary)


def with_column(rows: Float[Array, "n d"], last: float) -> Float[Array, "m d_1"]:
    """[rows, last] in float32: the factor that multiplies the constants in a factor's last row.

    A single row becomes two: BLAS takes another way for vectors, with other last digits.
    """
    wider = np.full((max(len(rows), 2), rows.shape[1] + 1), last, np.float32)
    wider[: len(rows), :-1] = rows
    return wider


def tiles(left: Array, factor: Factor, buffer: Array) -> Iterator[tuple[int, Array]]:
    """The logits of a chunk, tile by tile of the vocabulary, each written over the last."""
    for start in range(0, factor.matrix.shape[1], TILE):
        matrix = factor.matrix[:, start : start + TILE]
        logits = buffer[: len(left) * matrix.shape[1]].reshape(len(left), -1)
        np.matmul(left, matrix, out=logits)
        yield start, logits


def both_signs(linear: Array, factor: Factor, constant: Array, buffer: Array) -> Iterator[tuple[int, Array, Array]]:
    """Tiles of the logits of rows and of their negatives: constant + linear part, constant - linear part."""
    half = buffer.size // 2
    for start, logits in tiles(with_column(linear, 0.0), factor, buffer[:half]):
        shared = constant[start : start + logits.shape[1]]
        negative = buffer[half : half + logits.size].reshape(logits.shape)
        np.subtract(shared, logits, out=negative)
        yield start, np.add(logits, shared, out=logits), negative
