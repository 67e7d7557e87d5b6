"""A store of real prompts by the demo model, served to a real Chromium."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from flowatlas.stores import open_store, shards_path
from flowatlas.stores.base import Store
from flowatlas.stores.load import find_shards, load_shards
from support.cli import ROOT, flowatlas
from support.neo4j_server import empty, shared_uri
from support.screen import Screen, served

PROMPTS = 14
CHROMIUM = os.environ.get("FLOWATLAS_TEST_CHROMIUM", "/usr/bin/chromium")


@pytest.fixture(scope="session")
def demo_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with the first example prompts, ingested as a person would, once for all processes of a test run."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "dashboard"
    folder.mkdir(exist_ok=True)
    uri, finished = str(folder / "demo.lbug"), folder / "finished"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            done = flowatlas("ingest", ROOT / "examples" / "prompts.jsonl", "--limit", str(PROMPTS), "--store", uri)
            assert done.code == 0, done.stderr
            finished.touch()
    return uri


@pytest.fixture(scope="session")
def embedded(demo_uri: str) -> Iterator[tuple[Store, str]]:
    """That store, opened for reading, and the address of its dashboard."""
    with open_store(demo_uri) as opened, served(opened) as url:
        yield opened, url


@pytest.fixture(scope="module")
def on_server(demo_uri: str) -> Iterator[tuple[Store, str]]:
    """The same prompts on a Neo4j server: for a module, as other tests want that server empty."""
    uri = shared_uri()
    empty(uri)
    with open_store(uri, mode="write") as writing:
        load_shards(writing, find_shards(shards_path(demo_uri)))
    with open_store(uri) as opened, served(opened) as url:
        yield opened, url
    empty(uri)


@pytest.fixture
def where(request: pytest.FixtureRequest) -> tuple[Store, str]:
    """The embedded store, or for tests marked with `on_both_stores` each in turn."""
    found: tuple[Store, str] = request.getfixturevalue(getattr(request, "param", "embedded"))
    return found


@pytest.fixture
def store(where: tuple[Store, str]) -> Store:
    """The store of the page."""
    return where[0]


@pytest.fixture
def address(where: tuple[Store, str]) -> str:
    """Address of the page."""
    return where[1]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    assert Path(CHROMIUM).exists(), f"These tests need Chromium at {CHROMIUM} (apt install chromium)."
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def window(browser: Browser) -> Iterator[BrowserContext]:
    """One browser window for all tests: its cache holds the scripts."""
    with browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True) as context:
        yield context


@pytest.fixture
def screen(window: BrowserContext, address: str) -> Iterator[Screen]:
    """A new page for the demo store's dashboard; it must end without errors and outside requests."""
    shown = Screen(window.new_page(), address)
    yield shown
    shown.page.close()
    assert shown.problems() == []
