"""What an ingest will cost, before it starts: prompts, states, relationships, disk and time."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flowatlas.errors import StoreError
from ingest.pipeline.estimate import Size, graph_size, model_shape
from ingest.pipeline.prepare import Choices, Prepared, prepare

if TYPE_CHECKING:
    from ingest.architecture.load import LoadedModel
    from ingest.prompts import Broken, PromptInput

LENS_OVER_GEMM = 1.6
"""Time of the lens over that of its matrix products, measured (`python -m benchmarks.lens`)."""

RELATIONSHIPS_A_SECOND = 250_000
"""Decomposed, written to shards and loaded into the embedded store, measured on two cores."""


@dataclass(frozen=True)
class Plan:
    """Sizes of an ingest, and about how long it takes on this machine."""

    prompts: int
    size: Size
    seconds: float


def plan(inputs: Iterable[PromptInput | Broken], model: LoadedModel, choices: Choices, have: frozenset[str]) -> Plan:
    """Tokenize all of `inputs` and add up the graphs of those whose key is not in `have`."""
    from ingest.prompts import PromptInput

    shape = model_shape(model)
    prompts, size, rows = 0, Size(), 0
    for source in inputs:
        prepared = prepare(source, model, choices) if isinstance(source, PromptInput) else None
        if isinstance(prepared, Prepared) and prepared.key not in have:
            tokens, positions = len(prepared.token_ids), prepared.positions
            one = graph_size(model.decoder, shape, tokens, positions, lenses=choices.lenses)
            prompts, size, rows = prompts + 1, size + one, rows + one.states + one.lists
    return Plan(prompts, size, _seconds(model, rows, size))


def check_space(plan_: Plan, folder: Path) -> None:
    """Raise StoreError when the disk of `folder` cannot hold what is planned."""
    existing = folder
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if plan_.size.bytes > free:
        raise StoreError(
            f"The graphs need about {plan_.size.bytes / 1e9:.1f} GB, and {existing} has {free / 1e9:.1f} GB free.",
            next_step="Take fewer prompts (--limit), keep less of each (--keep top:100), or use another disk.",
        )


def _seconds(model: LoadedModel, rows: int, size: Size) -> float:
    """Lens time from the speed of a matrix product measured now, and the relationships' share."""
    decoder = model.decoder
    flops = 2.0 * rows * decoder.d_head * decoder.vocab_size
    return flops / _gemm_speed() * LENS_OVER_GEMM + size.relationships / RELATIONSHIPS_A_SECOND


def _gemm_speed() -> float:
    """Floating-point operations a second of a matrix product of the lens' shape, measured."""
    left, right = np.ones((512, 64), np.float32), np.ones((64, 8192), np.float32)
    out = np.empty((512, 8192), np.float32)
    best = min(_timed(left, right, out) for _ in range(4))
    return 2.0 * 512 * 64 * 8192 / best


def _timed(left: np.ndarray, right: np.ndarray, out: np.ndarray) -> float:
    start = time.perf_counter()
    np.matmul(left, right, out=out)
    return time.perf_counter() - start
