"""NumPy arrays as Arrow columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

Array = np.ndarray


def lists(rows: Float[Array, "n k"] | Int[Array, "n k"], type_: pa.DataType) -> pa.Array:
    """A list column with the rows of a matrix."""
    offsets = np.arange(0, rows.size + 1, max(rows.shape[1], 1), dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(rows).reshape(-1), type_))


def lists_or_null(parts: Sequence[Int[Array, "n k"] | None], sizes: Sequence[int], type_: pa.DataType) -> pa.Array:
    """A list column with the rows of several matrices; a part that is None is as many nulls as its size says."""
    chunks = [
        pa.nulls(size, pa.list_(type_)) if part is None else lists(part, type_)
        for part, size in zip(parts, sizes, strict=True)
    ]
    return pa.concat_arrays(chunks)


def token_lists(ids: Int[Array, "n k"], text: pa.Array) -> pa.Array:
    """A list column with the text of every token id in the rows of a matrix."""
    offsets = np.arange(0, ids.size + 1, max(ids.shape[1], 1), dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, text.take(pa.array(np.ascontiguousarray(ids).reshape(-1))))


def integers_or_null(values: Int[Array, " n"]) -> pa.Array:
    """Ranks and ids, null where they are below 1 (there was no such token)."""
    return pa.array(values, pa.int32(), mask=values < 1)


def floats_or_null(values: Float[Array, " n"]) -> pa.Array:
    """Numbers, null where they are nan."""
    return pa.array(values, pa.float32(), mask=np.isnan(values))
