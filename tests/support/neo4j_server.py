"""A real Neo4j server for the tests: the one that FLOWATLAS_TEST_NEO4J_URI names, or one of their own.

The own one is assembled by the code under test, started when the first test asks for it, on a free
port, and stopped when the run ends. Where none can be had the tests fail with what to install.
"""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import neo4j
import pytest

from flowatlas.settings import settings
from flowatlas.stores import Mode, open_store
from flowatlas.stores.neo4j import Neo4jStore
from flowatlas.stores.neo4j_home import Memory, password_file
from flowatlas.stores.neo4j_server import Server

ROOT = Path(__file__).resolve().parents[2]
SMALL = Memory(heap=768, page_cache=128, transaction=300)
QUICK_START = (
    "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData",
    "-XX:+UnlockDiagnosticVMOptions", "-XX:-BytecodeVerificationRemote",
)  # fmt: skip


def own_server(home: Path, memory: Memory = SMALL) -> Server:
    """A small server in `home` on a free port, not started yet; its jars are those of `make neo4j`."""
    return Server(home, ROOT / ".neo4j" / "lib", free_port(), memory=memory, java_options=QUICK_START)


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@lru_cache(maxsize=1)
def shared_uri() -> str:
    """URI of the server of this test run; its user and password are in the environment from then on."""
    given = os.environ.get("FLOWATLAS_TEST_NEO4J_URI")
    if given:
        return given
    home = Path(tempfile.mkdtemp(prefix="flowatlas-neo4j-"))
    server = own_server(home)
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    atexit.register(server.kill)
    server.start()
    os.environ["FLOWATLAS_NEO4J_USER"] = "neo4j"
    os.environ["FLOWATLAS_NEO4J_PASSWORD_FILE"] = str(password_file(home))
    settings.cache_clear()
    return server.uri


def driver_of(uri: str) -> neo4j.Driver:
    """The bare driver on a server, for what a test does behind the store's back."""
    file = os.environ.get("FLOWATLAS_NEO4J_PASSWORD_FILE")
    password = Path(file).read_text().strip() if file else os.environ["FLOWATLAS_NEO4J_PASSWORD"]
    server, _, _ = uri.rpartition("/")
    user = os.environ.get("FLOWATLAS_NEO4J_USER", "neo4j")
    return neo4j.GraphDatabase.driver(server, auth=(user, password))


def empty(uri: str) -> None:
    """Delete everything in the database, constraints and indexes too."""
    with driver_of(uri) as driver, driver.session() as session:
        session.run("MATCH (n) CALL { WITH n DETACH DELETE n } IN TRANSACTIONS OF 500 ROWS").consume()
        for kind, all_of in (("CONSTRAINT", "CONSTRAINTS"), ("INDEX", "INDEXES")):
            rows = session.run(f"SHOW {all_of} YIELD name, type WHERE type <> 'LOOKUP' RETURN collect(name) AS names")
            for name in rows.single(strict=True)["names"]:
                session.run(f"DROP {kind} {name} IF EXISTS").consume()


@pytest.fixture
def neo4j_uri() -> str:
    """URI of an empty database on the shared server."""
    uri = shared_uri()
    empty(uri)
    return uri


@pytest.fixture(params=["ladybug", "neo4j"])
def store_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URI of a store that is not there yet (a path) or of an empty database."""
    if request.param == "ladybug":
        return str(tmp_path / "store.lbug")
    uri = shared_uri()
    empty(uri)
    return uri


@contextmanager
def neo4j_store(uri: str, mode: Mode = "write") -> Iterator[Neo4jStore]:
    """The store at `uri`."""
    with open_store(uri, mode=mode) as store:
        assert isinstance(store, Neo4jStore)
        yield store
