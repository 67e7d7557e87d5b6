"""What goes wrong with a server: one clear error each, nothing lost, nothing doubled."""

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
from flowatlas.stores import open_store
from flowatlas.stores.base import Store
from flowatlas.stores.neo4j_home import Memory, password_file
from flowatlas.stores.neo4j_import import import_shards
from flowatlas.stores.neo4j_server import Server
from flowatlas.stores.verify import verify
from support import loader
from support.bolt_stub import old_server
from support.cli import flowatlas
from support.neo4j_server import ROOT, SMALL, driver_of, empty, free_port, neo4j_store, own_server
from support.store_content import assert_same, content
from support.synthetic_shards import PER_SHARD, PROMPTS, folder_of, tiny_shards

INGEST_KILLS = 16
SERVER_KILLS = 4
WIDE = synthetic.Shape(n_layer=8, n_head=4, d_model=768, d_mlp=3072, vocabulary=400, tokens=5)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Environment variables that are as before when the test ends, and read again at each change."""
    settings.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of this module's own that its tests may stop and kill; 32 MiB are the most for a transaction."""
    home = tmp_path_factory.mktemp("mortal")
    server = own_server(home, Memory(SMALL.heap, SMALL.page_cache, transaction=32))
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


def refused(uri: str, mode: str = "read") -> str:
    """What a person is told who opens `uri`."""
    with pytest.raises(StoreError) as error:
        open_store(uri, mode=mode).close()
    return str(error.value)


def test_wrong_and_missing_passwords(neo4j_uri: str, environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setenv("FLOWATLAS_NEO4J_PASSWORD", "not-the-password")
    settings.cache_clear()
    told = refused(neo4j_uri)
    assert "refused the user name or password" in told
    assert "not-the-password" not in told
    environment.delenv("FLOWATLAS_NEO4J_PASSWORD")
    environment.setenv("FLOWATLAS_NEO4J_PASSWORD_FILE", str(tmp_path / "none"))
    settings.cache_clear()
    assert "cannot be read" in refused(neo4j_uri)
    (tmp_path / "none").write_text("\n")
    settings.cache_clear()
    assert "is empty" in refused(neo4j_uri)
    environment.delenv("FLOWATLAS_NEO4J_PASSWORD_FILE")
    settings.cache_clear()
    assert "needs a password" in refused(neo4j_uri)


def test_wrong_addresses(neo4j_uri: str, environment: pytest.MonkeyPatch) -> None:
    host = neo4j_uri.partition("://")[2]
    assert "No Neo4j server answers" in refused(f"neo4j://127.0.0.1:{free_port()}/neo4j")
    assert "No encrypted connection" in refused(f"bolt+s://{host}")
    assert "No encrypted connection" in refused(f"neo4j+ssc://{host}")
    assert "no database 'elsewhere'" in refused(neo4j_uri.rpartition("/")[0] + "/elsewhere")
    assert "names no server" in refused("neo4j:///neo4j")
    told = refused("neo4j://neo4j:hunter2@127.0.0.1/neo4j")
    assert "does not belong into the store's URI" in told
    assert "hunter2" not in told


@pytest.mark.parametrize(
    ("agent", "protocol", "says"),
    [
        ("Neo4j/4.4.30", b"\x00\x00\x04\x04", "Neo4j/4.4.30; flowatlas needs Neo4j 5"),
        ("Neo4j/3.5.0", bytes(4), "does not speak a protocol of Neo4j 5"),
    ],
)
def test_a_server_that_is_too_old(agent: str, protocol: bytes, says: str, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("FLOWATLAS_NEO4J_PASSWORD", "any")
    settings.cache_clear()
    with old_server(agent, protocol) as port:
        assert says in refused(f"bolt://127.0.0.1:{port}/neo4j")


def test_a_database_with_other_data_is_left_alone(neo4j_uri: str) -> None:
    with driver_of(neo4j_uri) as driver:
        driver.execute_query("CREATE (:Person {name: 'Ada'})")
        for mode in ("read", "write"):
            assert "holds other data" in refused(neo4j_uri, mode)
        count = driver.execute_query("MATCH (n) RETURN count(n) AS n, collect(n.name) AS names").records[0]
        assert count.values() == [1, ["Ada"]]
        names = driver.execute_query("SHOW CONSTRAINTS YIELD name RETURN collect(name) AS names").records[0]["names"]
        assert names == []


def test_an_empty_database_is_not_made_a_store_by_reading(neo4j_uri: str) -> None:
    assert "holds no flow graphs" in refused(neo4j_uri)


def test_two_ingests_of_the_same_prompts_at_once(neo4j_uri: str) -> None:
    shards = tiny_shards()
    with neo4j_store(neo4j_uri) as store:
        writers = [loader.start(neo4j_uri, [shards[0], *order]) for order in (shards[1:], shards[:0:-1], shards[1:])]
        for writer in writers:
            assert writer.finish() == (["open", *["shard"] * len(shards)], 0)
        assert len(store.read("MATCH (p:Prompt) RETURN p.key AS key")["key"]) == PROMPTS
        assert len(set(store.read("MATCH (p:Prompt) RETURN p.id AS id")["id"].to_pylist())) == PROMPTS
        assert verify(store, shards).differences == []


def test_kill_of_the_ingest_at_any_moment_then_the_same_again(neo4j_uri: str) -> None:
    shards = tiny_shards()
    with neo4j_store(neo4j_uri) as store:
        start = time.monotonic()
        for shard in shards:
            store.write(shard)
        whole = time.monotonic() - start
        wanted = content(store)
    empty(neo4j_uri)
    cut = 0
    for wait in loader.moments(INGEST_KILLS, whole * 0.9, seed=5):
        told = loader.start(neo4j_uri, shards).kill_after(wait)
        cut += told.count("shard") < len(shards)
        with neo4j_store(neo4j_uri) as store:
            # The server may be at the killed client's last commit while the question reads.
            deadline = time.monotonic() + 20
            while incomplete(store) and time.monotonic() < deadline:
                time.sleep(0.5)
            assert incomplete(store) == []
            if len(store.prompt_keys()) == PROMPTS:
                store.delete(store.read("MATCH (p:Prompt) RETURN p.id AS id")["id"].to_pylist()[PER_SHARD:])
    assert cut >= 1  # how many fall inside a write depends on the machine's speed
    with neo4j_store(neo4j_uri) as store:
        for shard in shards:
            store.write(shard)
        assert verify(store, shards).differences == []
        assert_same(content(store), wanted)


def incomplete(store: Store) -> list[dict[str, object]]:
    """States of prompts that do not have all of theirs, or of none."""
    rows: list[dict[str, object]] = store.read(
        "MATCH (s:State|Query|Key|Value|Head) WITH s.prompt AS prompt, count(s) AS states "
        "OPTIONAL MATCH (p:Prompt {id: prompt}) RETURN prompt, states, p.n_state AS wanted"
    ).to_pylist()
    return [row for row in rows if row["states"] != row["wanted"]]


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
