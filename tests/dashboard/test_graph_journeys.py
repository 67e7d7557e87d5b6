"""The Graph tab as a person uses it: numbers on the page against the store's, states in Cytoscape."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import networkx as nx
import pytest

from dashboard.standalone import to_html
from flowatlas.stores.base import Store
from query.slice import slice as slice_of
from support.screen import Screen

LAYERS, HEADS = 4, 4

on_both_stores = pytest.mark.parametrize("where", ["embedded", "on_server"], indirect=True)


def prompt(store: Store, number: int = 0) -> dict[str, Any]:
    return store.read("MATCH (p:Prompt) WHERE p.id = $id RETURN p.text AS text, p.target AS target, p.foil AS foil, "
                      "p.target_prob AS p, p.n_tokens AS n_tokens, p.n_state AS n_state, p.predicted AS predicted", {"id": number}).to_pylist()[0]  # fmt: skip


@on_both_stores
def test_opening_view_is_the_summary_of_the_whole_model(screen: Screen, store: Store) -> None:
    screen.open()
    row = prompt(store)
    assert row["text"].strip() in screen.text("#g-title")
    assert screen.text(".fa-target") == row["target"].strip()
    assert screen.cy("cy.nodes('.head').length") == LAYERS * HEADS
    # Residuals: the embedding, two a layer, and the first of each further row again.
    residuals = screen.cy("cy.nodes('.residual').map(n => n.id()).filter(i => !i.endsWith('@')).length")
    assert residuals == 1 + 2 * LAYERS
    shown, total = (int(n.replace(",", "")) for n in re.findall(r"([\d,]+) of ([\d,]+) nodes", screen.text("#g-status"))[0])
    neurons = store.read("MATCH (n:Neuron) RETURN count(n) AS n")["n"][0].as_py()
    assert total == row["n_state"] + neurons
    assert shown == screen.cy("new Set(cy.nodes('.n').map(n => (n.id()[0] === 's' ? 's' : 'n') + n.data('raw'))).size")


@on_both_stores
def test_contribution_shown_is_the_store_s(screen: Screen, store: Store) -> None:
    screen.open(l="2-2")
    said = int(re.search(r"(\d+) % of the contribution", screen.text("#g-status")).group(1))  # type: ignore[union-attr]
    heads = store.read("MATCH (h:Head)-[c:CONCATENATES]->(s:State) WHERE h.prompt = 0 AND h.layer = 2 RETURN sum(abs(c.contribution)) AS c")["c"][0].as_py()
    writes = store.read("MATCH (n:Neuron)-[w:WRITES]->(s:State) WHERE s.prompt = 0 AND s.layer = 2 AND s.kind = 'mlp_output' "
                        "RETURN n.id AS id, w.contribution AS c").to_pylist()  # fmt: skip
    shown = set(screen.cy("cy.nodes('.neuron').filter(n => n.id()[0] === 'n').map(n => n.data('raw'))"))
    kept = heads + sum(abs(row["c"]) for row in writes if row["id"] in shown)
    assert said == pytest.approx(100 * kept / (heads + sum(abs(row["c"]) for row in writes)), abs=0.51)


def test_click_on_a_layer_opens_it_in_full(screen: Screen) -> None:
    screen.open()
    with screen.redrawn():
        x, y = screen.spot(".panel[layer=1]")
        box = screen.cy("cy.nodes('.panel[layer=1]')[0].renderedBoundingBox({includeLabels: false})")
        screen.page.mouse.click(x + (box["w"] / 2) - 6, y + (box["h"] / 2) - 6)
    assert "l=1-1" in screen.page.url
    assert "layer 1" in screen.text("#g-status")
    looks = set(screen.cy("cy.nodes('.n').map(n => n.data('kind'))"))
    assert {"query", "key", "value", "head", "qkv", "attention_norm", "mlp_norm", "concatenated_heads", "attention_output",
            "neuron_key", "neuron_value", "mlp_output", "residual_mid", "residual_post"} <= looks  # fmt: skip
    with screen.redrawn():
        screen.page.go_back()
    assert "whole model" in screen.text("#g-status")


def test_every_kind_left_to_right(screen: Screen) -> None:
    screen.open(l="1-1")
    order = ["attention_norm", "qkv", "query", "key", "value", "head", "concatenated_heads", "attention_output", "residual_mid", "mlp_norm",
             "neuron_key", "neuron_value", "mlp_output", "residual_post"]  # fmt: skip
    places = screen.cy(f"{json.dumps(order)}.map(k => cy.nodes(`[kind='${{k}}'][layer=1]`).filter(n => !(n.data('matrix') === 'attention_output'))[0].position('x'))")
    assert places == sorted(places)


@on_both_stores
def test_hover_says_what_the_paper_says(screen: Screen, store: Store) -> None:
    screen.open(l="3-3")
    said = screen.hover("[kind='attention_norm']")
    row = store.read("MATCH (s:State) WHERE s.prompt = 0 AND s.layer = 3 AND s.kind = 'attention_norm' RETURN s.top_tokens AS tokens, "
                     "s.top_probs AS probs, s.target_rank AS rank, s.norm AS norm, s.entropy AS entropy").to_pylist()[0]  # fmt: skip
    assert said.startswith("3) attention input")
    assert row["tokens"][0].strip() in said
    assert f"rank {row['rank']:,}" in said
    assert f"{100 * row['probs'][0]:.0f} %" in said or f"{100 * row['probs'][0]:.1f} %" in said
    assert f"{row['entropy']:.2f}".rstrip("0").rstrip(".") in said


def test_hover_on_an_edge_says_what_it_joins(screen: Screen, store: Store) -> None:
    screen.open(l="3-3")
    edge = screen.cy("(() => { const e = cy.edges('[ty=\"SUMS\"]').max(e => e.data('w')).ele; const a = e.source(), b = e.target(); "
                     "return {score: e.data('sc'), from: a.data('t'), to: b.data('t'), id: e.id(), raw: a.data('raw')}; })()")  # fmt: skip
    stored = store.read("MATCH (v:Value)-[r:SUMS]->(h:Head) WHERE v.id = $id RETURN r.score AS score", {"id": edge["raw"]})["score"][0].as_py()
    assert edge["score"] == pytest.approx(stored, rel=1e-4)
    middle = screen.cy(f"(() => {{ const e = cy.getElementById({json.dumps(edge['id'])}); const m = e.midpoint(), z = cy.zoom(), p = cy.pan(); return {{x: m.x * z + p.x, y: m.y * z + p.y}}; }})()")
    box = screen.page.locator("#cy").bounding_box()
    assert box is not None
    screen.page.mouse.move(box["x"] + middle["x"] - 30, box["y"] + middle["y"] - 30)
    screen.page.mouse.move(box["x"] + middle["x"], box["y"] + middle["y"], steps=5)
    screen.page.wait_for_selector("#fa-tip:not([hidden])")
    said = screen.text("#fa-tip")
    assert edge["from"] in said
    assert edge["to"] in said
    assert "attention probability" in said


@on_both_stores
def test_click_shows_neighbours_by_weight_and_lights_the_path(screen: Screen) -> None:
    screen.open(l="2-2")
    screen.click(".head[head=1]")
    screen.wait_text("#fa-inspector", "Flows in".upper())
    scores = [float(s) for s in screen.page.locator("#fa-inspector section").first.locator(".fa-flow-score").all_inner_texts()]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 3
    assert screen.cy("cy.nodes('.head[head=1]')[0].hasClass('picked')")
    assert not screen.cy("cy.nodes('.value[head=1]').some(n => n.hasClass('faded'))")
    assert screen.cy("cy.nodes('.value[head=2]').every(n => n.hasClass('faded'))")
    screen.page.keyboard.press("Escape")
    assert screen.cy("cy.elements('.faded').length") == 0


def test_strongest_way_to_the_prediction_and_to_the_input(screen: Screen) -> None:
    screen.open(l="0-3")
    screen.click(".head[head=1][layer=2]")
    screen.page.click("text=→ prediction")
    assert not screen.cy("cy.nodes(\"[kind='final_norm']\")[0].hasClass('faded')")
    screen.page.click("text=← input")
    assert screen.cy("cy.nodes(\"[kind='final_norm']\")[0].hasClass('faded')")
    assert not screen.cy("cy.nodes(\"[kind='embedding']\")[0].hasClass('faded')")


@on_both_stores
def test_expand_shows_hidden_memories(screen: Screen, store: Store) -> None:
    screen.open(l="2-2", mem=1)
    assert screen.cy("cy.nodes('.value[head=0]').length") == 1
    screen.click(".head[head=0]")
    with screen.redrawn():
        screen.page.click("#fa-inspector >> text=Expand")
    assert screen.cy("cy.nodes('.value[head=0]').length") == prompt(store)["n_tokens"]
    assert screen.cy("cy.nodes('.value[head=1]').length") == 1
    with screen.redrawn():
        screen.page.click("#fa-inspector >> text=Fold")
    assert screen.cy("cy.nodes('.value[head=0]').length") == 1


def test_pinned_nodes_stay_in_the_list(screen: Screen) -> None:
    screen.open(l="2-2")
    screen.click(".head[head=3]")
    screen.page.click("#fa-inspector >> text=Pin")
    screen.page.set_viewport_size({"width": 1600, "height": 900})
    screen.page.keyboard.press("Escape")
    screen.wait_text("#fa-inspector", "2) head 3")
    assert screen.cy("cy.nodes('.pinned').length") == 1


def test_sliders_say_how_many_neurons_and_memories(screen: Screen) -> None:
    screen.open(l="2-2", pos=6, neg=2, mem=2)
    mlp = "cy.nodes('.neuron[matrix=\"mlp\"]').filter(n => n.id()[0] === 'n')"
    assert screen.cy(f"[{mlp}.filter(n => n.data('sg') === '+').length, {mlp}.filter(n => n.data('sg') === '-').length]") == [6, 2]
    assert screen.cy("cy.nodes('.value').length") == 2 * HEADS
    with screen.redrawn():
        screen.slide("g-mem", 1)
    assert screen.cy("cy.nodes('.value').length") == 3 * HEADS
    with screen.redrawn():
        screen.slide("g-pos", -1)
    assert screen.cy(f"{mlp}.filter(n => n.data('sg') === '+').length") == 5


def test_layer_slider_opens_a_range(screen: Screen) -> None:
    screen.open()
    with screen.redrawn():
        screen.slide("g-layers", 2)
    screen.page.wait_for_function("() => document.body.dataset.drawn.includes('[2, 3]')")
    assert "layers 2–3" in screen.text("#g-status")
    assert set(screen.cy("cy.nodes('.head').map(n => n.data('layer'))")) == {2, 3}


@on_both_stores
def test_neurons_kept_by_another_score(screen: Screen, store: Store) -> None:
    screen.open(l="1-1", pos=4, neg=0)
    with screen.redrawn():
        screen.choose("g-score", "contribution")
    shown = set(screen.cy("cy.nodes('.neuron[matrix=\"mlp\"]').filter(n => n.id()[0] === 'n').map(n => n.data('index'))"))
    best = store.read("MATCH (n:Neuron)-[w:WRITES]->(s:State) WHERE s.prompt = 0 AND s.layer = 1 AND s.kind = 'mlp_output' AND w.score >= 0 "
                      "RETURN n.`index` AS i ORDER BY abs(w.contribution) DESC LIMIT 4")["i"].to_pylist()  # fmt: skip
    assert shown == set(best)


def test_top_heads_only(screen: Screen, store: Store) -> None:
    screen.open(l="3-3", heads="contribution", hn=2)
    best = store.read("MATCH (h:Head)-[c:CONCATENATES]->(s:State) WHERE h.prompt = 0 AND h.layer = 3 RETURN h.head AS h ORDER BY abs(c.contribution) DESC LIMIT 2")
    assert set(screen.cy("cy.nodes('.head').map(n => n.data('head'))")) == set(best["h"].to_pylist())


def test_parts_can_be_hidden_and_queries_merged(screen: Screen) -> None:
    screen.open(l="2-2")
    with screen.redrawn():
        screen.page.click("text=queries, keys")
    assert screen.cy("cy.nodes('.query, .key').length") == 0
    # Appendix D.3: values hang on the qkv node by their attention score.
    assert screen.cy("cy.edges('[ty=\"SUMS\"]').filter(e => e.source().data('kind') === 'qkv').length") == 3 * HEADS
    with screen.redrawn():
        screen.page.click(".mantine-Chip-label:has-text('MLP')")
    assert screen.cy("cy.nodes('.neuron[matrix=\"mlp\"]').length") == 0
    assert "hide=" in screen.page.url


def test_colours_follow_the_choice(screen: Screen) -> None:
    screen.open(l="3-3")
    field = "cy.nodes('.head').map(n => n.style('background-color'))"
    by_rank = screen.cy(field)
    screen.choose("g-color", "entropy")
    screen.wait_text("#g-legend", "Entropy")
    assert screen.cy(field) != by_rank
    screen.choose("g-color", "contribution")
    screen.wait_text("#g-legend", "Contribution")
    buckets = screen.cy("cy.nodes('.head').map(n => [n.data('cb'), n.data('co')])")
    assert all((bucket > 0) == (value > 0) or bucket == 0 for bucket, value in buckets)


@on_both_stores
def test_colours_of_the_foil(screen: Screen, store: Store) -> None:
    number = store.read("MATCH (p:Prompt) WHERE p.foil IS NOT NULL RETURN min(p.id) AS id")["id"][0].as_py()
    screen.open(p=number, color="foil", l="3-3")
    assert "Foil rank" in screen.text("#g-legend")
    rows = store.read("MATCH (h:Head) WHERE h.prompt = $p AND h.layer = 3 RETURN h.head AS head, h.foil_rank AS r ORDER BY head", {"p": number}).to_pylist()
    assert screen.cy("cy.nodes('.head').sort((a, b) => a.data('head') - b.data('head')).map(n => n.data('fr'))") == [row["r"] for row in rows]


def test_keys_by_token_or_by_projection(screen: Screen, store: Store) -> None:
    screen.open(l="2-2")
    token = store.read("MATCH (t:Token) WHERE t.prompt = 0 RETURN t.position AS i, t.text AS t ORDER BY i")["t"].to_pylist()
    labels = screen.cy("cy.nodes('.key').map(n => [n.data('source'), n.style('label')])")
    assert all(label == f"{source} {token[source].strip()}" for source, label in labels)
    screen.choose("g-keys", "their projection")
    screen.page.wait_for_function("() => FA.graph.cy().nodes('.key')[0].style('label') === FA.graph.cy().nodes('.key')[0].data('label')")


def test_find_a_token(screen: Screen, store: Store) -> None:
    screen.open()
    word = prompt(store)["target"].strip()
    screen.page.keyboard.press("/")
    screen.page.keyboard.type(word)
    screen.wait_text("#g-found", "found")
    found = screen.cy("cy.nodes('.found').map(n => n.data('tok').map(t => t.trim()))")
    assert found
    assert all(word in tokens for tokens in found)
    assert int(screen.text("#g-found").split()[0]) == len(found)


@on_both_stores
def test_a_token_of_the_prompt_shows_its_memories(screen: Screen) -> None:
    screen.open(l="1-2", mem=4)
    screen.page.click('#g-tokens [data-position="3"]')
    marked = screen.cy("cy.nodes('.token').map(n => n.data('source'))")
    assert marked
    assert set(marked) == {3}
    screen.wait_text("#fa-inspector", "Memories of this token")


def test_dark_and_light_by_key(screen: Screen) -> None:
    screen.open(l="3-3", theme="light")
    before = screen.cy("cy.nodes('.panel')[0].style('background-color')")
    screen.page.keyboard.press("d")
    screen.page.wait_for_function("() => document.documentElement.dataset.theme === 'dark'")
    assert screen.cy("cy.nodes('.panel')[0].style('background-color')") != before
    assert "theme=dark" in screen.page.url


def test_keyboard_moves_between_tabs_layers_and_zoom(screen: Screen) -> None:
    screen.open(l="1-1")
    with screen.redrawn():
        screen.page.keyboard.press("]")
    assert "l=2-2" in screen.page.url
    before = screen.cy("cy.zoom()")
    screen.page.keyboard.press("+")
    assert screen.cy("cy.zoom()") > before
    screen.page.keyboard.press("2")
    screen.page.wait_for_function("() => document.body.dataset.tab === 'prompts'")
    screen.page.keyboard.press("?")
    assert "find a token" in screen.text("#fa-help")
    screen.page.keyboard.press("Escape")
    assert screen.page.locator("#fa-help").is_hidden()


def test_the_address_holds_the_view(screen: Screen, address: str) -> None:
    screen.open(l="2-2", pos=5, color="entropy")
    with screen.redrawn():
        screen.slide("g-neg", 2)
    screen.click(".head[head=2]")
    screen.wait_text("#fa-inspector", "2) head 2")
    here = screen.page.url
    state = screen.cy("cy.nodes('.n').map(n => n.id()).sort()")
    other = Screen(screen.page.context.new_page(), address)
    other.page.goto(here)
    other.page.wait_for_function("() => Number(document.body.dataset.ready || 0) > 0")
    assert other.cy("cy.nodes('.n').map(n => n.id()).sort()") == state
    assert other.cy("cy.nodes('.picked').length") == 1
    assert "Entropy" in other.text("#g-legend")
    assert other.problems() == []


def test_export_in_every_format(screen: Screen, tmp_path: Path) -> None:
    screen.open(l="3-3")
    heads = sorted(screen.cy("cy.nodes('.head').map(n => n.data('raw'))"))
    label = screen.cy("cy.nodes('.head')[0].data('label')")
    texts = {}
    for kind in ("png", "svg", "html", "json", "graphml", "csv", "sankey"):
        with screen.page.expect_download() as waiting:
            screen.page.click(f"#g-export-{kind}")
        file = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(file)
        texts[kind] = file.read_bytes()
    assert texts["png"].startswith(b"\x89PNG")
    assert sorted(n["id"] for n in json.loads(texts["json"])["nodes"] if n["label"] == "Head") == heads
    made = nx.parse_graphml(texts["graphml"].decode())
    assert sorted(int(n.split(":")[1]) for n in made if n.startswith("Head:")) == heads
    assert texts["csv"].startswith(b"type,from_label,from,")
    for kind in ("svg", "html", "sankey"):
        assert label in texts[kind].decode()
    for kind in ("svg", "html"):
        assert "http" not in texts[kind].decode().replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")


def test_standalone_page_works_offline(screen: Screen, store: Store, tmp_path: Path) -> None:
    graph = slice_of(store, 0, range(2, 4), policy="paper")
    file = tmp_path / "graph.html"
    file.write_text(to_html(graph), "utf-8")
    shown = Screen(screen.page.context.new_page(), "file://")
    shown.page.goto(f"file://{file}")
    shown.page.wait_for_function("() => document.body.dataset.ready === '1'")
    shown.page.locator(".n.head").first.hover()
    assert "2) head 0" in shown.text("#fa-tip")
    shown.page.locator(".n.head").first.click()
    assert shown.page.locator(".n.faded").count() > 10
    shown.page.keyboard.press("Escape")
    assert shown.page.locator(".n.faded").count() == 0
    assert shown.problems() == []
    screen.open()
