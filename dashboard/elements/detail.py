"""The full picture of chosen layers: every node kind of the paper, left to right, one cell a layer.

Layers wrap into rows when many are shown; the residual that a row begins with is drawn again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dashboard.elements import columns as col
from dashboard.elements.boxes import state_box
from dashboard.elements.columns import STRETCH, TOP, Columns
from dashboard.elements.drawing import SCREEN, Drawing, Panel, cells_a_row
from dashboard.elements.end_pieces import draw_embeddings, draw_final
from dashboard.elements.layer_lines import LayerLines
from dashboard.elements.layer_rows import LayerRows
from dashboard.elements.lines import largest_contribution
from dashboard.elements.records import Records

ROW_GAP: Final = 110
BEFORE: Final = -150
"""Where the embeddings stand, from the first residual."""
AFTER: Final = 124
"""Where the final norm stands, from the last residual."""


@dataclass(frozen=True)
class Show:
    """Which parts of a layer are drawn."""

    attention: bool = True
    mlp: bool = True
    queries_keys: bool = True


def detail(records: Records, show: Show | None = None, a_row: int | None = None) -> Drawing:
    """Draw every layer of `records`, `a_row` layers a row (default: by their number)."""
    show = show or Show()
    layers = records.layers()
    drawing = Drawing()
    rows_of = [LayerRows(records, layer, show.attention, show.mlp, show.queries_keys) for layer in layers]
    count = a_row or _layers_a_row(rows_of)
    largest = largest_contribution(records)
    x = y = lane = 0.0
    for start in range(0, len(layers), count):
        rows = rows_of[start : start + count]
        height = _height(rows, count, len(layers))
        x = _draw_row(drawing, records, rows, y, height, largest, again=start > 0)
        lane, y = y, y + height + ROW_GAP
    if layers and layers[0] == 0:
        draw_embeddings(drawing, records, BEFORE, largest)
    if layers and layers[-1] == int(records.model["n_layer"]) - 1:
        draw_final(drawing, records, x + AFTER, lane, largest)
    return drawing


def _height(rows: list[LayerRows], a_row: int, layers: int) -> float:
    """Height of a row of layers: what they need, or more where the screen would stay empty."""
    needed = max(row.height for row in rows)
    width = a_row * max(col.columns(row.present()).width for row in rows)
    free = width / SCREEN / -(-layers // a_row) - ROW_GAP
    return min(max(needed, free), TOP + STRETCH * (needed - TOP))


def _layers_a_row(rows: list[LayerRows]) -> int:
    """How many layers a row make the picture largest on a screen."""
    if not rows:
        return 1
    width = max(col.columns(row.present()).width for row in rows)
    return cells_a_row(len(rows), width, max(row.height for row in rows) + ROW_GAP)


def _draw_row(
    drawing: Drawing, records: Records, rows: list[LayerRows], y: float, height: float, largest: float, *, again: bool
) -> float:
    """Draw layers beside each other; where the last one ends."""
    x = 0.0
    incoming = records.residual_in(rows[0].layer)
    start: str | None = None
    if incoming is not None:
        box = state_box(records, incoming, x, y, largest, "@" if again else "")
        drawing.boxes.append(box)
        start = box.id
    for row in rows:
        place = col.columns(row.present())
        _draw_panels(drawing, row, place, x, y, height)
        drawing.boxes += row.boxes(place, x, y, height, largest)
        drawing.lines += LayerLines(records, row, start).lines()
        start = None
        x += place.width
    return x


def _draw_panels(drawing: Drawing, row: LayerRows, place: Columns, x: float, y: float, height: float) -> None:
    for title, names in (("ATTENTION", col.ATTENTION), ("MLP", col.MLP)):
        span = place.span(names)
        if span is None:
            continue
        left, right = x + span[0] - 54, x + span[1] + 54
        top, bottom = y + 44, y + height + 20
        name = f"{row.layer}{title[0]}"
        middle = ((left + right) / 2, (top + bottom) / 2)
        drawing.panels.append(Panel(f"p{name}", *middle, right - left, bottom - top, "panel", layer=row.layer))
        words = f"LAYER {row.layer} · {title}"
        drawing.panels.append(Panel(f"t{name}", left + 14, top + 16, 10, 10, "title", words, row.layer))
        drawing.panels += [
            Panel(f"c{row.layer}{column}", x + place.x[column], top + 38, 90, 10, "column", col.HEADINGS[column], row.layer)
            for column in names
            if column in place.x
        ]
    drawing.panels += row.band_panels(place, x, y, height)
