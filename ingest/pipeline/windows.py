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
"""Relationships a shard, about: one batch of GPT-2 small's graphs, and one write into the embedded store."""

BATCH_PROMPTS = 64
BATCH_STATES = 320_000
"""Prompts, and vectors about, that go through the model and the lens together: factors are made once a batch."""

TAIL = 4
"""What is left at the end is its own shard or batch only where it is more than one part in four: factors cost the same for few."""

WINDOWS_AHEAD = 16
"""Windows that are read before the first of them is computed, so that their tokens are ranked together."""


def windows(prepared: Iterator[Prepared], workshop: Workshop) -> Iterator[list[Prepared]]:
    """Prompts that become one shard: as many as memory allows."""
    window: list[Prepared] = []
    relationships = 0
    for more, size in _cut(prepared, workshop):
        joined = len(window) + len(more) <= settings().shard_prompts
        if window and joined and size <= SHARD_RELATIONSHIPS // TAIL and relationships <= SHARD_RELATIONSHIPS:
            window, relationships = window + more, relationships + size
            continue
        if window:
            yield window
        window, relationships = more, size
    if window:
        yield window


def _cut(prepared: Iterator[Prepared], workshop: Workshop) -> Iterator[tuple[list[Prepared], int]]:
    """Prompts in their order, with the number of their relationships, up to the size of a shard."""
    window: list[Prepared] = []
    relationships = 0
    for prompt in prepared:
        size = graph_size(workshop.decoder, workshop.shape, len(prompt.token_ids), prompt.positions).relationships
        if window and (len(window) == settings().shard_prompts or relationships + size > SHARD_RELATIONSHIPS):
            yield window, relationships
            window, relationships = [], 0
        window.append(prompt)
        relationships += size
    if window:
        yield window, relationships


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
    left = sorted(range(len(prepared)), key=lambda n: len(prepared[n].token_ids))
    while left:
        count = _fitting(left, sizes)
        tail = left[count:]
        if len(tail) <= BATCH_PROMPTS // TAIL and len(left) * sizes[left[-1]] <= BATCH_STATES + BATCH_STATES // TAIL:
            count = len(left)
        yield left[:count]
        left = left[count:]


def _fitting(numbers: list[int], sizes: list[int]) -> int:
    """How many of the first prompts make a batch, padded to the longest of them: at least one."""
    for count, number in enumerate(numbers[:BATCH_PROMPTS]):
        if count and (count + 1) * sizes[number] > BATCH_STATES:
            return count
    return min(len(numbers), BATCH_PROMPTS)
