"""The other tabs as a person uses them, their numbers against the store's."""

from __future__ import annotations

import time

import psutil
import pytest

from flowatlas.stores.base import Store
from query.run import run
from support.screen import LONG, Screen

on_both_stores = pytest.mark.parametrize("where", ["embedded", "on_server"], indirect=True)


@on_both_stores
def test_prompts_table_filters_sorts_and_opens(screen: Screen, store: Store) -> None:
    screen.open(tab="prompts")
    total = store.read("MATCH (p:Prompt) RETURN count(p) AS n")["n"][0].as_py()
    screen.wait_text("#p-count", f"{total} of {total} prompts")
    screen.page.fill("#p-search", "Mary and John")
    matching = store.read("MATCH (p:Prompt) WHERE p.text CONTAINS 'Mary and John' RETURN p.id AS id, p.text AS t ORDER BY id").to_pylist()
    screen.wait_text("#p-count", f"{len(matching)} of {total} prompts")
    assert screen.cells("p-grid", "text") == [row["t"] for row in matching]
    screen.page.click("#p-grid .ag-header-cell[col-id=target_prob] .ag-header-cell-text")
    screen.page.wait_for_selector("#p-grid .ag-header-cell[col-id=target_prob][aria-sort=ascending]")
    shown = [float(p.strip("%")) for p in screen.cells("p-grid", "target_prob")]
    assert shown == sorted(shown)
    first = screen.cells("p-grid", "text")[0]
    with screen.redrawn():
        screen.page.locator("#p-grid [col-id=text].ag-cell").first.click()
    assert first.strip() in screen.text("#g-title")


def test_filter_a_prompt_beside_the_graph_and_open_it(screen: Screen) -> None:
    screen.open()
    screen.page.fill("#g-search", "Mary")
    screen.page.wait_for_function("() => document.querySelectorAll('#g-prompts .ag-center-cols-container .ag-row').length < 6")
    with screen.redrawn():
        screen.page.locator("#g-prompts [col-id=text].ag-cell", has_text="Mary").first.click()
    assert "Mary" in screen.text("#g-title")


@on_both_stores
def test_two_prompts_side_by_side(screen: Screen, store: Store) -> None:
    screen.open(tab="prompts")
    screen.page.fill("#p-search", "Mary and John")
    screen.page.wait_for_function("() => document.querySelectorAll('#p-grid .ag-center-cols-container .ag-row').length === 2")
    for box in screen.page.locator("#p-grid .ag-selection-checkbox input").all():
        box.check()
    screen.page.click("#p-compare")
    screen.page.wait_for_selector("#c-right svg .n")
    places = [screen.page.evaluate(f"() => [...document.querySelectorAll('#{side} .n')].map(n => [n.dataset.place, n.querySelector('rect').getAttribute('x'), n.querySelector('rect').getAttribute('y')])")
              for side in ("c-left", "c-right")]  # fmt: skip
    assert places[0] == places[1]
    ids = store.read("MATCH (p:Prompt) WHERE p.text CONTAINS 'Mary and John' RETURN p.id AS id ORDER BY id")["id"].to_pylist()
    heads = {(row["layer"], row["head"], row["prompt"]): row["c"] for row in store.read(
        f"MATCH (h:Head)-[c:CONCATENATES]->(s:State) WHERE h.prompt IN {ids} RETURN h.layer AS layer, h.head AS head, h.prompt AS prompt, c.contribution AS c").to_pylist()}  # fmt: skip
    rows = screen.page.evaluate("() => { const rows = []; dash_ag_grid.getApi('c-grid').forEachNode(n => rows.push(n.data)); return rows; }")
    found = {row["what"]: row["change"] for row in rows}
    for layer in range(4):
        for head in range(4):
            assert found[f"{layer}) head {head}"] == pytest.approx(heads[layer, head, ids[1]] - heads[layer, head, ids[0]], abs=2e-4)
    sizes = [abs(row["change"]) for row in rows if row["change"] is not None]
    assert sizes == sorted(sizes, reverse=True)
    assert f"a={ids[0]}" in screen.page.url
    node = screen.page.locator("#c-left .n.head").first
    node.hover()
    assert screen.page.locator("#c-right .n.over").count() == 1
    assert "contribution in B" in screen.text("#fa-tip")


@on_both_stores
def test_two_groups(screen: Screen, store: Store) -> None:
    names = store.read("MATCH (p:Prompt) RETURN DISTINCT p.dataset AS d ORDER BY d")["d"].to_pylist()
    screen.open(tab="compare", cm="groups")
    screen.wait_text("#c-note", "Choose two groups")
    screen.choose("ca-dataset", names[0])
    screen.page.wait_for_selector("#c-right svg .n")
    screen.choose("cb-dataset", names[1])
    screen.wait_text("#c-right h2", f"data set {names[1]}")
    want = {(row["layer"], row["head"]): row for row in run(store, "compare_groups", a=f"dataset={names[0]}", b=f"dataset={names[1]}").table.to_pylist()}
    for side in ("a", "b"):
        box = "c-left" if side == "a" else "c-right"
        infos = screen.page.evaluate(f"() => [...document.querySelectorAll('#{box} .n.head')].map(n => JSON.parse(n.dataset.info))")
        shown = {(info["layer"], info["head"]): info for info in infos}
        assert {at: info["co"] for at, info in shown.items()} == {at: pytest.approx(row[f"contribution_{side}"], rel=1e-4) for at, row in want.items()}
        assert {at: info["top"] for at, info in shown.items()} == {at: pytest.approx(row[f"share_{side}"]) for at, row in want.items()}
        assert all((info["cb"] > 0) == (row["change"] > 0) or info["cb"] == 0 for at, info in shown.items() for row in [want[at]])
    places = [screen.page.evaluate(f"() => [...document.querySelectorAll('#{side} .n')].map(n => [n.dataset.place, n.querySelector('rect').getAttribute('x'), n.querySelector('rect').getAttribute('y')])")
              for side in ("c-left", "c-right")]  # fmt: skip
    assert places[0] == places[1]
    screen.page.locator("#c-left .n.residual").last.hover()
    assert f"of {store.read('MATCH (p:Prompt) WHERE p.dataset = $d RETURN count(p) AS n', {'d': names[0]})['n'][0].as_py()} prompts" in screen.text("#fa-tip")
    screen.page.click("#c-shape label:has-text('Head map')")
    cells = screen.page.evaluate("() => [...document.querySelectorAll('#c-map .fa-cell')].map(c => [Number(c.dataset.layer), Number(c.dataset.head), Number(c.dataset.value)])")
    assert {(layer, head): pytest.approx(value, abs=1e-4) for layer, head, value in cells} == {at: row["change"] for at, row in want.items()}


@pytest.mark.parametrize(
    ("measure", "formula"),
    [
        ("promotes", "1.0 * count(CASE WHEN h.target_rank <= 10 THEN 1 END) / count(h)"),
        ("contribution", "avg(c.contribution)"),
        ("norm", "avg(c.score)"),
    ],
)
def test_head_maps(screen: Screen, store: Store, measure: str, formula: str) -> None:
    screen.open(tab="heads", hm=measure)
    screen.page.wait_for_selector("#h-map .fa-cell")
    screen.wait_text("#h-note", "prompts")
    want = store.read(f"MATCH (h:Head)-[c:CONCATENATES]->(s:State) RETURN h.layer AS layer, h.head AS head, {formula} AS v").to_pylist()
    shown = screen.page.evaluate("() => Object.fromEntries([...document.querySelectorAll('#h-map .fa-cell')].map(c => [c.dataset.layer + '.' + c.dataset.head, Number(c.dataset.value)]))")
    assert shown == {f"{row['layer']}.{row['head']}": pytest.approx(row["v"], abs=1e-5) for row in want}


@on_both_stores
def test_a_head_over_its_prompts_leads_to_the_graph(screen: Screen, store: Store) -> None:
    screen.open(tab="heads")
    screen.page.click("#h-map .fa-cell[data-layer='2'][data-head='1']")
    screen.page.wait_for_selector("#h-grid [col-id=text].ag-cell")
    row = screen.page.evaluate("() => dash_ag_grid.getApi('h-grid').getDisplayedRowAtIndex(0).data")
    stored = store.read(f"MATCH (h:Head)-[c:CONCATENATES]->(s:State) WHERE h.id = {row['node']} RETURN h.target_rank AS rank, c.contribution AS c").to_pylist()[0]
    assert row["rank"] == stored["rank"]
    assert row["contribution"] == pytest.approx(stored["c"])
    with screen.redrawn():
        screen.page.locator("#h-grid [col-id=text].ag-cell").first.click()
    screen.wait_text("#fa-inspector", "2) head 1")


def test_forms_are_in_the_address(screen: Screen, store: Store) -> None:
    screen.open(tab="heads")
    screen.choose("h-correct", "right")
    right = store.read("MATCH (p:Prompt) WHERE p.correct RETURN count(p) AS n")["n"][0].as_py()
    screen.wait_text("#h-note", f"{right} prompts")
    screen.page.click("#h-map .fa-cell[data-layer='1'][data-head='2']")
    other = Screen(screen.page.context.new_page(), screen.address)
    other.page.goto(screen.page.url)
    other.wait_text("#h-note", f"{right} prompts")
    other.wait_text("#h-title", "Layer 1, head 2")
    assert other.page.input_value("#h-correct") == "right"
    assert other.problems() == []
    other.page.close()


@on_both_stores
def test_attention_to_a_token(screen: Screen, store: Store) -> None:
    screen.open(tab="heads", hm="attention")
    screen.page.fill("#h-token", "of")
    screen.page.wait_for_selector("#h-map .fa-cell")
    shown = float(screen.page.get_attribute("#h-map .fa-cell[data-layer='1'][data-head='0']", "data-value") or 0)
    rows = store.read("MATCH (t:Token)-[:CREATES]->(v:Value)-[r:SUMS]->(h:Head) WHERE t.text = ' of' AND h.layer = 1 AND h.head = 0 "
                      "RETURN h.prompt AS p, sum(r.score) AS s")["s"].to_pylist()  # fmt: skip
    assert shown == pytest.approx(sum(rows) / len(rows), abs=1e-5)


@on_both_stores
def test_always_on_neurons_and_their_picture(screen: Screen, store: Store) -> None:
    screen.open(tab="neurons")
    screen.wait_text("#r-note", "on: among the")
    d_mlp = store.read("MATCH (m:Model) RETURN m.d_mlp AS d")["d"][0].as_py()
    want = run(store, "always_on_neurons", rank=round(d_mlp * 0.0244), share=0.85).table.num_rows
    assert screen.text("#r-note").startswith(f"{want} neurons" if want else "No neuron")
    screen.page.wait_for_selector("#r-figure .scatterlayer .point", timeout=60_000)
    points = screen.page.evaluate("() => document.querySelector('#r-figure .js-plotly-plot').data.reduce((n, t) => n + t.x.length, 0)")
    assert points == d_mlp


@on_both_stores
def test_a_named_query_as_a_form(screen: Screen, store: Store) -> None:
    screen.open(tab="queries", p=2)
    screen.page.click('[data-query="target_by_layer"]')
    screen.wait_text("#q-form", "target_by_layer")
    screen.page.wait_for_function("() => [...document.querySelectorAll('#q-form input')].some(i => i.value === '2')")
    screen.page.click("#q-run")
    want = run(store, "target_by_layer", prompt=2).table
    screen.wait_text("#q-note", f"{want.num_rows} rows")
    rows = screen.page.evaluate("() => { const rows = []; dash_ag_grid.getApi('q-grid').forEachNode(n => rows.push(n.data)); return rows; }")
    assert [row["layer"] for row in rows] == want["layer"].to_pylist()
    assert screen.page.locator("#q-grid .ag-header-cell").count() >= 3
    assert "q=target_by_layer" in screen.page.url


def test_prompt_ids_in_answers_open_graphs(screen: Screen) -> None:
    screen.open(tab="queries", q="prompts")
    screen.wait_text("#q-form", "prompts")
    screen.page.click("#q-run")
    screen.page.wait_for_selector("#q-grid .fa-link")
    cell = screen.page.locator("#q-grid .ag-row[row-index='3'] .fa-link").first
    number = cell.inner_text()
    with screen.redrawn():
        cell.click()
    assert f"p={number}" in screen.page.url


def test_a_parameter_out_of_range_is_said(screen: Screen) -> None:
    screen.open(tab="queries", q="heads_always_promoting_target", qp='{"share": 7}')
    screen.wait_text("#q-form", "heads_always_promoting_target")
    screen.page.click("#q-run")
    screen.wait_text("#q-note", "share must be in 0..1")


def test_cypher_as_table_and_as_graph_with_history(screen: Screen, store: Store) -> None:
    screen.open(tab="cypher")
    text = "MATCH (v:Value)-[r:SUMS]->(h:Head) WHERE h.prompt = 0 AND h.layer = 1 AND h.head = 2 RETURN v.id AS `from`, h.id AS `to`, r.score AS score"
    screen.page.fill("#y-text", text)
    screen.page.keyboard.press("Control+Enter")
    want = store.read(text).num_rows
    screen.wait_text("#y-note", f"{want} rows")
    assert len(screen.cells("y-grid", "score")) == want
    screen.page.click("#y-shape label:has-text('Graph')")
    screen.page.wait_for_function(f"() => document.getElementById('cy2')._cyreg.cy.edges().length === {want}")
    assert screen.page.evaluate("() => document.getElementById('cy2')._cyreg.cy.nodes().length") == want + 1
    assert "MATCH (v:Value)" in screen.text("#y-history")
    assert "at most 5,000 rows" in screen.text('[data-panel="cypher"]')


HOSTILE_CYPHER = (
    ("MATCH (p:Prompt) DETACH DELETE p", ""),
    ("CREATE (p:Prompt {id: 99})", ""),
    ("COPY Prompt FROM '/etc/passwd'", ""),
    ("LOAD FROM '/etc/passwd' RETURN *", ""),
    ("MATCH (n RETURN n", "arser"),
    ("MATCH (n:Nobody) RETURN n.id", "Nobody"),
)


def test_hostile_cypher_is_refused(screen: Screen, store: Store) -> None:
    before = store.read("MATCH (p:Prompt) RETURN count(p) AS n")["n"][0].as_py()
    screen.open(tab="cypher")
    for text, words in HOSTILE_CYPHER:
        screen.page.fill("#y-text", text)
        screen.answered("y-run")
        assert screen.page.locator("#y-note .fa-error").count() == 1
        assert words in screen.text("#y-note")
        assert "root:" not in screen.text('[data-panel="cypher"]')
    assert store.read("MATCH (p:Prompt) RETURN count(p) AS n")["n"][0].as_py() == before


def test_a_long_query_is_cancelled_and_blocks_nobody(screen: Screen) -> None:
    screen.open(tab="cypher")
    screen.page.fill("#y-text", "MATCH (a:Value), (b:Value), (c:Value) WHERE a.norm + b.norm + c.norm < 0 RETURN count(*)")
    screen.page.click("#y-run")
    screen.page.wait_for_selector("#y-cancel:not([disabled])")
    other = Screen(screen.page.context.new_page(), screen.address).open(l="1-1")
    assert "layer 1" in other.text("#g-status")
    assert other.problems() == []
    screen.page.bring_to_front()
    screen.page.click("#y-cancel")
    screen.wait_text("#y-note", "Cancelled")
    screen.page.fill("#y-text", "MATCH (m:Model) RETURN m.n_layer AS layers")
    screen.page.click("#y-run")
    screen.wait_text("#y-note", "1 rows")


def waiting_process(store: Store) -> psutil.Process:
    """The one process that waits for the next named query of a store's page (another may still be ending)."""
    deadline, found = time.monotonic() + LONG / 1000, []
    while time.monotonic() < deadline:
        found = [child for child in psutil.Process().children() if {"query.question_process", store.uri} <= set(_command(child))]
        if len(found) == 1:
            return found[0]
        time.sleep(0.1)
    raise AssertionError(f"{len(found)} processes wait for a named query")


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@on_both_stores
def test_a_named_query_is_cancelled(screen: Screen, store: Store) -> None:
    screen.open(tab="queries", q="layers_with_target_on_top")
    screen.wait_text("#q-form", "layers_with_target_on_top")
    assert "at most" in screen.text('[data-panel="queries"]')
    # Nobody can tell how long a query takes here: stopped in its tracks, its process runs for ever.
    screen.page.click("#q-run")
    screen.wait_text("#q-note", "rows in")
    waiting_process(store).suspend()
    screen.page.click("#q-run")
    screen.page.wait_for_selector("#q-cancel:not([disabled])")
    screen.page.click("#q-cancel")
    screen.wait_text("#q-note", "Cancelled")
    screen.page.click("#q-run")
    screen.wait_text("#q-note", "rows in")
