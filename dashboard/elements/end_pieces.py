"""What lies before the first layer and after the last: embeddings and the final norm."""

from __future__ import annotations

from dashboard.elements.boxes import state_box, state_key
from dashboard.elements.drawing import Drawing
from dashboard.elements.lines import NORM_WIDTH, line, sum_shade
from dashboard.elements.records import Records
from flowatlas.vocabulary import Kind, Type


def draw_embeddings(drawing: Drawing, records: Records, x: float, largest: float) -> None:
    """Token and position embedding, left of the first residual."""
    rows = [row for kind in (Kind.TOKEN_EMBEDDING, Kind.POSITION_EMBEDDING) if (row := records.one(-1, kind))]
    for index, row in enumerate(rows):
        drawing.boxes.append(state_box(records, row, x, (index - (len(rows) - 1) / 2) * 42, largest))
        for edge in records.out_of.get((Type.ADDS, row["id"]), []):
            drawing.lines.append(
                line(edge, state_key(row["id"]), state_key(edge["to"]), "sum", 4.0, sum_shade(records, row))
            )


def draw_final(drawing: Drawing, records: Records, x: float, y: float, largest: float) -> None:
    """The final norm: what the model predicts from."""
    row = records.one(int(records.model["n_layer"]), Kind.FINAL_NORM)
    if row is None:
        return
    drawing.boxes.append(state_box(records, row, x, y, largest))
    for edge in records.into.get((Type.NORMALIZES, row["id"]), []):
        drawing.lines.append(line(edge, state_key(edge["from"]), state_key(row["id"]), "norm", NORM_WIDTH))
