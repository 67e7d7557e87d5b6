"""The same page on a Neo4j server: the same journeys, the numbers of that store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext

from flowatlas.stores import open_store
from flowatlas.stores.base import Store
from flowatlas.stores.load import load_shards
from support.neo4j_server import empty, shared_uri
from support.screen import Screen, served
from support.synthetic_shards import PROMPTS, tiny_shards


@pytest.fixture(scope="module")
def server() -> Iterator[Store]:
    """A Neo4j store with twelve small prompts."""
    uri = shared_uri()
    empty(uri)
    with open_store(uri, mode="write") as writing:
        load_shards(writing, tiny_shards())
    with open_store(uri) as opened:
        yield opened
    empty(uri)


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[str]:
    """Address of the page over an embedded store with the same prompts."""
    uri = str(tmp_path / "tiny.lbug")
    with open_store(uri, mode="write") as writing:
        load_shards(writing, tiny_shards())
    with open_store(uri) as opened, served(opened) as address:
        yield address


@pytest.fixture
def screen(window: BrowserContext, server: Store) -> Iterator[Screen]:
    with served(server) as address:
        shown = Screen(window.new_page(), address)
        yield shown
        shown.page.close()
        assert shown.problems() == []


def test_the_same_picture_as_on_the_embedded_store(screen: Screen, embedded: str) -> None:
    state = "cy.nodes('.n').map(n => [n.data('kind'), n.data('layer'), n.data('head') ?? -1, n.data('label'), n.position('x'), n.position('y')].join()).sort()"
    here = screen.open(p=0, l="1-1")
    there = Screen(screen.page.context.new_page(), embedded).open(p=0, l="1-1")
    assert here.cy(state) == there.cy(state)
    assert here.text("#g-status") == there.text("#g-status")
    there.page.close()


def test_journey_over_the_tabs(screen: Screen, server: Store) -> None:
    screen.open()
    screen.click(".head[head=1][layer=2]")
    screen.wait_text("#fa-inspector", "2) head 1")
    screen.tab("heads")
    screen.page.wait_for_selector("#h-map .fa-cell")
    shown = float(screen.page.get_attribute("#h-map .fa-cell[data-layer='2'][data-head='1']", "data-value") or 0)
    want = server.read("MATCH (h:Head) WHERE h.layer = 2 AND h.head = 1 RETURN 1.0 * count(CASE WHEN h.target_rank <= 10 THEN 1 END) / count(h) AS v")["v"][0].as_py()
    assert shown == pytest.approx(want)
    screen.tab("queries")
    screen.page.click('[data-query="target_by_layer"]')
    screen.wait_text("#q-form", "target_by_layer")
    screen.page.click("#q-run")
    screen.wait_text("#q-note", "rows")
    screen.tab("cypher")
    screen.page.fill("#y-text", "MATCH (p:Prompt) RETURN count(p) AS prompts")
    screen.page.click("#y-run")
    screen.wait_text("#y-note", "1 rows")
    assert screen.cells("y-grid", "prompts") == [str(PROMPTS)]
    screen.page.fill("#y-text", "MATCH (p:Prompt) DETACH DELETE p")
    screen.answered("y-run")
    assert screen.page.locator("#y-note .fa-error").count() == 1
    assert server.read("MATCH (p:Prompt) RETURN count(p) AS n")["n"][0].as_py() == PROMPTS
