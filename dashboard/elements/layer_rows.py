"""The rows of one layer: which memories each head shows, which neurons, in which order, at which height."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from dashboard.elements.boxes import first_box, state_box, value_box
from dashboard.elements.columns import HEAD_GAP, ROW, SIGN_GAP, STRETCH, TOP, Columns
from dashboard.elements.drawing import Box, Panel
from dashboard.elements.records import Records, Row
from flowatlas.vocabulary import Kind, Matrix, Type

HUBS = (
    (Kind.ATTENTION_NORM, "attention"),
    (Kind.QKV, "attention"),
    (Kind.CONCATENATED_HEADS, "attention"),
    (Kind.ATTENTION_OUTPUT, "attention"),
    (Kind.ATTENTION_POST_NORM, "attention"),
    (Kind.MLP_NORM, "mlp"),
    (Kind.MLP_OUTPUT, "mlp"),
    (Kind.MLP_POST_NORM, "mlp"),
)


@dataclass(frozen=True)
class Memory:
    """One position that a head remembers: its key and value, where shown."""

    source: int
    key: Row | None
    value: Row | None


@dataclass(frozen=True)
class Band:
    """A head with its query and memories; `top` is its first row's offset below the block's top."""

    head: int
    query: Row | None
    output: Row | None
    memories: list[Memory]
    top: float

    @property
    def height(self) -> float:
        """Px, without the gap to the next head."""
        return max(len(self.memories), 1) * ROW


@dataclass(frozen=True)
class NeuronRow:
    """A neuron with the edge by which it is written and the offset of its row."""

    neuron: Row
    written: Row
    activated: Row | None
    offset: float


def neuron_rows(records: Records, layer: int, matrix: str, pitch: float = ROW) -> list[NeuronRow]:
    """Neurons of a matrix in the graph: positive, strongest first, then negative with the strongest last."""
    pairs = []
    for edge in records.edges.get(Type.WRITES, []):
        neuron = records.neurons.get(edge["from"])
        if neuron is not None and neuron["layer"] == layer and neuron["matrix"] == matrix:
            pairs.append((neuron, edge, records.order.get(neuron["id"], float(edge["score"]))))
    pairs.sort(key=lambda pair: -pair[2])
    rows: list[NeuronRow] = []
    offset, was_positive = 0.0, True
    for neuron, edge, place in pairs:
        positive = place >= 0
        offset += SIGN_GAP if was_positive and not positive and rows else 0
        was_positive = positive
        activated = next(iter(records.into.get((Type.ACTIVATES, neuron["id"]), [])), None)
        rows.append(NeuronRow(neuron, edge, activated, offset))
        offset += pitch
    return rows


class LayerRows:
    """Everything shown of one layer, ordered; offsets are relative to the top of each column."""

    def __init__(self, records: Records, layer: int, attention: bool, mlp: bool, queries_keys: bool) -> None:
        self.records = records
        self.layer = layer
        self.show = {"attention": attention, "mlp": mlp}
        self.queries_keys = queries_keys
        self.bands = self._bands() if attention else []
        self.neurons = {
            matrix: neuron_rows(records, layer, matrix) if shown else []
            for matrix, shown in ((Matrix.ATTENTION_OUTPUT, attention), (Matrix.MLP, mlp))
        }
        self.bias = {
            Matrix.ATTENTION_OUTPUT: records.one(layer, Kind.ATTENTION_BIAS) if attention else None,
            Matrix.MLP: records.one(layer, Kind.MLP_BIAS) if mlp else None,
        }

    def _bands(self) -> list[Band]:
        parts: dict[str, dict[int, list[Row]]] = {}
        for kind in (Kind.QUERY, Kind.KEY, Kind.VALUE, Kind.HEAD):
            parts[kind] = defaultdict(list)
            for row in self.records.by_kind.get((self.layer, kind), []):
                parts[kind][row["head"]].append(row)
        bands: list[Band] = []
        top = 0.0
        for head in self.records.heads(self.layer):
            query = next(iter(parts[Kind.QUERY][head]), None) if self.queries_keys else None
            output = next(iter(parts[Kind.HEAD][head]), None)
            memories = self._memories(parts[Kind.KEY][head] if self.queries_keys else [], parts[Kind.VALUE][head])
            bands.append(Band(head, query, output, memories, top))
            top += bands[-1].height + HEAD_GAP
        return bands

    def _memories(self, keys: list[Row], values: list[Row]) -> list[Memory]:
        key_at = {row["source"]: row for row in keys}
        value_at = {row["source"]: row for row in values}
        memories = [Memory(source, key_at.get(source), value_at.get(source)) for source in key_at | value_at]
        # Outside a sliding window a memory is created but no head looks at it.
        memories = [memory for memory in memories if self._attended(memory)]
        return sorted(memories, key=self._attention, reverse=True)

    def _attended(self, memory: Memory) -> bool:
        summed = memory.value is not None and (Type.SUMS, memory.value["id"]) in self.records.out_of
        return summed or (memory.key is not None and (Type.ATTENDS, memory.key["id"]) in self.records.into)

    def _attention(self, memory: Memory) -> float:
        edges = self.records.out_of.get((Type.SUMS, memory.value["id"]), []) if memory.value else []
        edges = edges or (self.records.into.get((Type.ATTENDS, memory.key["id"]), []) if memory.key else [])
        own = max((float(edge["score"]) for edge in edges), default=0.0)
        row = memory.value or memory.key
        return self.records.order.get((self.layer, row["head"], memory.source), own) if row else own

    def present(self) -> set[str]:
        """Names of the columns that have anything."""
        names = {str(kind) for kind, block in HUBS if self.show[block] and self.records.one(self.layer, kind)}
        names |= {"query" for band in self.bands if band.query}
        names |= {"key" for band in self.bands for memory in band.memories if memory.key}
        names |= {"value" for band in self.bands for memory in band.memories if memory.value}
        names |= {"head" for band in self.bands if band.output}
        names |= {"wo"} if self.neurons[Matrix.ATTENTION_OUTPUT] or self.bias[Matrix.ATTENTION_OUTPUT] else set()
        names |= {"ff2"} if self.neurons[Matrix.MLP] or self.bias[Matrix.MLP] else set()
        names |= {"ff1"} if any(row.activated for row in self.neurons[Matrix.MLP]) else set()
        for kind in (Kind.RESIDUAL_MID, Kind.RESIDUAL_POST):
            names |= {str(kind)} if self.records.one(self.layer, kind) else set()
        return names

    @property
    def height(self) -> float:
        """From the residual lane to the last row."""
        return TOP + max(self._heads_height(), *(self._neuron_height(m) for m in self.neurons), 4 * ROW)

    def _heads_height(self) -> float:
        return self.bands[-1].top + self.bands[-1].height if self.bands else 0.0

    def _neuron_height(self, matrix: Matrix) -> float:
        rows = self.neurons[matrix]
        height = rows[-1].offset + ROW if rows else 0.0
        return height + (SIGN_GAP + ROW if self.bias[matrix] else 0)

    def _start(self, height: float, own: float) -> float:
        """Top of a column that is centred in the block."""
        return TOP + (height - TOP - own) / 2

    @staticmethod
    def _stretch(height: float, own: float) -> float:
        """How far a column is pulled apart to use a block that is higher than it."""
        return min(max((height - TOP) / max(own, ROW), 1.0), STRETCH)

    def boxes(self, place: Columns, x: float, y: float, height: float, largest: float) -> list[Box]:
        """All boxes of the layer but its incoming residual."""
        middle = y + (TOP + height) / 2
        hubs = [
            state_box(self.records, row, x + place.x[kind], middle, largest)
            for kind, _ in HUBS
            if kind in place.x and (row := self.records.one(self.layer, kind))
        ]
        lane = [
            state_box(self.records, row, x + place.x[kind], y, largest)
            for kind in (Kind.RESIDUAL_MID, Kind.RESIDUAL_POST)
            if (row := self.records.one(self.layer, kind))
        ]
        return [
            *lane,
            *hubs,
            *self._head_boxes(place, x, y, height, largest),
            *self._neuron_boxes(Matrix.ATTENTION_OUTPUT, place, x, y, height, largest),
            *self._neuron_boxes(Matrix.MLP, place, x, y, height, largest),
        ]

    def _heads_frame(self, y: float, height: float) -> tuple[float, float]:
        """Top of the heads and how far their rows are pulled apart."""
        stretch = self._stretch(height, self._heads_height())
        return y + self._start(height, stretch * self._heads_height()), stretch

    def _head_boxes(self, place: Columns, x: float, y: float, height: float, largest: float) -> Iterator[Box]:
        top, stretch = self._heads_frame(y, height)
        for band in self.bands:
            centre = top + stretch * (band.top + band.height / 2)
            if band.query:
                yield state_box(self.records, band.query, x + place.x["query"], centre, largest)
            if band.output:
                yield state_box(self.records, band.output, x + place.x["head"], centre, largest)
            for index, memory in enumerate(band.memories):
                row_y = top + stretch * (band.top + (index + 0.5) * ROW)
                if memory.key:
                    yield state_box(self.records, memory.key, x + place.x["key"], row_y, largest)
                if memory.value:
                    yield state_box(self.records, memory.value, x + place.x["value"], row_y, largest)

    def _neuron_boxes(
        self, matrix: Matrix, place: Columns, x: float, y: float, height: float, largest: float
    ) -> Iterator[Box]:
        column = "ff2" if matrix == Matrix.MLP else "wo"
        stretch = self._stretch(height, self._neuron_height(matrix))
        top = y + self._start(height, stretch * self._neuron_height(matrix)) + stretch * ROW / 2
        for row in self.neurons[matrix]:
            row_y = top + stretch * row.offset
            yield value_box(self.records, row.neuron, row.written, x + place.x[column], row_y, largest)
            if matrix == Matrix.MLP and row.activated:
                yield first_box(self.records, row.neuron, row.activated, x + place.x["ff1"], row_y)
        bias = self.bias[matrix]
        if bias:
            offset = stretch * (self._neuron_height(matrix) - ROW)
            yield state_box(self.records, bias, x + place.x[column], top + offset, largest)

    def band_panels(self, place: Columns, x: float, y: float, height: float) -> Iterator[Panel]:
        """Zebra stripes and head numbers behind the heads."""
        span = place.span(("query", "key", "value", "head"))
        if span is None:
            return
        top, stretch = self._heads_frame(y, height)
        left, right = x + span[0] - 62, x + span[1] + 58
        for band in self.bands:
            centre = top + stretch * (band.top + band.height / 2)
            tall = stretch * (band.height + HEAD_GAP) - 2
            name = f"{self.layer}h{band.head}"
            if band.head % 2 == 0:
                yield Panel(
                    f"b{name}", (left + right) / 2, centre, right - left, tall, "band", "", self.layer
                )
            yield Panel(f"i{name}", left - 2, centre, 14, 10, "index", str(band.head), self.layer)
