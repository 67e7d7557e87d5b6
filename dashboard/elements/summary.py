"""The opening picture: the whole model, a cell a layer, with residuals, heads, outputs and the strongest neurons."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dashboard.elements.boxes import neuron_key, state_box, state_key, value_box
from dashboard.elements.drawing import Box, Drawing, Line, LineLook, Panel, cells_a_row
from dashboard.elements.end_pieces import draw_embeddings, draw_final
from dashboard.elements.layer_rows import NeuronRow, neuron_rows
from dashboard.elements.lines import RESIDUAL_WIDTH, Scales, largest_contribution, line, signed, sum_shade
from dashboard.elements.records import Records, Row
from flowatlas.vocabulary import Kind, Matrix, Type

HEADS: Final = 130
ATTENTION_OUTPUT: Final = 242
RESIDUAL_MID: Final = 328
NEURONS: Final = 452
MLP_OUTPUT: Final = 562
WIDTH: Final = 648
WITHOUT_NEURONS: Final = 130
"""How much narrower a cell is that draws no neurons."""
TOP: Final = 56
PITCH: Final = 28
ROW_GAP: Final = 84
READS: Final = "reads the residual through norm, queries, keys and values"
READS_MLP: Final = "reads the residual through norm and neurons"


def summary(records: Records, a_row: int | None = None) -> Drawing:
    """Draw every layer of `records` small, `a_row` cells a row."""
    layers = records.layers()
    largest = largest_contribution(records)
    cells = [Cell(records, layer, largest) for layer in layers]
    drawing = Drawing()
    if not cells:
        return drawing
    height = max(cell.height for cell in cells)
    narrower = 0 if any(cell.neurons for cell in cells) else WITHOUT_NEURONS
    width = WIDTH - narrower
    count = a_row or cells_a_row(len(cells), width, height + ROW_GAP)
    x = y = 0.0
    for index, cell in enumerate(cells):
        x, y = (index % count) * width, (index // count) * (height + ROW_GAP)
        cell.narrower = narrower
        cell.draw(drawing, x, y, height, first=index % count == 0, again=index > 0)
    if layers[0] == 0:
        draw_embeddings(drawing, records, -136, largest)
    if layers[-1] == int(records.model["n_layer"]) - 1:
        draw_final(drawing, records, x + width + 110, y, largest)
    return drawing


class Cell:
    """One layer of the summary."""

    def __init__(self, records: Records, layer: int, largest: float) -> None:
        self.records = records
        self.layer = layer
        self.largest = largest
        self.narrower = 0
        self.heads = sorted(records.by_kind.get((layer, Kind.HEAD), []), key=lambda row: row["head"])
        self.neurons = neuron_rows(records, layer, Matrix.MLP, PITCH)
        self.scales = Scales()
        for head in self.heads:
            for edge in records.out_of.get((Type.CONCATENATES, head["id"]), []):
                self.scales.see(Type.CONCATENATES, layer, "", edge["score"])
        for row in self.neurons:
            self.scales.see(Type.WRITES, layer, "", row.written["score"])

    @property
    def height(self) -> float:
        """From the residual lane to the last row."""
        neurons = self.neurons[-1].offset + PITCH if self.neurons else 0.0
        return TOP + max(len(self.heads) * PITCH, neurons, 4 * PITCH)

    def draw(self, drawing: Drawing, x: float, y: float, height: float, *, first: bool, again: bool) -> None:
        """Add the cell's boxes, lines and panel, its incoming residual at (x, y)."""
        incoming = self.records.residual_in(self.layer)
        start = state_key(incoming["id"]) if incoming else None
        if first and incoming:
            box = state_box(self.records, incoming, x, y, self.largest, "@" if again else "")
            drawing.boxes.append(box)
            start = box.id
        self._panel(drawing, x, y, height)
        drawing.boxes += self._boxes(x, y, height)
        drawing.lines += self._lines(incoming, start)

    def _panel(self, drawing: Drawing, x: float, y: float, height: float) -> None:
        whole = WIDTH - self.narrower
        middle, width = x + whole / 2, whole - 24
        top, bottom = y - 46, y + height + 12
        drawing.panels.append(
            Panel(f"p{self.layer}", middle, (top + bottom) / 2, width, bottom - top, "panel", "", self.layer)
        )
        title = f"LAYER {self.layer}"
        drawing.panels.append(Panel(f"t{self.layer}", x + 60, y - 30, 10, 10, "title", title, self.layer))

    def _boxes(self, x: float, y: float, height: float) -> Iterator[Box]:
        middle = y + (TOP + height) / 2
        for kind, column, at in (
            (Kind.RESIDUAL_MID, RESIDUAL_MID, y),
            (Kind.RESIDUAL_POST, WIDTH - self.narrower, y),
            (Kind.ATTENTION_OUTPUT, ATTENTION_OUTPUT, middle),
            (Kind.MLP_OUTPUT, MLP_OUTPUT - self.narrower, middle),
        ):
            row = self.records.one(self.layer, kind)
            if row:
                yield state_box(self.records, row, x + column, at, self.largest)
        heads_top = y + TOP + (height - TOP - len(self.heads) * PITCH) / 2 + PITCH / 2
        for index, head in enumerate(self.heads):
            yield state_box(self.records, head, x + HEADS, heads_top + index * PITCH, self.largest)
        own = self.neurons[-1].offset + PITCH if self.neurons else 0.0
        stretch = min((height - TOP) / own, 1.4) if own else 1.0
        top = y + TOP + (height - TOP - stretch * own) / 2 + stretch * PITCH / 2
        for row_ in self.neurons:
            row_y = top + stretch * row_.offset
            yield value_box(self.records, row_.neuron, row_.written, x + NEURONS, row_y, self.largest)

    def _lines(self, incoming: Row | None, start: str | None) -> Iterator[Line]:
        mid = self.records.one(self.layer, Kind.RESIDUAL_MID)
        yield from self._lane(incoming, start)
        for head in self.heads:
            yield from self._head(head, start)
        reads = state_key(mid["id"]) if mid else start
        for row in self.neurons:
            yield from self._neuron(row, reads)
        output = self.records.one(self.layer, Kind.MLP_OUTPUT)
        if reads and output and not self.neurons:
            yield line({"type": READS_MLP}, reads, state_key(output["id"]), "positive", 1.4)
        for kind in (Kind.ATTENTION_OUTPUT, Kind.MLP_OUTPUT):
            output = self.records.one(self.layer, kind)
            if output is None:
                continue
            for edge in self._added(output):
                yield line(edge, state_key(output["id"]), state_key(edge["to"]), "sum", 5.0, sum_shade(self.records, output))

    def _added(self, output: Row) -> list[Row]:
        """How an output reaches the residual: itself, or (in models with post-norms) what its norm makes of it."""
        own = self.records.out_of.get((Type.ADDS, output["id"]), [])
        norms = self.records.out_of.get((Type.NORMALIZES, output["id"]), [])
        return own or [edge for norm in norms for edge in self.records.out_of.get((Type.ADDS, norm["to"]), [])]

    def _lane(self, incoming: Row | None, start: str | None) -> Iterator[Line]:
        lane: tuple[tuple[Kind, LineLook], ...] = (
            (Kind.RESIDUAL_MID, "residual"),
            (Kind.RESIDUAL_POST, "residual_mlp"),
        )
        for kind, look in lane:
            row = self.records.one(self.layer, kind)
            for edge in self.records.into.get((Type.SKIPS, row["id"]), []) if row else []:
                first = incoming is not None and edge["from"] == incoming["id"]
                source = start if first and start else state_key(edge["from"])
                yield line(edge, source, state_key(edge["to"]), look, RESIDUAL_WIDTH)

    def _head(self, head: Row, start: str | None) -> Iterator[Line]:
        output = self.records.one(self.layer, Kind.ATTENTION_OUTPUT)
        for edge in self.records.out_of.get((Type.CONCATENATES, head["id"]), []):
            width = self.scales.width(Type.CONCATENATES, self.layer, "", edge["score"])
            if output:
                shade = sum_shade(self.records, head)
                yield line(edge, state_key(head["id"]), state_key(output["id"]), "sum", width, shade)
        if start:
            yield line({"type": READS}, start, state_key(head["id"]), "attention", 1.4)

    def _neuron(self, row: NeuronRow, reads: str | None) -> Iterator[Line]:
        width = self.scales.width(Type.WRITES, self.layer, "", row.written["score"])
        key = neuron_key(row.neuron["id"])
        if reads:
            edge = row.activated or row.written
            yield line(edge, reads, key, signed(float(row.written["score"])), width)
        shade = sum_shade(self.records, row.neuron)
        yield line(row.written, key, state_key(row.written["to"]), "sum", width, shade)
