"""Takes the pictures in docs/screenshots: the page over a store of the example prompts, in Chromium.

    python docs/screenshot.py STORE [NAME ...] [--chromium /usr/bin/chromium]
"""

from __future__ import annotations

import argparse
import json
import logging
import threading
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from playwright.sync_api import Page, ViewportSize, sync_playwright
from werkzeug.serving import make_server

from dashboard.app import create_app
from dashboard.desk import Desk
from flowatlas.stores import open_store

FOLDER: Final = Path(__file__).parent / "screenshots"
READY: Final = "() => Number(document.body.dataset.ready || 0) > 0"
CYPHER: Final = "MATCH (q:Query)-[a:ATTENDS]->(k:Key)\nWHERE q.prompt = 0 AND q.layer = 2\nRETURN q.id AS `from`, k.id AS `to`, a.score AS score"
GROUPS: Final = json.dumps({"ca-dataset": "relations", "cb-dataset": "indirect_object"})

USUAL: Final[ViewportSize] = {"width": 1440, "height": 860}
WIDE: Final[ViewportSize] = {"width": 1640, "height": 900}
"""Here the inspector stands beside the graph, not on it."""

PICTURES: Final[dict[str, dict[str, Any]]] = {
    "graph": {"p": 0, "l": "1-1"},
    "summary": {"p": 0},
    "path": {"p": 2, "l": "1-1", "theme": "dark"},
    "prompts": {"tab": "prompts"},
    "heads": {"tab": "heads", "hm": "contribution", "hs": "2.1"},
    "neurons": {"tab": "neurons", "f": json.dumps({"r-share": 0.5, "r-layer": 3})},
    "compare": {"tab": "compare", "a": 1, "b": 2},
    "groups": {"tab": "compare", "cm": "groups", "f": GROUPS},
    "queries": {"tab": "queries", "q": "heads_always_promoting_target", "qp": json.dumps({"rank": 50, "share": 0.7})},
    "cypher": {"tab": "cypher", "cy": CYPHER, "theme": "dark"},
}
"""What each picture shows, as the page's address says it."""


def prepare(page: Page, name: str) -> None:
    """Do on the page what an address cannot say, and wait until all is there."""
    page.wait_for_function(READY, timeout=60_000)
    if name == "path":
        box = page.locator("#cy").bounding_box() or {"x": 0, "y": 0}
        place = page.evaluate("() => FA.graph.cy().nodes('.head[layer=1]')[1].renderedPosition()")
        page.mouse.click(box["x"] + place["x"], box["y"] + place["y"])
        page.mouse.move(box["x"] + 5, box["y"] + 5)
    elif name == "neurons":
        page.wait_for_selector("#r-figure .scatterlayer .point", timeout=60_000)
    elif name in ("compare", "groups"):
        page.wait_for_selector("#c-right svg .n", timeout=60_000)
    elif name == "queries":
        page.wait_for_selector("#q-form h2")
        page.click("#q-run")
        page.wait_for_selector("#q-grid .ag-cell", timeout=60_000)
    elif name == "cypher":
        page.wait_for_function("() => document.getElementById('y-text').value !== ''")
        page.click("#y-run")
        page.wait_for_function("() => document.body.dataset.answered", timeout=60_000)
        page.click("#y-shape label:has-text('Graph')")
        page.wait_for_selector(".fa-say")
        page.click(".fa-say button")
    page.wait_for_timeout(1500)


def main() -> None:
    """Serve the store on a free port and take the pictures."""
    parser = argparse.ArgumentParser(description="Take the pictures of the documentation.")
    parser.add_argument("store", help="a store of examples/prompts.jsonl, such as demo.run/demo.lbug")
    parser.add_argument("names", nargs="*", help=f"which: {', '.join(PICTURES)} (left out: all)")
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="Chromium's executable")
    asked = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with open_store(asked.store) as store:
        desk = Desk(store.uri)
        server = make_server("127.0.0.1", 0, create_app(store, desk=desk).server, threaded=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=asked.chromium, args=["--no-sandbox"])
            window = browser.new_context(viewport=USUAL)
            for name in asked.names or PICTURES:
                page = window.new_page()
                page.set_viewport_size(WIDE if name == "path" else USUAL)
                page.goto(f"http://127.0.0.1:{server.server_port}/?{urlencode({'theme': 'light', **PICTURES[name]})}")
                prepare(page, name)
                page.screenshot(path=FOLDER / f"{name}.png")
                page.close()
            browser.close()
        server.shutdown()
        desk.close()


if __name__ == "__main__":
    main()
