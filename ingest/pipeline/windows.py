"""Which prompts become one shard, which go through the model and the lens together, and what comes later."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from flowatlas.settings import settings
from ingest.pipeline.batch import Workshop
from ingest.pipeline.estimate import graph_size
from ingest.pipeline.prepare import Prepared

SHARD_RELATIONSHIPS = 6_600_000
"""Relationships a shard, about: half a GB while it is made, and one batch of GPT-2 small's graphs."""

BATCH_PROMPTS = 64
BATCH_STATES = 320_000
"""Prompts, and vectors about, that go through the model and the lens together: factors are made once a batch."""

WINDOWS_AHEAD = 16
"""Windows that are read before the first of them is computed, so that their tokens are ranked together."""


def windows(prepared: Iterator[Prepared], workshop: Workshop) -> Iterator[list[Prepared]]:
    """Prompts that become one shard: as many as memory allows."""
    window: list[Prepared] = []
    relationships = 0
    for prompt in prepared:
        size = graph_size(workshop.decoder, workshop.shape, len(prompt.token_ids), prompt.positions)
        relationships += size.relationships
        if window and (len(window) == settings().shard_prompts or relationships > SHARD_RELATIONSHIPS):
            yield window
            window, relationships = [], size.relationships
        window.append(prompt)
    if window:
        yield window


def looking_ahead(found: Iterator[list[Prepared]]) -> Iterator[tuple[list[Prepared], list[Prepared]]]:
    """Every window, with the prompts of those that come after it."""
    waiting = deque(islice(found, WINDOWS_AHEAD))
    while waiting:
        window = waiting.popleft()
        yield window, list(chain.from_iterable(waiting))
        waiting.extend(islice(found, 1))


def asked_tokens(prepared: Iterable[Prepared]) -> Iterator[int]:
    """Tokens whose ranks are known to be wanted before the model has run: targets, and next tokens inside prompts."""
    for prompt in prepared:
        following = [*prompt.token_ids[1:], prompt.target_id]
        yield from (following[position] for position in prompt.positions)


def batches(workshop: Workshop, prepared: list[Prepared]) -> Iterator[list[int]]:
    """Numbers of prompts that go through the model and the lens together: of like length, bounded in vectors."""
    sizes = [graph_size(workshop.decoder, workshop.shape, len(p.token_ids), p.positions).states for p in prepared]
    batch: list[int] = []
    for number in sorted(range(len(prepared)), key=lambda n: len(prepared[n].token_ids)):
        if batch and (len(batch) == BATCH_PROMPTS or (len(batch) + 1) * sizes[number] > BATCH_STATES):
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch
