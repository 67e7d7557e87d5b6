"""The relationships of one prompt as they are collected, and what every step of the flow needs to know."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from flowatlas.vocabulary import Kind, Label, Type
from ingest.architecture.decoder import Decoder, Forward
from ingest.decompose.directions import Directions
from ingest.decompose.effects import LayerEffects
from ingest.decompose.shape import GraphShape, Numbering, label_of
from ingest.neurons import TargetRanks

Array = np.ndarray
Columns = dict[str, Array]


@dataclass
class Flows:
    """Relationships of one prompt by table name; each a list of column dictionaries to concatenate."""

    tables: defaultdict[str, list[Columns]] = field(default_factory=lambda: defaultdict(list))

    def add(self, type_: Type, source: Label, target: Label, columns: Mapping[str, Array]) -> None:
        """Add relationships; every column has as many rows as `columns["from"]`."""
        rows = len(columns["from"])
        full = {name: np.broadcast_to(values, (rows,)) for name, values in columns.items()}
        self.tables[f"{type_}_{source}_{target}"].append(full)

    def join(self, type_: Type, source: Kind, target: Kind, columns: Mapping[str, Array]) -> None:
        """Add relationships between vectors of two kinds."""
        self.add(type_, label_of(source), label_of(target), columns)


@dataclass(frozen=True)
class Context:
    """What every step needs to know of the prompt."""

    decoder: Decoder
    forward: Forward
    shape: GraphShape
    numbering: Numbering
    target: Directions
    foil: Directions
    layer_effects: Sequence[LayerEffects]
    tokens: Int[Array, " P"]
    ranks: TargetRanks
    flows: Flows

    def attention_effects(self, layer: int) -> tuple[tuple[str, Array], tuple[str, Array]]:
        """Column names with the effects of W_O's rows on the logits of target and foil."""
        effects = self.layer_effects[layer]
        return ("contribution", effects.attention), ("foil_contribution", effects.attention_foil)

    @property
    def seen(self) -> bool:
        """Whether query positions other than the last are there, so that states join the memory they create."""
        return len(self.forward.positions) > 1 or self.forward.positions[0] != len(self.forward.token_ids) - 1


def edge(context: Context, type_: Type, source: tuple[int, Kind], target: tuple[int, Kind], vector: Array) -> None:
    """One relationship a position, scored by the norm of `vector`."""
    ids = context.numbering.ids
    context.flows.join(type_, source[1], target[1], {"from": ids(*source), "to": ids(*target), "score": norms(vector)})


def adds(
    context: Context, source: tuple[int, Kind], target: tuple[int, Kind], added: Array, where: str, layer: int | None
) -> None:
    """ADDS with the norm of what is added and its contribution, in the direction named `where`."""
    ids = context.numbering.ids
    rows = np.broadcast_to(added, (len(context.forward.positions), added.shape[-1]))
    columns = {"from": ids(*source), "to": ids(*target), "score": norms(rows)}
    context.flows.join(Type.ADDS, source[1], target[1], {**columns, **effects(context, rows, where, layer)})


def effects(context: Context, rows: Float[Array, "*n P d_model"], where: str, layer: int | None) -> Columns:
    """Contributions of `rows` to the logits of target and foil."""
    columns = {}
    for name, directions in (("contribution", context.target), ("foil_contribution", context.foil)):
        direction = getattr(directions, where) if layer is None else getattr(directions, where)[layer]
        columns[name] = (rows * direction).sum(-1).reshape(-1)
    return columns


def ranks(scores: Float[Array, "*n m"]) -> Int[Array, "*n m"]:
    """Rank of every score along the last axis, 1 = the largest; equal scores in their order."""
    order = np.argsort(-scores, axis=-1, kind="stable")
    rank = np.empty_like(order, dtype=np.int32)
    np.put_along_axis(rank, order, np.arange(1, scores.shape[-1] + 1, dtype=np.int32), -1)
    return rank


def norms(rows: Float[Array, "*n d"]) -> Float[Array, "*n"]:
    """Euclidean norms along the last axis."""
    found: Array = np.linalg.norm(rows, axis=-1)
    return found
