"""From a decomposed batch to the Arrow tables of a shard."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
import pyarrow as pa

from flowatlas.schema import SCHEMAS
from flowatlas.vocabulary import (
    LENS_COLUMN,
    RELATIONSHIP_TABLE,
    STATE_LABELS,
    STATE_STRIDE,
    TOP_TOKENS,
    Label,
    Lens,
    Type,
)
from ingest.architecture.decoder import Forward
from ingest.columns import floats_or_null, integers_or_null, lists, lists_or_null, token_lists
from ingest.decompose.flow_tables import Columns, Flows
from ingest.decompose.shape import label_of
from ingest.decompose.vectors import VectorGroup
from ingest.lens.projection import Projection
from ingest.lenses import TopIds

Array = np.ndarray


@dataclass(frozen=True)
class PromptGraph:
    """One prompt's graph before it becomes tables, under its `number`. `row` holds the columns of its Prompt.

    `lenses` are the top ids of lenses other than `circuit`: for each group of `groups`, or None.
    """

    number: int
    row: dict[str, object]
    forward: Forward
    groups: Sequence[VectorGroup]
    projections: Sequence[Projection]
    flows: Flows
    lenses: Mapping[Lens, Sequence[TopIds]] = field(default_factory=dict)

    @property
    def relationships(self) -> int:
        """How many relationships there are."""
        return sum(len(part["from"]) for parts in self.flows.tables.values() for part in parts)


@dataclass(frozen=True)
class _Part:
    """A group of vectors of prompt `number` with what the lenses say of it."""

    number: int
    group: VectorGroup
    projection: Projection
    top_ids: Mapping[Lens, TopIds]


def batch_tables(graphs: Sequence[PromptGraph], text: pa.Array) -> dict[str, pa.Table]:
    """All tables that a prompts shard has of `graphs`. `text` is the vocabulary as text."""
    tables = {"Token": _token_table(graphs, text)}
    by_label: defaultdict[Label, list[_Part]] = defaultdict(list)
    for graph in graphs:
        for index, (group, projection) in enumerate(zip(graph.groups, graph.projections, strict=True)):
            top_ids = {lens: found[index] for lens, found in graph.lenses.items()}
            by_label[label_of(group.kind)].append(_Part(graph.number, group, projection, top_ids))
    for label in STATE_LABELS:
        tables[str(label)] = _state_table(label, by_label[label], text)
    for name in RELATIONSHIP_TABLE:
        tables[name] = _relationship_table(name, [(graph.number, graph.flows.tables[name]) for graph in graphs])
    tables["Prompt"] = _prompt_table(graphs)
    return tables


def _prompt_table(graphs: Sequence[PromptGraph]) -> pa.Table:
    rows = []
    for graph in graphs:
        states = sum(len(group.local) for group in graph.groups)
        counts = {"id": graph.number, "n_state": states, "n_relationship": graph.relationships, "complete": True}
        rows.append(graph.row | counts)
    return pa.Table.from_pylist(rows, schema=SCHEMAS["Prompt"])


def _token_table(graphs: Sequence[PromptGraph], text: pa.Array) -> pa.Table:
    prompt = np.concatenate([np.full(len(graph.forward.token_ids), graph.number) for graph in graphs])
    position = np.concatenate([np.arange(len(graph.forward.token_ids)) for graph in graphs])
    token = np.concatenate([graph.forward.token_ids for graph in graphs])
    columns = {
        "id": pa.array(prompt * STATE_STRIDE + position, pa.int64()),
        "prompt": pa.array(prompt, pa.int64()),
        "position": pa.array(position, pa.int32()),
        "text": text.take(pa.array(token)),
        "token_id": pa.array(token, pa.int32()),
    }
    return pa.table(columns, schema=SCHEMAS["Token"])


def _state_table(label: Label, parts: list[_Part], text: pa.Array) -> pa.Table:
    schema = SCHEMAS[str(label)]
    if not parts:
        return schema.empty_table()
    groups = [part.group for part in parts]
    sizes = [len(group.local) for group in groups]
    prompt = np.repeat([part.number for part in parts], sizes)
    local = np.concatenate([group.local for group in groups])
    found = _concatenated([part.projection for part in parts])
    top = found.top_ids[:, :TOP_TOKENS]
    columns = {
        "id": pa.array(prompt * STATE_STRIDE + local, pa.int64()),
        "prompt": pa.array(prompt, pa.int64()),
        "kind": pa.array(np.repeat([str(group.kind) for group in groups], sizes), pa.string()),
        "layer": pa.array(np.repeat([group.layer for group in groups], sizes), pa.int32()),
        "position": pa.array(np.concatenate([group.position for group in groups]), pa.int32()),
        "norm": pa.array(np.concatenate([group.norm for group in groups]), pa.float32()),
        "entropy": pa.array(found.entropy, pa.float32()),
        "top_token": text.take(pa.array(np.ascontiguousarray(top[:, 0]))),
        "top_tokens": token_lists(top, text),
        "top_probs": lists(found.top_probs[:, :TOP_TOKENS], pa.float32()),
        "top_ids": lists(found.top_ids, pa.int32()),
        "target_rank": pa.array(found.target_rank, pa.int32()),
        "target_prob": pa.array(found.target_prob, pa.float32()),
        "foil_rank": integers_or_null(found.foil_rank),
        "foil_prob": floats_or_null(found.foil_prob),
        "source_rank": pa.array(found.source_rank, pa.int32()),
        "source_prob": pa.array(found.source_prob, pa.float32()),
    }
    for name in ("head", "source"):
        if name in schema.names:
            columns[name] = pa.array(np.concatenate([getattr(group, name) for group in groups]), pa.int32())
    for lens, name in LENS_COLUMN.items():
        if name in schema.names:
            columns[name] = lists_or_null([part.top_ids.get(lens) for part in parts], sizes, pa.int32())
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)


def _relationship_table(name: str, parts: Iterable[tuple[int, list[Columns]]]) -> pa.Table:
    schema, table = SCHEMAS[name], RELATIONSHIP_TABLE[name]
    found = [(number, part) for number, columns in parts for part in columns]
    if not found:
        return schema.empty_table()
    number = np.repeat([n for n, _ in found], [len(part["from"]) for _, part in found])
    columns = {}
    for entry in schema:
        # What a part lacks (a gate where there is none) is null.
        lacking = np.float32(np.nan)
        values = np.concatenate([part.get(entry.name, np.full(len(part["from"]), lacking)) for _, part in found])
        if entry.name in ("from", "to"):
            values = _end_ids(values, number, table.source if entry.name == "from" else table.target)
        columns[entry.name] = floats_or_null(values) if entry.nullable else pa.array(values, entry.type)
    return pa.table(columns, schema=schema)


def _end_ids(local: Array, number: Array, label: Label) -> Array:
    """Ids of one end: neurons have theirs, prompts their number, all else a number within the prompt."""
    if label is Label.NEURON:
        return local
    return number if label is Label.PROMPT else number * STATE_STRIDE + local


def _concatenated(projections: list[Projection]) -> Projection:
    names = [part.name for part in fields(Projection)]
    return Projection(**{name: np.concatenate([getattr(p, name) for p in projections]) for name in names})


def keep_neurons(flows: Flows, keep: str) -> None:
    """Drop neuron relationships that the policy `keep` does not store: `full`, `top:K` or `mass:P`.

    `top:K` keeps the K neurons with the largest |coefficient| of every matrix and position, `mass:P`
    the smallest number of neurons whose |contribution| makes the share P of the matrix' total. A
    neuron's ACTIVATES and WRITES stay or go together.
    """
    if keep == "full":
        return
    policy, value = keep.split(":")
    writes = flows.tables[f"{Type.WRITES}_Neuron_State"]
    activates = flows.tables[f"{Type.ACTIVATES}_State_Neuron"]
    for number, part in enumerate(writes):
        stays = part["rank"] <= int(value) if policy == "top" else _mass(part, float(value))
        writes[number] = {name: values[stays] for name, values in part.items()}
        activates[number] = {name: values[stays] for name, values in activates[number].items()}


def _mass(part: Columns, share: float) -> Array:
    stays = np.zeros(len(part["to"]), bool)
    for state in np.unique(part["to"]):
        rows = np.flatnonzero(part["to"] == state)
        order = rows[np.argsort(-np.abs(part["contribution"][rows]), kind="stable")]
        mass = np.cumsum(np.abs(part["contribution"][order]), dtype=np.float64)
        needed = int(np.searchsorted(mass, share * mass[-1])) + 1
        stays[order[:needed]] = True
    return stays
