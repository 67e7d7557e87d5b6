"""Rows -> pictures: pure, so tried on synthetic graphs without a browser."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import synthetic
from dashboard.elements.buckets import BOTTOM, contribution_bucket, entropy_bucket, rank_bucket, width
from dashboard.elements.curves import control_points, svg_path
from dashboard.elements.cytoscape import wire
from dashboard.elements.detail import Show, detail
from dashboard.elements.drawing import ends
from dashboard.elements.records import Records
from dashboard.elements.summary import summary
from dashboard.elements.svg import svg
from dashboard.elements.text import short, visible
from dashboard.picture import Picture
from dashboard.view import GraphView, parse_graph
from flowatlas.vocabulary import RELATIONSHIP_TABLES, STATE_LABELS, Label


@pytest.fixture(scope="module")
def records() -> Records:
    """The whole graph of one tiny prompt, unpruned."""
    shape = synthetic.TINY
    model, prompt = synthetic.model_tables(shape, 0), synthetic.prompt_tables(shape, [0], 0)
    tables = {**model, **prompt}
    nodes = [{"label": str(label), **row} for label in (*STATE_LABELS, Label.NEURON) for row in tables[str(label)].to_pylist()]
    edges = [{"type": str(t.type), **row} for t in RELATIONSHIP_TABLES if t.name in tables for row in tables[t.name].to_pylist()]
    return Records(tables["Prompt"].to_pylist()[0], tables["Model"].to_pylist()[0], tables["Token"].to_pylist(), nodes, edges)


def test_every_vector_and_neuron_is_drawn_once(records: Records) -> None:
    drawing = detail(records, a_row=3)
    drawn = Counter(box.id for box in drawing.boxes)
    assert set(drawn.values()) == {1}
    assert {f"s{state}" for state in records.states} == {name for name in drawn if name[0] == "s"}
    assert {f"n{neuron}" for neuron in records.neurons} == {name for name in drawn if name[0] == "n"}
    mlp = {f"f{key}" for key, row in records.neurons.items() if row["matrix"] == "mlp"}
    assert mlp == {name for name in drawn if name[0] == "f"}


def test_lines_join_boxes_and_are_named_once(records: Records) -> None:
    for drawing in (detail(records), detail(records, a_row=1), summary(records)):
        boxes = {box.id: box for box in drawing.boxes}
        names = [line.id for line in drawing.lines]
        assert len(names) == len(set(names))
        for line in drawing.lines:
            assert line.source in boxes
            assert line.target in boxes
            x1, _, x2, _ = ends(boxes[line.source], boxes[line.target])
            assert x2 > x1 - 30, f"{line.id} runs backwards"


def test_boxes_of_a_column_do_not_overlap(records: Records) -> None:
    for drawing in (detail(records), summary(records)):
        places = sorted((box.x, box.y, box.size[1]) for box in drawing.boxes)
        for (x1, y1, h1), (x2, y2, h2) in pairwise(places):
            assert x1 != x2 or y2 - y1 >= (h1 + h2) / 2 - 0.5


def test_every_node_lies_on_the_way_to_the_prediction(records: Records) -> None:
    drawing = detail(records, a_row=3)
    leads = {line.source for line in drawing.lines}
    ends_at = {box.id for box in drawing.boxes if box.info["kind"] == "final_norm"}
    assert {box.id for box in drawing.boxes} - leads == ends_at


def test_hidden_parts_leave_no_box(records: Records) -> None:
    kinds = {box.info["kind"] for box in detail(records, Show(queries_keys=False)).boxes}
    assert not kinds & {"query", "key"}
    assert "value" in kinds
    kinds = {box.info["kind"] for box in detail(records, Show(attention=False)).boxes}
    assert not kinds & {"query", "head", "attention_norm", "attention_output"}
    kinds = {box.info["kind"] for box in detail(records, Show(mlp=False)).boxes}
    assert not kinds & {"mlp_norm", "mlp_output", "neuron_key"}


def test_neurons_strongest_outside(records: Records) -> None:
    column = sorted((box.y, box.info["coef"]) for box in detail(records, a_row=1).boxes if box.info["kind"] == "neuron_value"
                    and box.info["matrix"] == "mlp" and box.info["layer"] == 1)  # fmt: skip
    scores = [score for _, score in column]
    assert scores == sorted(scores, reverse=True)


def test_what_the_page_is_sent_holds_the_whole_drawing(records: Records) -> None:
    drawing = summary(records)
    sent = json.loads(Picture(wire(drawing), {}).json())
    assert [box[0] for box in sent["boxes"]] == [box.id for box in drawing.boxes]
    assert [f"{line[3]}:{line[0]}>{line[1]}" for line in sent["lines"]] == [line.id for line in drawing.lines]
    assert [panel[0] for panel in sent["panels"]] == [panel.id for panel in drawing.panels]


def test_numbers_that_are_none_are_sent_as_nothing(records: Records) -> None:
    drawing = summary(records)
    broken = replace(drawing.boxes[0], info={**drawing.boxes[0].info, "no": math.nan, "pr": [math.inf, 0.5]})
    sent = json.loads(Picture(wire(replace(drawing, boxes=[broken, *drawing.boxes[1:]])), {}).json(), parse_constant=pytest.fail)
    assert (sent["boxes"][0][5]["no"], sent["boxes"][0][5]["pr"]) == (None, [None, 0.5])


def test_svg_is_well_formed_with_a_text_for_every_box(records: Records) -> None:
    drawing = detail(records)
    for theme in ("light", "dark"):
        root = ET.fromstring(svg(drawing, theme, facts=True))
        assert len(root.findall(".//{http://www.w3.org/2000/svg}g[@id]")) == len(drawing.boxes)
        assert len(root.findall(".//{http://www.w3.org/2000/svg}path")) == len(drawing.lines)


@given(*(st.floats(-2000, 2000),) * 4)
def test_control_points_are_those_of_the_svg(x1: float, y1: float, x2: float, y2: float) -> None:
    """Weights and distances are measured along and across the line: they must give back its S-curve."""
    made = control_points(x1, y1, x2, y2)
    if abs(y2 - y1) <= 1:
        assert made is None
        return
    assert made is not None
    (w1, w2), (d1, d2) = made
    dx, dy = x2 - x1, y2 - y1
    length = math.hypot(dx, dy)
    points = [(x1 + w * dx - d * dy / length, y1 + w * dy + d * dx / length) for w, d in ((w1, d1), (w2, d2))]
    slack = 0.02 + 1e-4 * length
    assert points[0] == pytest.approx((x1 + 0.38 * dx, y1), abs=slack)
    assert points[1] == pytest.approx((x2 - 0.38 * dx, y2), abs=slack)
    assert svg_path(x1, y1, x2, y2).startswith("M")


def test_buckets() -> None:
    assert [rank_bucket(r, 50_257) for r in (1, 2, 10, 11, 100, 101, 1000, 1001, 49_000, 49_755, 50_257)] == [0, 1, 1, 2, 2, 3, 3, 4, 4, BOTTOM, BOTTOM]
    assert rank_bucket(1600, 1600) == BOTTOM
    assert entropy_bucket(0.0, 1024) == 0
    assert entropy_bucket(10.0, 1024) == 4
    assert [contribution_bucket(c, 2.0) for c in (-2, -0.5, -0.1, 0, None, 0.001, 0.1, 0.5, 2)] == [-3, -2, -1, 0, 0, 0, 1, 2, 3]
    assert width(None, 1) == width(0.5, 0) == 0.8
    assert width(-2.0, 2.0) == 6.0


@given(st.text())
def test_no_token_can_disturb_a_label(token: str) -> None:
    label = short(token)
    assert 0 < len(label) <= 12
    assert label.isprintable() or all(not c.isspace() or c in " \u2003\u3000" or ord(c) > 127 for c in label)
    assert not any(ord(c) < 32 or c in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200f" for c in visible(token))


@given(st.dictionaries(st.sampled_from(["p", "l", "pos", "neg", "mem", "heads", "hn", "score", "hide", "x"]), st.one_of(st.none(), st.text(max_size=12), st.integers())))
def test_no_address_breaks_the_view(request_: dict[str, object]) -> None:
    view = parse_graph(request_)
    assert 0 <= view.positive <= 40
    assert view.heads in ("all", "norm", "contribution")
    assert view.layers is None or view.layers[0] <= view.layers[1]
    clamped = view.clamped(4)
    assert clamped.layers is None or clamped.layers[1] < 4


def test_a_good_address_says_nothing() -> None:
    view = parse_graph({"p": "3", "l": "1-2", "pos": 5, "heads": "norm", "hn": 2, "hide": "mlp", "x": "s12,34"})
    assert view == GraphView(prompt=3, layers=(1, 2), positive=5, heads="norm", head_count=2, hide=("mlp",), expanded=("s12", "34"))
    assert view.problems == ()
