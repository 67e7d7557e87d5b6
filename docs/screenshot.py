"""Takes docs/screenshots/graph.png: the graph tab over a store of the example prompts, in Chromium.

    python docs/screenshot.py STORE [--chromium /usr/bin/chromium]
"""

from __future__ import annotations

import argparse
import logging
import threading
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from playwright.sync_api import sync_playwright
from werkzeug.serving import make_server

from dashboard.app import create_app
from flowatlas.stores import open_store

PICTURE: Final = Path(__file__).parent / "screenshots" / "graph.png"
VIEW: Final = {"p": 0, "l": "1-1"}
"""What the picture shows, as the page's address says it: prompt 0, layer 1."""


def main() -> None:
    """Serve the store on a free port and take the picture."""
    parser = argparse.ArgumentParser(description="Take the picture of the readme.")
    parser.add_argument("store", help="a store of examples/prompts.jsonl, such as demo.run/demo.lbug")
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="Chromium's executable")
    asked = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with open_store(asked.store) as store:
        server = make_server("127.0.0.1", 0, create_app(store).server, threaded=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=asked.chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1440, "height": 860})
            page.goto(f"http://127.0.0.1:{server.server_port}/?{urlencode(VIEW)}")
            page.wait_for_function("() => Number(document.body.dataset.ready || 0) > 0", timeout=60_000)
            page.wait_for_timeout(1500)
            page.screenshot(path=PICTURE)
            browser.close()
        server.shutdown()


if __name__ == "__main__":
    main()
