"""A server that is killed, stopped and started again, imported into, and too small: its tests' own."""

from __future__ import annotations

import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from benchmarks import synthetic
from flowatlas.errors import QueryError, StoreBusyError, StoreError
from flowatlas.settings import settings
from flowatlas.stores.neo4j_home import Memory, password_file
from flowatlas.stores.neo4j_import import import_shards
from flowatlas.stores.neo4j_server import Server
from flowatlas.stores.verify import verify
from support import loader
from support.cli import flowatlas
from support.neo4j_server import ROOT, SMALL, empty, neo4j_store, own_server
from support.store_content import assert_same, content, incomplete
from support.synthetic_shards import PER_SHARD, PROMPTS, folder_of, tiny_shards

SERVER_KILLS = 3
WIDE = synthetic.Shape(n_layer=4, n_head=4, d_model=768, d_mlp=3072, vocabulary=400, tokens=5)


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of this module's own that its tests may stop and kill; 16 MiB are the most for a transaction."""
    home = tmp_path_factory.mktemp("mortal")
    server = own_server(home, Memory(SMALL.heap, SMALL.page_cache, transaction=16))
    (home / "lib").symlink_to(server.lib)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def mortal_uri(mortal: Server, environment: pytest.MonkeyPatch) -> str:
    """The URI of an empty database on that server, its password in the environment."""
    environment.delenv("FLOWATLAS_NEO4J_PASSWORD", raising=False)
    environment.setenv("FLOWATLAS_NEO4J_USER", "neo4j")
    environment.setenv("FLOWATLAS_NEO4J_PASSWORD_FILE", str(password_file(mortal.home)))
    settings.cache_clear()
    mortal.start()
    empty(mortal.uri)
    return mortal.uri


def test_kill_of_the_server_in_the_middle_of_an_ingest(mortal: Server, mortal_uri: str) -> None:
    """An ingest waits for the server to come back and goes on; nothing is lost or doubled."""
    shards = tiny_shards()
    start = time.monotonic()
    with neo4j_store(mortal_uri) as store:
        for shard in shards:
            store.write(shard)
        whole = time.monotonic() - start
        wanted = content(store)
    empty(mortal_uri)
    for wait in loader.moments(SERVER_KILLS, whole * 0.8, seed=7):
        process = loader.start(mortal_uri, shards)
        time.sleep(wait)
        assert mortal.kill()
        both = wait > whole / 2
        if both:
            process.kill_after(0)
        mortal.start()
        if not both:
            told, code = process.finish()
            assert (told.count("shard"), code) == (len(shards), 0), told
        with neo4j_store(mortal_uri) as store:
            assert incomplete(store) == []
            if len(store.prompt_keys()) == PROMPTS:
                store.delete(store.read("MATCH (p:Prompt) RETURN p.id AS id")["id"].to_pylist()[PER_SHARD:])
    with neo4j_store(mortal_uri) as store:
        for shard in shards:
            store.write(shard)
        assert verify(store, shards).differences == []
        assert_same(content(store), wanted)


def test_a_prompt_larger_than_the_servers_memory_for_a_transaction(mortal_uri: str, tmp_path: Path) -> None:
    model, large = synthetic.write(tmp_path, WIDE, 1, seed=9)
    with neo4j_store(mortal_uri) as store:
        store.write(model)
        start = time.monotonic()
        with pytest.raises(StoreError, match="more memory in one transaction") as error:
            store.write(large)
        assert "db.memory.transaction.max" in str(error.value)
        assert time.monotonic() - start < 60
        assert store.prompt_keys() == frozenset()
        assert store.read("MATCH (s:State|Key|Value|Query|Head) RETURN count(*) AS n")["n"].to_pylist() == [0]
        for shard in tiny_shards():
            store.write(shard)
        assert len(store.prompt_keys()) == PROMPTS


def test_a_server_that_goes_away_and_comes_back_under_a_reader(mortal: Server, mortal_uri: str) -> None:
    with neo4j_store(mortal_uri) as store:
        for shard in tiny_shards()[:2]:
            store.write(shard)
    with neo4j_store(mortal_uri, "read") as store:
        assert store.ask("MATCH (p:Prompt) RETURN count(*) AS n").table["n"].to_pylist() == [PER_SHARD]
        mortal.kill()
        with pytest.raises(StoreError, match="No Neo4j server answers"):
            store.read("MATCH (p:Prompt) RETURN p.id AS id")
        with pytest.raises((StoreError, QueryError), match="No Neo4j server answers"):
            store.ask("MATCH (p:Prompt) RETURN p.id AS id")
        mortal.start()
        assert len(store.prompt_keys()) == PER_SHARD
        assert store.ask("MATCH (p:Prompt) RETURN count(*) AS n").table["n"].to_pylist() == [PER_SHARD]


def sizes_and_times(folder: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of the last change of everything in a folder; looking at it changes neither."""
    found = ((file, file.stat()) for file in folder.rglob("*"))
    return {file: (stat_.st_size, stat_.st_mtime_ns) for file, stat_ in found}


def test_an_import_needs_the_server_stopped_and_gives_what_bolt_gives(mortal: Server, mortal_uri: str) -> None:
    shards = list(tiny_shards())
    with neo4j_store(mortal_uri) as store:
        for shard in shards:
            store.write(shard)
        wanted = content(store)
    with pytest.raises(StoreBusyError, match="is running"):
        import_shards(shards, mortal.home)
    mortal.stop()
    files = sizes_and_times(mortal.home / "data")
    with pytest.raises(StoreError, match="There is a database 'neo4j'"):
        import_shards(shards, mortal.home)
    assert sizes_and_times(mortal.home / "data") == files
    folder = folder_of(tuple(shards))
    done = flowatlas("store", "import", folder, "--neo4j-home", mortal.home, "--overwrite")
    assert (done.code, done.stdout) == (0, "")
    assert f"{PROMPTS} prompts imported" in done.stderr
    mortal.start()
    with neo4j_store(mortal_uri, "read") as store:
        assert_same(content(store), wanted, tolerance=0.0)
        assert verify(store, shards).differences == []
        assert {"flowatlas_WRITES_rank_index", "flowatlas_Prompt_key"} <= store.indexes()
    with neo4j_store(mortal_uri) as store:  # and it goes on from there
        model, first, *_ = tiny_shards(1)
        store.write(model)
        store.write(first)
        assert store.read("MATCH (p:Prompt) RETURN max(p.id) AS id")["id"].to_pylist() == [PROMPTS + PER_SHARD - 1]
    assert not list(mortal.home.glob("import-*"))


def test_the_server_is_on_loopback_with_a_password_that_nobody_else_sees(mortal: Server, mortal_uri: str) -> None:
    file = password_file(mortal.home)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(file.read_text()) >= 32
    pid = mortal.pid()
    assert pid is not None
    listening = {c.laddr.ip for c in psutil.Process(pid).net_connections("inet") if c.status == psutil.CONN_LISTEN}
    assert listening <= {"127.0.0.1", "::ffff:127.0.0.1"}
    for process in psutil.process_iter(["cmdline"]):
        assert file.read_text() not in " ".join(process.info["cmdline"] or [])
    assert mortal.start() == pid  # starting again does nothing


def test_the_commands_of_make_neo4j(mortal: Server, mortal_uri: str) -> None:
    from typer.testing import CliRunner

    from flowatlas.stores.neo4j_server import app

    home = str(mortal.home)
    run = CliRunner().invoke
    status = run(app, ["status", "--home", home])
    assert (status.exit_code, status.stdout) == (0, f"running (pid {mortal.pid()})\n")
    started = run(app, ["start", "--home", home, "--port", str(mortal.port)])
    assert started.stdout.splitlines() == [
        f"export FLOWATLAS_STORE={mortal.uri}",
        "export FLOWATLAS_NEO4J_USER=neo4j",
        f"export FLOWATLAS_NEO4J_PASSWORD_FILE={password_file(mortal.home).resolve()}",
    ]
    assert password_file(mortal.home).read_text() not in started.output
    stopped = run(app, ["stop", "--home", home])
    assert (stopped.exit_code, stopped.stdout) == (0, "")
    assert mortal.pid() is None
    assert run(app, ["status", "--home", home]).exit_code == 1
    assert "is not running" in run(app, ["stop", "--home", home]).output


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = Server(tmp_path / "home", ROOT / ".neo4j" / "lib", port)
        with pytest.raises(StoreError, match=f"Port {port} of 127.0.0.1 is in use"):
            server.start()
