"""The lines of one layer, between the boxes that its rows draw."""

from __future__ import annotations

from collections.abc import Iterator

from dashboard.elements.boxes import first_key, neuron_key, state_key
from dashboard.elements.drawing import Line
from dashboard.elements.layer_rows import LayerRows, NeuronRow
from dashboard.elements.lines import NORM_WIDTH, RESIDUAL_WIDTH, Scales, line, signed, sum_shade
from dashboard.elements.records import Records, Row
from flowatlas.vocabulary import Kind, Matrix, Type

_NORMS = (Kind.ATTENTION_NORM, Kind.MLP_NORM, Kind.ATTENTION_POST_NORM, Kind.MLP_POST_NORM)


class LayerLines:
    """Draws one layer's edges; `start` is the id of the box of its incoming residual."""

    def __init__(self, records: Records, rows: LayerRows, start: str | None) -> None:
        self.records = records
        self.rows = rows
        self.start = start
        self.incoming = records.residual_in(rows.layer)
        self.shown = rows.present()
        self.scales = Scales()

    def lines(self) -> list[Line]:
        """All lines of the layer, residual lane first (so that it lies lowest)."""
        self._measure()
        return [
            *self._residuals(),
            *self._norms(),
            *self._attention(),
            *self._neurons(Matrix.ATTENTION_OUTPUT),
            *self._neurons(Matrix.MLP),
            *self._sums(),
        ]

    def _box(self, state: int) -> str:
        """Id of a state's box; the incoming residual may be drawn under another id."""
        if self.incoming is not None and state == self.incoming["id"] and self.start is not None:
            return self.start
        return state_key(state)

    def _kind(self, kind: str) -> Row | None:
        return self.records.one(self.rows.layer, kind) if kind in self.shown or kind not in _BLOCK_KINDS else None

    def _measure(self) -> None:
        for edge, group in self._widths():
            self.scales.see(edge["type"], self.rows.layer, group, edge.get("score"))

    def _widths(self) -> Iterator[tuple[Row, str]]:
        for band in self.rows.bands:
            for memory in band.memories:
                for row, types in ((memory.key, (Type.ATTENDS,)), (memory.value, (Type.RECALLS,))):
                    yield from ((e, "") for t in types if row for e in self.records.into.get((t, row["id"]), []))
                if memory.value:
                    yield from ((e, "") for e in self.records.out_of.get((Type.SUMS, memory.value["id"]), []))
            for row, type_ in ((band.query, Type.SPLITS), (band.output, Type.CONCATENATES)):
                if row:
                    edges = self.records.into if type_ == Type.SPLITS else self.records.out_of
                    yield from ((e, "") for e in edges.get((type_, row["id"]), []))
        for matrix, rows in self.rows.neurons.items():
            for neuron in rows:
                yield neuron.written, matrix
                if neuron.activated:
                    yield neuron.activated, matrix

    def _width(self, edge: Row, group: str = "") -> float:
        return self.scales.width(edge["type"], self.rows.layer, group, edge.get("score"))

    def _residuals(self) -> Iterator[Line]:
        for kind in (Kind.RESIDUAL_MID, Kind.RESIDUAL_POST):
            row = self.records.one(self.rows.layer, kind)
            for edge in self.records.into.get((Type.SKIPS, row["id"]), []) if row else []:
                look = "residual" if kind == Kind.RESIDUAL_MID else "residual_mlp"
                yield line(edge, self._box(edge["from"]), state_key(edge["to"]), look, RESIDUAL_WIDTH)  # type: ignore[arg-type]

    def _norms(self) -> Iterator[Line]:
        for kind in _NORMS:
            row = self.records.one(self.rows.layer, kind)
            if row is None or str(kind) not in self.shown:
                continue
            for edge in self.records.into.get((Type.NORMALIZES, row["id"]), []):
                yield line(edge, self._box(edge["from"]), state_key(edge["to"]), "norm", NORM_WIDTH)

    def _attention(self) -> Iterator[Line]:
        qkv = self.records.one(self.rows.layer, Kind.QKV) if "qkv" in self.shown else None
        for edge in self.records.into.get((Type.PROJECTS, qkv["id"]), []) if qkv else []:
            yield line(edge, self._box(edge["from"]), state_key(edge["to"]), "attention", 2.0)
        for band in self.rows.bands:
            if band.query:
                for edge in self.records.into.get((Type.SPLITS, band.query["id"]), []):
                    yield line(edge, state_key(edge["from"]), state_key(edge["to"]), "attention", self._width(edge) / 2)
            for memory in band.memories:
                if memory.key:
                    yield from self._between(Type.ATTENDS, memory.key)
                if memory.key and memory.value:
                    yield from self._between(Type.RECALLS, memory.value)
                if memory.value:
                    yield from self._sums_of(memory.value, band.output, qkv if not self.rows.queries_keys else None)
            if band.output and not band.memories and band.query:
                yield from self._straight(band.query, band.output)

    def _between(self, type_: Type, row: Row) -> Iterator[Line]:
        for edge in self.records.into.get((type_, row["id"]), []):
            yield line(edge, state_key(edge["from"]), state_key(edge["to"]), "attention", self._width(edge))

    def _sums_of(self, value: Row, output: Row | None, merged_from: Row | None) -> Iterator[Line]:
        for edge in self.records.out_of.get((Type.SUMS, value["id"]), []):
            if output is not None:
                yield line(edge, state_key(edge["from"]), state_key(edge["to"]), "attention", self._width(edge))
            if merged_from is not None:
                # With queries and keys merged into values (appendix D.3) the attention score stands here.
                yield line(edge, state_key(merged_from["id"]), state_key(value["id"]), "attention", self._width(edge))

    def _straight(self, query: Row, output: Row) -> Iterator[Line]:
        yield line({"type": Type.ATTENDS}, state_key(query["id"]), state_key(output["id"]), "attention", 1.2)

    def _neurons(self, matrix: Matrix) -> Iterator[Line]:
        rows = self.rows.neurons[matrix]
        for row in rows:
            yield from self._one_neuron(matrix, row)
        if not rows:
            target = self._kind(Kind.MLP_OUTPUT if matrix == Matrix.MLP else Kind.ATTENTION_OUTPUT)
            for edge in self.records.into.get((Type.PROJECTS, target["id"]), []) if target else []:
                yield line(edge, state_key(edge["from"]), state_key(edge["to"]), "sum", 3.0)

    def _one_neuron(self, matrix: Matrix, row: NeuronRow) -> Iterator[Line]:
        key = row.neuron["id"]
        value_id, first_id = neuron_key(key), first_key(key)
        sign = signed(float(row.written["score"]))
        if row.activated and matrix == Matrix.MLP:
            before = signed(float(row.activated["score"]))
            yield line(row.activated, state_key(row.activated["from"]), first_id, before, self._width(row.activated, matrix))
            yield line(row.written, first_id, value_id, sign, self._width(row.written, matrix))
        elif row.activated:
            yield line(row.activated, state_key(row.activated["from"]), value_id, sign, self._width(row.activated, matrix))
        shade = sum_shade(self.records, row.neuron)
        yield line(row.written, value_id, state_key(row.written["to"]), "sum", self._width(row.written, matrix), shade)

    def _sums(self) -> Iterator[Line]:
        for band in self.rows.bands:
            for edge in self.records.out_of.get((Type.CONCATENATES, band.output["id"]), []) if band.output else []:
                shade = sum_shade(self.records, band.output)
                yield line(edge, state_key(edge["from"]), state_key(edge["to"]), "sum", self._width(edge), shade)
        for kind in _ADDED:
            row = self._kind(kind)
            for edge in self.records.out_of.get((Type.ADDS, row["id"]), []) if row else []:
                width = 1.5 if kind in (Kind.ATTENTION_BIAS, Kind.MLP_BIAS) else 5.0
                yield line(edge, state_key(edge["from"]), state_key(edge["to"]), "sum", width, sum_shade(self.records, row))


_ADDED = (
    Kind.ATTENTION_BIAS,
    Kind.MLP_BIAS,
    Kind.ATTENTION_OUTPUT,
    Kind.MLP_OUTPUT,
    Kind.ATTENTION_POST_NORM,
    Kind.MLP_POST_NORM,
)
_BLOCK_KINDS = (
    Kind.ATTENTION_OUTPUT,
    Kind.MLP_OUTPUT,
    Kind.ATTENTION_POST_NORM,
    Kind.MLP_POST_NORM,
)
