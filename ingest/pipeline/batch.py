"""One batch: prepared prompts in, the tables of their graphs out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from ingest.architecture.decoder import Decoder, Forward
from ingest.decompose.directions import Directions, directions
from ingest.decompose.effects import batch_effects
from ingest.decompose.flows import flows
from ingest.decompose.shape import GraphShape
from ingest.decompose.vectors import vectors
from ingest.graph import PromptGraph, batch_tables, keep_neurons
from ingest.lens.lens import LogitLens
from ingest.lenses import other_lenses
from ingest.neurons import TargetRanks
from ingest.pipeline.estimate import model_shape
from ingest.pipeline.prepare import Choices, Prepared
from ingest.project import Asked, project_batch

if TYPE_CHECKING:
    from ingest.architecture.load import LoadedModel

Array = np.ndarray


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
    before_tables: Callable[[], None] = lambda: None

    @cached_property
    def shape(self) -> GraphShape:
        """The shape of this model's graphs."""
        return model_shape(self.model)

    @property
    def decoder(self) -> Decoder:
        """The model's static part."""
        return self.model.decoder


def graph_tables(workshop: Workshop, prepared: Sequence[Prepared]) -> dict[str, pa.Table]:
    """The shard's tables of a batch of prompts, numbered in their order."""
    with workshop.seconds.of("forward"):
        forwards = workshop.model.capture([p.token_ids for p in prepared], workshop.choices.asked_positions)
    with workshop.seconds.of("decompose"):
        shape = workshop.shape
        asked = [_asked(p, forward) for p, forward in zip(prepared, forwards, strict=True)]
        numberings = [shape.number(len(f.positions), len(f.token_ids)) for f in forwards]
        groups = [list(vectors(f, workshop.decoder, shape, n)) for f, n in zip(forwards, numberings, strict=True)]
    with workshop.seconds.of("lens"):
        projections = project_batch(workshop.lens, workshop.decoder, list(zip(groups, asked, strict=True)))
        others = other_lenses(workshop.lens, workshop.decoder, groups, workshop.choices.lenses)
    with workshop.seconds.of("neuron ranks"):
        workshop.ranks.prepare(np.concatenate([a.target for a in asked]))
    graphs = []
    with workshop.seconds.of("decompose"):
        target = [directions(workshop.decoder, f, a.target) for f, a in zip(forwards, asked, strict=True)]
        foil = [directions(workshop.decoder, f, a.foil) for f, a in zip(forwards, asked, strict=True)]
        effects = batch_effects(workshop.decoder, target, foil)
        for number, prompt in enumerate(prepared):
            forward, wanted = forwards[number], asked[number]
            found = flows(
                workshop.decoder, forward, shape, numberings[number], workshop.ranks, wanted.target,
                target[number], foil[number], effects[number],
            )  # fmt: skip
            keep_neurons(found, workshop.choices.keep)
            row = _prompt_row(workshop, prompt, forward, wanted, target[number], foil[number])
            graphs.append(PromptGraph(row, forward, groups[number], projections[number], found, others[number]))
    workshop.before_tables()
    with workshop.seconds.of("tables"):
        return batch_tables(graphs, workshop.model.tokenizer.labels)


def _asked(prompt: Prepared, forward: Forward) -> Asked:
    """Target and foil at every query position: the next token of the prompt, and at its end the target."""
    following = np.append(forward.token_ids[1:], -1)
    target = following[forward.positions].astype(np.int64)
    foil = np.full(len(target), -1, np.int64)
    at_end = forward.positions == len(forward.token_ids) - 1
    target[at_end] = prompt.target_id if prompt.target_id >= 0 else forward.logits[at_end].argmax(-1)
    foil[at_end] = prompt.foil_id
    return Asked(target, foil, forward.token_ids)


def _prompt_row(
    workshop: Workshop, prompt: Prepared, forward: Forward, asked: Asked, target: Directions, foil: Directions
) -> dict[str, object]:
    """The Prompt's columns, as of its last query position."""
    label = workshop.model.tokenizer.label
    logits = forward.logits[-1].astype(np.float64)
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
