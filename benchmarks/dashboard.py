"""The page on a model of GPT-2-small's size: from click to drawn, a frame while panning, bytes, memory.

A real Chromium on a real store. Limits are seconds on two cores without a graphics card.

    python -m benchmarks.dashboard [--quick]
"""

from __future__ import annotations

import argparse
import gzip
import logging
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Final

import psutil
from playwright.sync_api import Page, sync_playwright
from werkzeug.serving import make_server

from benchmarks import synthetic
from benchmarks.report import ratio
from dashboard.app import create_app
from dashboard.source import KEPT_GRAPHS, Source
from dashboard.view import GraphView
from flowatlas.stores import open_store

CHROMIUM: Final = "/usr/bin/chromium"
PROMPTS: Final = 3
VIEWS: Final = (
    ("one layer", "10-10", 1.5),
    ("three layers", "9-11", 3.0),
    ("summary of 12 layers", "all", 2.0),
    ("all 12 layers in detail", "0-11", 6.0),
)
FRAME_MS: Final = 50.0
GROWTH_MB: Final = 60.0
_FRAMES: Final = """(count) => new Promise((done) => {
  const cy = FA.graph.cy(), times = [];
  let last = performance.now(), left = count;
  const step = (now) => {
    times.push(now - last); last = now;
    cy.panBy({ x: left % 2 ? 9 : -7, y: left % 3 ? 5 : -4 });
    if (left-- > 0) requestAnimationFrame(step); else done(times.slice(2));
  };
  requestAnimationFrame(step);
})"""


def click_to_drawn(page: Page, layers: str, prompt: int) -> float:
    """Seconds from asking for a view until Cytoscape has painted it."""
    script = """([layers, prompt]) => new Promise((done) => {
      const before = document.body.dataset.ready, start = performance.now();
      FA.view.set({ l: layers, p: prompt }, true);
      const look = () => {
        if (document.body.dataset.ready === before) return requestAnimationFrame(look);
        requestAnimationFrame(() => requestAnimationFrame(() => done((performance.now() - start) / 1000)));
      };
      look();
    })"""
    return float(page.evaluate(script, [layers, prompt]))


def measure_views(page: Page, rounds: int) -> None:
    """Seconds for every view, on prompts whose graph the server has not read yet where there are enough."""
    for name, layers, limit in VIEWS:
        times = []
        for turn in range(rounds):
            click_to_drawn(page, "4-4", turn % PROMPTS)
            times.append(click_to_drawn(page, layers, (turn + 1) % PROMPTS))
        boxes = page.evaluate("() => FA.graph.cy().nodes('.n').length")
        ratio(f"click to drawn, {name} ({boxes} nodes), s", statistics.median(times), at_most=limit)
    frames = page.evaluate(_FRAMES, 60)
    ratio("a frame while panning all 12 layers, ms (median)", statistics.median(frames), at_most=FRAME_MS)


def measure_bytes(source: Source) -> None:
    """JSON of every view, plain and compressed."""
    for name, layers, _ in VIEWS:
        pair: Any = None if layers == "all" else tuple(int(part) for part in layers.split("-"))
        text = source.picture(GraphView(prompt=0, layers=pair)).json().encode()
        ratio(f"JSON of {name}, KB", len(text) / 1e3)
        ratio(f"JSON of {name}, gzip, KB", len(gzip.compress(text, 5)) / 1e3)


def measure_memory(source: Source, views: int) -> None:
    """Growth of the server over many views, after its caches are full."""
    process = psutil.Process()

    def show(count: int) -> None:
        for number in range(count):
            layer = number % 12
            source.picture(GraphView(prompt=number % PROMPTS, layers=(layer, layer), positive=4 + number % 9))

    show(max(views // 2, 2 * KEPT_GRAPHS))
    before = process.memory_info().rss
    show(views)
    ratio(
        f"server memory, growth over {views} views, MB",
        max(0.0, (process.memory_info().rss - before) / 1e6),
        at_most=GROWTH_MB,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="one round and few views")
    quick = parser.parse_args().quick
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="flowatlas-bench-") as folder:
        uri = str(Path(folder) / "bench.lbug")
        with open_store(uri, mode="write") as writing:
            for shard in synthetic.written(Path(folder) / "shards", synthetic.GPT2_SMALL, PROMPTS):
                writing.write(shard)
        with open_store(uri) as store:
            server = make_server("127.0.0.1", 0, create_app(store).server, threaded=True)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                start = time.perf_counter()
                page.goto(f"http://127.0.0.1:{server.server_port}/")
                page.wait_for_function("() => Number(document.body.dataset.ready || 0) > 0", timeout=60_000)
                ratio("first page, from the address to the summary drawn, s", time.perf_counter() - start)
                measure_views(page, 1 if quick else 5)
                browser.close()
            server.shutdown()
            server.server_close()
            measure_bytes(Source(store))
            measure_memory(Source(store), 20 if quick else 200)


if __name__ == "__main__":
    main()
