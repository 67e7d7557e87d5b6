"""Several workers serve one page: what one was asked another answers, and none of them is missed."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.request import urlopen

import psutil
import pytest
from playwright.sync_api import BrowserContext

from dashboard.desk import Desk, Reply
from dashboard.jobs import Jobs
from dashboard.serving.crew import reach, share
from dashboard.serving.server import usual_workers
from flowatlas.stores.base import Limits
from support.cli import start
from support.neo4j_server import free_port
from support.screen import LONG, Screen

SECONDS = LONG / 1000


@dataclass(frozen=True)
class Served:
    """A server with two workers."""

    process: subprocess.Popen[str]
    address: str

    def workers(self) -> list[psutil.Process]:
        """Its workers that are alive."""
        return [child for child in psutil.Process(self.process.pid).children() if "dashboard.serving.worker" in child.cmdline()]

    def health(self) -> int:
        """Status of a small request on a connection of its own."""
        with urlopen(f"{self.address}/_flowatlas/health", timeout=SECONDS) as reply:
            return int(reply.status)


@pytest.fixture(scope="module")
def two(demo_uri: str) -> Iterator[Served]:
    """`flowatlas dashboard --workers 2`, as a person starts it."""
    port = free_port()
    process = start("dashboard", "--store", demo_uri, "--port", str(port), "--workers", "2")
    assert process.stdout is not None
    assert process.stderr is not None
    assert f"http://127.0.0.1:{port}" in process.stderr.readline()
    yield Served(process, f"http://127.0.0.1:{port}")
    process.kill()
    process.wait()
    process.stdout.close()
    process.stderr.close()


def test_the_page_works_whoever_answers(two: Served, window: BrowserContext) -> None:
    screen = Screen(window.new_page(), two.address).open(l="1-1")
    assert screen.cy("cy.nodes('.head').length") == 4
    screen.tab("heads")
    screen.page.wait_for_selector("#h-map .fa-cell")
    screen.tab("cypher")
    screen.page.fill("#y-text", "MATCH (a:Value), (b:Value), (c:Value) WHERE a.norm + b.norm + c.norm < 0 RETURN count(*)")
    screen.page.click("#y-run")
    screen.page.wait_for_selector("#y-cancel:not([disabled])")
    screen.page.wait_for_timeout(1500)
    screen.page.click("#y-cancel")
    screen.wait_text("#y-note", "Cancelled")
    screen.page.fill("#y-text", "MATCH (m:Model) RETURN m.n_layer AS layers")
    screen.answered("y-run")
    assert screen.cells("y-grid", "layers") == ["4"]
    assert screen.problems() == []
    screen.page.close()


def test_each_worker_serves_while_the_other_is_busy(two: Served) -> None:
    workers = two.workers()
    assert len(workers) == 2
    for stopped in workers:
        stopped.suspend()
        try:
            assert two.health() == 200
        finally:
            stopped.resume()


def test_a_worker_that_ends_is_replaced(two: Served) -> None:
    first, other = two.workers()
    first.kill()
    psutil.wait_procs([first], timeout=SECONDS)
    assert two.health() == 200
    # The server looks twice a second.
    while len(two.workers()) < 2:
        assert two.process.poll() is None
        os.sched_yield()
    assert other.pid in {worker.pid for worker in two.workers()}
    assert two.health() == 200


def test_workers_end_with_the_server_that_started_them(two: Served) -> None:
    workers = two.workers()
    two.process.send_signal(signal.SIGKILL)
    assert psutil.wait_procs(workers, timeout=SECONDS)[1] == []


def test_one_worker_answers_and_cancels_what_another_was_asked(demo_uri: str) -> None:
    desk = Desk(demo_uri)
    shared = share(desk, Jobs(demo_uri))
    (one, jobs), (other, _) = reach(shared), reach(shared)
    try:
        name = one.ask("cypher", "MATCH (p:Prompt) RETURN count(p) AS prompts", {}, Limits(rows=10))
        reply = other.reply(name, SECONDS)
        assert isinstance(reply, Reply)
        assert reply.rows == [{"prompts": 14}]
        endless = one.ask("cypher", "MATCH (a:Value), (b:Value), (c:Value) WHERE a.norm + b.norm + c.norm < 0 RETURN count(*)", {}, Limits())
        assert other.reply(endless) == "running"
        other.cancel(endless)
        assert one.reply(endless, SECONDS) == Reply("Cancelled.")
        with pytest.raises(ValueError, match="Type a prompt first"):
            jobs.start(" ", None, None, "demo")
        assert other.reply("unknown") is None
    finally:
        desk.close()


def test_no_more_questions_at_once_than_there_is_room_for(demo_uri: str) -> None:
    desk = Desk(demo_uri)
    endless = "MATCH (a:Value), (b:Value), (c:Value) WHERE a.norm + b.norm + c.norm < 0 RETURN count(*)"
    try:
        for _ in range(4):
            desk.ask("cypher", endless, {}, Limits())
        with pytest.raises(ValueError, match="4 queries are running already"):
            desk.ask("query", "models", {}, Limits())
    finally:
        desk.close()


def test_usual_workers_are_few() -> None:
    assert 1 <= usual_workers() <= 4
