"""Only prompts that the model answers right (the paper's choice, section 3), and a sample of those."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingest.pipeline.batch import Workshop
    from ingest.pipeline.prepare import Prepared

BATCH = 64


@dataclass(frozen=True)
class Selection:
    """How many of the right prompts to take: `sample` of them drawn with `seed`, or the first `limit`."""

    sample: int | None = None
    seed: int = 0
    limit: int | None = None


def answered_right(prepared: Iterator[Prepared], workshop: Workshop, selection: Selection) -> Iterator[Prepared]:
    """Prompts whose target the model predicts (all without a target), as `selection` says, in their order."""
    right = _right(prepared, workshop)
    if selection.sample is None:
        return islice(right, selection.limit)
    found = list(right)
    chosen = random.Random(selection.seed).sample(range(len(found)), min(selection.sample, len(found)))
    return islice((found[number] for number in sorted(chosen)), selection.limit)


def _right(prepared: Iterator[Prepared], workshop: Workshop) -> Iterator[Prepared]:
    while batch := list(islice(prepared, BATCH)):
        with workshop.seconds.of("forward"):
            forwards = workshop.model.capture([p.token_ids for p in batch])
        for prompt, forward in zip(batch, forwards, strict=True):
            if prompt.target_id in (-1, int(forward.logits[-1].argmax())):
                yield prompt
