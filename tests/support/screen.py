"""The dashboard in a real Chromium, as a person sees it: what it shows, and what Cytoscape holds."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import Page
from werkzeug.serving import make_server

from dashboard.app import create_app
from dashboard.desk import Desk
from flowatlas.stores.base import Store

LONG = 60_000
"""Milliseconds: machines that run the tests may be busy."""


@contextlib.contextmanager
def served(store: Store, password: str | None = None) -> Iterator[str]:
    """The dashboard of a store on a free port of loopback; its address."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    desk = Desk(store.uri)
    server = make_server("127.0.0.1", 0, create_app(store, password=password, desk=desk).server, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        desk.close()


class Screen:
    """A page, with everything that went wrong on it."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.errors: list[str] = []
        self.outside: list[str] = []
        self.expected: tuple[str, ...] = ()
        page.set_default_timeout(LONG)
        page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda asked: self._look(asked.url))

    def _look(self, url: str) -> None:
        if not url.startswith((self.address, "data:", "blob:")):
            self.outside.append(url)

    def open(self, **view: Any) -> Screen:
        """Open the page at an address and wait until its graph is drawn."""
        self.page.goto(f"{self.address}/?{urlencode(view)}")
        self.page.wait_for_function("() => Number(document.body.dataset.ready || 0) > 0", timeout=LONG)
        return self

    def drawings(self) -> int:
        """How often the graph was drawn."""
        return int(self.page.evaluate("() => Number(document.body.dataset.ready || 0)"))

    @contextlib.contextmanager
    def redrawn(self) -> Iterator[None]:
        """What happens inside draws the graph again."""
        before = self.drawings()
        yield
        self.page.wait_for_function(f"() => Number(document.body.dataset.ready) > {before}", timeout=LONG)

    def cy(self, expression: str) -> Any:
        """A value computed from `cy`, the Cytoscape graph."""
        return self.page.evaluate(f"() => {{ const cy = FA.graph.cy(); return {expression}; }}")

    def spot(self, selector: str) -> tuple[float, float]:
        """Where on the screen the middle of the first such node is."""
        box = self.page.locator("#cy").bounding_box()
        place = self.cy(f"cy.nodes({selector!r})[0].renderedPosition()")
        assert box is not None
        return box["x"] + place["x"], box["y"] + place["y"]

    def hover(self, selector: str) -> str:
        """Put the mouse on a node; what the panel beside it says."""
        x, y = self.spot(selector)
        self.page.mouse.move(x - 60, y - 60)
        self.page.mouse.move(x, y, steps=4)
        self.page.wait_for_selector("#fa-tip:not([hidden])")
        return self.text("#fa-tip")

    def click(self, selector: str) -> None:
        """Click a node."""
        self.page.mouse.click(*self.spot(selector))

    def text(self, selector: str) -> str:
        """The words that an element shows."""
        return self.page.locator(selector).first.inner_text()

    def tab(self, name: str) -> None:
        """Choose a tab."""
        self.page.click(f'#tabs [data-tab="{name}"]')
        self.page.wait_for_function(f"() => document.body.dataset.tab === '{name}'")

    def wait_text(self, selector: str, words: str, timeout: float = LONG) -> None:
        """Wait until an element shows these words."""
        self.page.wait_for_function(
            "([selector, words]) => [...document.querySelectorAll(selector)].some((one) => one.innerText.includes(words))",
            arg=[selector, words],
            timeout=timeout,
        )

    def choose(self, control: str, words: str) -> None:
        """Choose an option of a select by its words."""
        self.page.click(f"#{control}")
        self.page.locator(".mantine-Select-option:visible", has_text=words).first.click()

    def answered(self, button: str) -> None:
        """Press the button that asks Cypher, and wait for what comes of it."""
        before = self.page.evaluate("() => document.body.dataset.answered || ''")
        self.page.click(f"#{button}")
        self.page.wait_for_function("before => (document.body.dataset.answered || '') !== before", arg=before, timeout=LONG)

    def slide(self, control: str, steps: int) -> None:
        """Move a slider's (first) thumb by keys."""
        thumb = self.page.locator(f"#{control} [role=slider]").first
        thumb.focus()
        for _ in range(abs(steps)):
            self.page.keyboard.press("ArrowRight" if steps > 0 else "ArrowLeft")

    def cells(self, grid: str, column: str) -> list[str]:
        """What the visible rows of a table show in a column."""
        return self.page.locator(f"#{grid} .ag-center-cols-container [col-id={column}]").all_inner_texts()

    def problems(self) -> list[str]:
        """Everything that went wrong and was not expected."""
        return [one for one in self.errors if not any(words in one for words in self.expected)] + self.outside
