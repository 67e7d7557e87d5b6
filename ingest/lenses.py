"""The lenses beside `circuit`, of which only the top ids are kept: without circuits, and without the final norm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Int

from flowatlas.errors import ModelError
from flowatlas.vocabulary import Lens
from ingest.architecture.decoder import Decoder
from ingest.decompose.vectors import VectorGroup
from ingest.lens.lens import LogitLens

Array = np.ndarray
TopIds: TypeAlias = Int[Array, "n k"] | None
"""Top ids of a group of vectors; None for a group that the lens does not read."""


def other_lenses(
    lens: LogitLens, decoder: Decoder, batch: Sequence[Sequence[VectorGroup]], wanted: Sequence[Lens]
) -> list[dict[Lens, list[TopIds]]]:
    """Top ids of every group of every prompt for the lenses of `wanted` that are not `circuit`.

    Raises ModelError where a head has no slice in the residual (see `naive_slice`).
    """
    found: list[dict[Lens, list[TopIds]]] = [{} for _ in batch]
    for name, read in ((Lens.NAIVE, _naive), (Lens.NO_FINAL_NORM, _no_final_norm)):
        if name in wanted:
            for prompt, top_ids in zip(found, read(lens, decoder, batch), strict=True):
                prompt[name] = top_ids
    return found


def naive_slice(decoder: Decoder, head: int) -> Float[Array, "d_head d_model"]:
    """The map that puts a head's vector into its slice of an otherwise zero vector (section 3.1, note 6).

    Head j takes the coordinates from j * d_head on, as in the paper; keys and values of grouped heads
    take those of the query head that reads them. Where n_head * d_head is less than d_model the last
    coordinates are no head's; where it is more, coordinates are counted on from 0 after the last, so
    that every head has a slice. Raises ModelError where one head is wider than the residual.
    """
    if decoder.d_head > decoder.d_model:
        raise ModelError(
            f"A head of {decoder.d_head} numbers has no slice of a vector of {decoder.d_model}.",
            next_step="Ingest without the lens naive.",
        )
    matrix = np.zeros((decoder.d_head, decoder.d_model), np.float32)
    coordinates = (head * decoder.d_head + np.arange(decoder.d_head)) % decoder.d_model
    matrix[np.arange(decoder.d_head), coordinates] = 1.0
    return matrix


def _naive(lens: LogitLens, decoder: Decoder, batch: Sequence[Sequence[VectorGroup]]) -> list[list[TopIds]]:
    """Queries, keys, values and heads of all layers together: a head's slice is the same everywhere."""
    by_head = [
        (prompt, index) for prompt, groups in enumerate(batch) for index, g in enumerate(groups) if g.rows.ndim == 3
    ]
    heads = range(decoder.n_head)
    rows = [np.concatenate([batch[prompt][index].rows[head] for prompt, index in by_head]) for head in heads]
    projections = lens.project_heads(
        rows,
        [naive_slice(decoder, head) for head in heads],
        [np.full((len(part), 2), -1) for part in rows],
        names=[f"naive-{head}" for head in heads],
    )
    sizes = [batch[prompt][index].rows.shape[1] for prompt, index in by_head]
    parts = [np.split(found.top_ids, np.cumsum(sizes)[:-1]) for found in projections]
    return _placed(batch, {place: np.concatenate([part[n] for part in parts]) for n, place in enumerate(by_head)})


def _no_final_norm(lens: LogitLens, _: Decoder, batch: Sequence[Sequence[VectorGroup]]) -> list[list[TopIds]]:
    """All vectors of the residual's width."""
    wide = [
        (prompt, index) for prompt, groups in enumerate(batch) for index, g in enumerate(groups) if g.rows.ndim == 2
    ]
    rows = np.concatenate([batch[prompt][index].rows for prompt, index in wide])
    found = lens.without_norm().project(rows, np.full((len(rows), 2), -1))
    sizes = [len(batch[prompt][index].local) for prompt, index in wide]
    return _placed(batch, dict(zip(wide, np.split(found.top_ids, np.cumsum(sizes)[:-1]), strict=True)))


def _placed(batch: Sequence[Sequence[VectorGroup]], found: dict[tuple[int, int], Array]) -> list[list[TopIds]]:
    return [[found.get((prompt, index)) for index in range(len(groups))] for prompt, groups in enumerate(batch)]
