"""The page on a Neo4j server beside the same page on the embedded store: the other modules' journeys marked
`on_both_stores` go over both; here is what needs the two at once, or a server's own Cypher."""

from __future__ import annotations

from playwright.sync_api import BrowserContext

from flowatlas.stores.base import Store
from support.screen import Screen


def test_the_same_pictures_on_both_stores(window: BrowserContext, on_server: tuple[Store, str], embedded: tuple[Store, str]) -> None:
    nodes = "cy.nodes('.n').map(n => [n.id(), n.data('label'), n.data('tr'), n.position('x'), n.position('y')].join()).sort()"
    edges = "cy.edges().map(e => [e.id(), e.data('rk')].join()).sort()"
    pages = [Screen(window.new_page(), where[1]) for where in (on_server, embedded)]
    for view in ({"p": 2, "l": "1-1"}, {"p": 3}):
        for page in pages:
            page.open(**view)
        assert pages[0].cy(nodes) == pages[1].cy(nodes)
        assert pages[0].cy(edges) == pages[1].cy(edges)
        assert pages[0].text("#g-status") == pages[1].text("#g-status")
    for page in pages:
        assert page.problems() == []
        page.page.close()


def test_cypher_on_the_server(window: BrowserContext, on_server: tuple[Store, str]) -> None:
    store, address = on_server
    prompts = store.read("MATCH (p:Prompt) RETURN count(p) AS n")["n"][0].as_py()
    screen = Screen(window.new_page(), address).open(tab="cypher")
    screen.page.fill("#y-text", "MATCH (p:Prompt) RETURN count(p) AS prompts")
    screen.answered("y-run")
    assert screen.cells("y-grid", "prompts") == [str(prompts)]
    for text in ("MATCH (p:Prompt) DETACH DELETE p", "LOAD CSV FROM 'file:///etc/passwd' AS line RETURN line", "CALL dbms.listConfig()"):
        screen.page.fill("#y-text", text)
        screen.answered("y-run")
        assert screen.page.locator("#y-note .fa-error").count() == 1
    assert store.read("MATCH (p:Prompt) RETURN count(p) AS n")["n"][0].as_py() == prompts
    screen.page.fill("#y-text", "MATCH (a:Value), (b:Value), (c:Value) WHERE a.norm + b.norm + c.norm < 0 RETURN count(*)")
    screen.page.click("#y-run")
    screen.page.wait_for_selector("#y-cancel:not([disabled])")
    screen.page.click("#y-cancel")
    screen.wait_text("#y-note", "Cancelled")
    assert screen.problems() == []
    screen.page.close()
