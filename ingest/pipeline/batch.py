"""One batch: prepared prompts in, the tables of their graphs out."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import starmap
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from flowatlas.stores.memory import give_back
from flowatlas.vocabulary import Lens
from ingest.architecture.decoder import Decoder, Forward
from ingest.decompose.directions import Directions, directions
from ingest.decompose.effects import LayerEffects, batch_effects
from ingest.decompose.flows import flows
from ingest.decompose.shape import GraphShape, Numbering
from ingest.decompose.vectors import VectorGroup, vectors
from ingest.graph import PromptGraph, batch_tables, keep_neurons
from ingest.lens.lens import LogitLens
from ingest.lens.projection import Projection
from ingest.lenses import TopIds, other_lenses
from ingest.neurons import TargetRanks
from ingest.pipeline.estimate import model_shape
from ingest.pipeline.prepare import Choices, Prepared
from ingest.project import Asked, project_batch

if TYPE_CHECKING:
    from ingest.architecture.load import LoadedModel

Array = np.ndarray

PIECE_RELATIONSHIPS: Final = 1_000_000
"""Relationships that become tables together, about."""


@dataclass
class Seconds:
    """Wall time by stage."""

    stages: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Add the time of the block to `stage`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.stages[stage] = self.stages.get(stage, 0.0) + time.perf_counter() - start


@dataclass
class Workshop:
    """What every batch of a model needs, made once."""

    model: LoadedModel
    lens: LogitLens
    ranks: TargetRanks
    choices: Choices
    threads: int
    seconds: Seconds = field(default_factory=Seconds)

    @cached_property
    def shape(self) -> GraphShape:
        """The shape of this model's graphs."""
        return model_shape(self.model)

    @property
    def decoder(self) -> Decoder:
        """The model's static part."""
        return self.model.decoder


@dataclass(frozen=True)
class _Projected:
    """A prompt on its way from the lens to its tables."""

    number: int
    prompt: Prepared
    forward: Forward
    asked: Asked
    numbering: Numbering
    groups: Sequence[VectorGroup]
    projections: Sequence[Projection]
    lenses: Mapping[Lens, Sequence[TopIds]]
    target: Directions
    foil: Directions
    effects: Sequence[LayerEffects]


def graph_tables(workshop: Workshop, prepared: Sequence[Prepared]) -> dict[str, pa.Table]:
    """The shard's tables of a batch of prompts, numbered in their order."""
    pieces = list(graph_pieces(workshop, prepared, range(len(prepared))))
    return {name: pa.concat_tables([piece[name] for piece in pieces]) for name in pieces[0]}


def graph_pieces(
    workshop: Workshop, prepared: Sequence[Prepared], numbers: Sequence[int]
) -> Iterator[dict[str, pa.Table]]:
    """The shard's tables of a batch of prompts with these `numbers`, of a few prompts at a time.

    Relationships are many: those of a whole batch, as numbers and then as tables, would take most of the memory.
    """
    waiting = deque(_projected(workshop, prepared, numbers))
    text = pa.array(workshop.model.tokenizer.labels, pa.string())
    while waiting:
        graphs, relationships = list[PromptGraph](), 0
        with workshop.seconds.of("decompose"):
            while waiting and relationships < PIECE_RELATIONSHIPS:
                graphs.append(_graph(workshop, waiting.popleft()))
                relationships += graphs[-1].relationships
        with workshop.seconds.of("tables"):
            tables = batch_tables(graphs, text)
        yield tables


def _projected(workshop: Workshop, prepared: Sequence[Prepared], numbers: Sequence[int]) -> Iterator[_Projected]:
    """What takes the prompts of a batch together: the model, the lens and the effects of neurons."""
    decoder = workshop.decoder
    with workshop.seconds.of("forward"):
        forwards = workshop.model.capture([p.token_ids for p in prepared], workshop.choices.asked_positions)
        give_back()  # a tenth of a GB after the forward pass, and again after the lens (measured)
    with workshop.seconds.of("decompose"):
        shape = workshop.shape
        asked = [_asked(p, forward) for p, forward in zip(prepared, forwards, strict=True)]
        numberings = [shape.number(len(f.positions), len(f.token_ids)) for f in forwards]
        groups = [list(vectors(f, decoder, shape, n)) for f, n in zip(forwards, numberings, strict=True)]
    with workshop.seconds.of("lens"):
        projections = project_batch(workshop.lens, decoder, list(zip(groups, asked, strict=True)))
        others = other_lenses(workshop.lens, decoder, groups, workshop.choices.lenses)
        give_back()
    with workshop.seconds.of("neuron ranks"):
        workshop.ranks.prepare(np.concatenate([a.target for a in asked]))
    with workshop.seconds.of("decompose"):
        target = [directions(decoder, f, a.target) for f, a in zip(forwards, asked, strict=True)]
        foil = [directions(decoder, f, a.foil) for f, a in zip(forwards, asked, strict=True)]
        effects = batch_effects(decoder, target, foil)
    found = (numbers, prepared, forwards, asked, numberings, groups, projections, others, target, foil, effects)
    return starmap(_Projected, zip(*found, strict=True))


def _graph(workshop: Workshop, one: _Projected) -> PromptGraph:
    found = flows(
        workshop.decoder, one.forward, workshop.shape, one.numbering, workshop.ranks, one.asked.target,
        one.target, one.foil, one.effects,
    )  # fmt: skip
    keep_neurons(found, workshop.choices.keep)
    row = _prompt_row(workshop, one)
    return PromptGraph(one.number, row, one.forward, one.groups, one.projections, found, one.lenses)


def _asked(prompt: Prepared, forward: Forward) -> Asked:
    """Target and foil at every query position: the next token of the prompt, and at its end the target."""
    following = np.append(forward.token_ids[1:], -1)
    target = following[forward.positions].astype(np.int64)
    foil = np.full(len(target), -1, np.int64)
    at_end = forward.positions == len(forward.token_ids) - 1
    target[at_end] = prompt.target_id if prompt.target_id >= 0 else forward.logits[at_end].argmax(-1)
    foil[at_end] = prompt.foil_id
    return Asked(target, foil, forward.token_ids)


def _prompt_row(workshop: Workshop, one: _Projected) -> dict[str, object]:
    """The Prompt's columns, as of its last query position."""
    prompt, asked, target, foil = one.prompt, one.asked, one.target, one.foil
    label = workshop.model.tokenizer.label
    logits = one.forward.logits[-1].astype(np.float64)
    probabilities = _softmax(logits)
    target_id, foil_id, predicted_id = int(asked.target[-1]), int(asked.foil[-1]), int(logits.argmax())
    source = prompt.source
    row: dict[str, object] = {
        "key": prompt.key,
        "model": workshop.decoder.fingerprint,
        "text": source.text,
        **{name: getattr(source, name) for name in ("dataset", "group", "pair", "role")},
        "n_tokens": len(prompt.token_ids),
        "target": label(target_id),
        "target_id": target_id,
        "predicted": label(predicted_id),
        "predicted_id": predicted_id,
        "predicted_prob": float(probabilities[predicted_id]),
        "target_prob": float(probabilities[target_id]),
        "target_rank": 1 + int((logits > logits[target_id]).sum()),
        "correct": predicted_id == target_id,
        "target_logit": float(target.logit[-1]),
        "target_constant": float(target.constant[-1]),
        "lens": workshop.choices.lens,
        "positions": workshop.choices.positions,
        "keep": workshop.choices.keep,
        "bos": prompt.bos,
        "note": prompt.note,
    }
    if foil_id >= 0:
        row |= {"foil": label(foil_id), "foil_id": foil_id}
        row |= {"foil_logit": float(foil.logit[-1]), "foil_constant": float(foil.constant[-1])}
    return row


def _softmax(logits: Float[Array, " vocab"]) -> Float[Array, " vocab"]:
    exponentials: Array = np.exp(logits - logits.max())
    probabilities: Array = exponentials / exponentials.sum()
    return probabilities
