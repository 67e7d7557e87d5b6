"""A store of real prompts by the demo model, served to a real Chromium."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from flowatlas.stores import open_store
from flowatlas.stores.base import Store
from support.cli import ROOT, flowatlas
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
def store(demo_uri: str) -> Iterator[Store]:
    """That store, opened for reading."""
    with open_store(demo_uri) as opened:
        yield opened


@pytest.fixture(scope="session")
def address(store: Store) -> Iterator[str]:
    """Address of its dashboard."""
    with served(store) as url:
        yield url


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
