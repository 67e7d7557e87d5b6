"""The pass over prompts, and the random vectors that it is held against."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float

from flowatlas.vocabulary import Kind, Lens
from ingest.norms.means import Means, Probabilities
from ingest.norms.steps import Step, steps

if TYPE_CHECKING:
    from ingest.architecture.load import LoadedModel

Array = np.ndarray

BATCH_PROMPTS = 64
BATCH_TOKENS = 4096
"""Prompts and tokens, padding included, that go through the model together."""

Source = Literal["prompts", "random"]


@dataclass(frozen=True)
class Effect:
    """Probabilities of every token around one norm under one lens, means over `n` vectors of a source."""

    layer: int
    kind: Kind
    lens: Lens
    source: Source
    n: int
    columns: dict[str, Float[Array, " V"]]


def norm_effects(
    model: LoadedModel,
    prompts: Sequence[Sequence[int]],
    *,
    seed: int = 0,
    tell: Callable[[int], None] = lambda _: None,
) -> Iterator[list[Effect]]:
    """What every norm does at the last position of `prompts` (token ids), norm by norm in the order of the flow.

    The control is as many random vectors as there are prompts, for each norm drawn from a normal
    distribution with the mean and the standard deviation that the prompts' residuals have there,
    dimension by dimension, without the covariances; they go through the norm's own weights. One
    prompt has no spread: then there is no control. `tell` is given the number of prompts of every
    batch done. Raises ModelError for a model without such norms and for a prompt that is too long.
    """
    decoder = model.decoder
    chosen = steps(decoder)
    probabilities = Probabilities(decoder)
    means = [Means(probabilities) for _ in chosen]
    for batch in batches(prompts):
        forwards = model.capture(batch)
        for step, sums in zip(chosen, means, strict=True):
            sums.add(*step.rows(forwards, parallel=decoder.parallel))
        tell(len(batch))
    for step, sums in zip(chosen, means, strict=True):
        effects = _effects(step, sums, "prompts")
        if sums.n > 1:
            control = Means(probabilities)
            rows = random_rows(step, sums, seed)
            control.add(rows, step.norm(rows))
            effects += _effects(step, control, "random")
        yield effects


def random_rows(step: Step, sums: Means, seed: int) -> Float[Array, "n d"]:
    """Normal vectors with the mean and spread of the residuals in `sums`, the same for a seed and norm."""
    mean, spread = sums.mean_and_spread()
    which = (Kind.ATTENTION_NORM, Kind.MLP_NORM).index(step.kind)
    draw = np.random.default_rng([seed, step.layer, which])
    rows: Array = mean + spread * draw.standard_normal((sums.n, len(mean)))
    return rows


def batches(prompts: Sequence[Sequence[int]]) -> Iterator[list[Sequence[int]]]:
    """Prompts of like length together, bounded in prompts and in tokens."""
    batch: list[Sequence[int]] = []
    for prompt in sorted(prompts, key=len):
        if batch and (len(batch) == BATCH_PROMPTS or (len(batch) + 1) * len(prompt) > BATCH_TOKENS):
            yield batch
            batch = []
        batch.append(prompt)
    if batch:
        yield batch


def _effects(step: Step, sums: Means, source: Source) -> list[Effect]:
    return [
        Effect(step.layer, step.kind, lens, source, sums.n, sums.columns(lens)) for lens in sums.probabilities.lenses
    ]
