"""All vectors of a batch through the lens: the same circuit's rows of all prompts together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Int

from flowatlas.vocabulary import Kind
from ingest.architecture.decoder import Decoder
from ingest.decompose.vectors import VectorGroup, circuit
from ingest.lens.lens import LogitLens
from ingest.lens.projection import Projection

Array = np.ndarray


@dataclass(frozen=True)
class Asked:
    """What a prompt is asked: target and foil (ids, -1 = none) at each query position, and its own tokens."""

    target: Int[Array, " P"]
    foil: Int[Array, " P"]
    tokens: Int[Array, " T"]

    def rows(self, group: VectorGroup) -> Int[Array, "n 3"]:
        """Target and foil of every row of `group`, and for values the token they come from.

        Keys and values may be read from several positions: they are asked for the last one's tokens.
        """
        n = len(group.local)
        if group.kind in (Kind.KEY, Kind.VALUE):
            pairs = np.tile([self.target[-1], self.foil[-1]], (n, 1))
        else:
            pairs = np.tile(np.stack([self.target, self.foil], axis=1), (n // len(self.target), 1))
        own = self.tokens[group.source] if group.kind is Kind.VALUE else np.full(n, -1)
        return np.column_stack([pairs, own])


@dataclass(frozen=True)
class _Rows:
    """Rows that share one way to the residual, and where their projections go."""

    rows: Array
    tokens: Int[Array, "n 3"]
    destinations: list[tuple[int, int, slice]]


Batch = Sequence[tuple[Sequence[VectorGroup], Asked]]


def project_batch(lens: LogitLens, decoder: Decoder, batch: Batch) -> list[list[Projection]]:
    """Projections of every vector group of every prompt, in the same order."""
    parts: list[list[dict[int, Projection]]] = [[{} for _ in groups] for groups, _ in batch]
    for rows, projection in _projected(lens, decoder, batch):
        start = 0
        for prompt, group, where in rows.destinations:
            n = where.stop - where.start
            parts[prompt][group][where.start] = _slice(projection, slice(start, start + n))
            start += n
    return [[_join(found) for found in prompt] for prompt in parts]


def _projected(lens: LogitLens, decoder: Decoder, batch: Batch) -> Iterator[tuple[_Rows, Projection]]:
    wide: list[tuple[int, int]] = []
    by_circuit: defaultdict[tuple[int, Kind], list[tuple[int, int]]] = defaultdict(list)
    for prompt, (groups, _) in enumerate(batch):
        for number, group in enumerate(groups):
            if group.rows.ndim == 2:
                wide.append((prompt, number))
            else:  # heads go the way of their values
                way: Kind = Kind.VALUE if group.kind is Kind.HEAD else group.kind
                by_circuit[group.layer, way].append((prompt, number))
    for (layer, kind), members in by_circuit.items():
        weights = decoder.layer(layer)
        heads = range(decoder.n_head)
        rows = [_rows(batch, members, head) for head in heads]
        found = lens.project_heads(
            [part.rows for part in rows],
            [np.ascontiguousarray(circuit(weights, kind, head)) for head in heads],
            [part.tokens for part in rows],
            names=[f"{kind}-{layer}-{head}" for head in heads],
        )
        yield from zip(rows, found, strict=True)
    if wide:
        together = _rows(batch, wide, None)
        yield together, lens.project(together.rows, together.tokens)


def _rows(batch: Batch, members: list[tuple[int, int]], head: int | None) -> _Rows:
    rows, tokens, destinations = [], [], []
    for prompt, number in members:
        groups, asked = batch[prompt]
        group = groups[number]
        size = len(group.local) if head is None else group.rows.shape[1]
        where = slice(0, size) if head is None else slice(head * size, (head + 1) * size)
        rows.append(group.rows if head is None else group.rows[head])
        tokens.append(asked.rows(group)[where])
        destinations.append((prompt, number, where))
    return _Rows(np.concatenate(rows), np.concatenate(tokens), destinations)


def _slice(projection: Projection, where: slice) -> Projection:
    return Projection(**{part.name: getattr(projection, part.name)[where] for part in fields(Projection)})


def _join(parts: dict[int, Projection]) -> Projection:
    ordered = [parts[start] for start in sorted(parts)]
    if len(ordered) == 1:
        return ordered[0]
    names = [part.name for part in fields(Projection)]
    return Projection(**{name: np.concatenate([getattr(part, name) for part in ordered]) for name in names})
