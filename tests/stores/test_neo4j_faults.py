"""What goes wrong with a server and beside it: one clear error each, nothing lost, nothing doubled."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from flowatlas.errors import StoreError
from flowatlas.settings import settings
from flowatlas.stores import open_store
from flowatlas.stores.verify import verify
from support import loader
from support.bolt_stub import old_server
from support.cli import flowatlas
from support.neo4j_server import driver_of, empty, free_port, neo4j_store
from support.store_content import assert_same, content, incomplete
from support.synthetic_shards import PER_SHARD, PROMPTS, tiny_shards

INGEST_KILLS = 18


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


def test_a_servers_files_are_not_compacted_from_here(neo4j_uri: str) -> None:
    open_store(neo4j_uri, mode="write").close()
    done = flowatlas("store", "compact", "--store", neo4j_uri)
    assert (done.code, done.stdout) == (1, "")
    assert "flowatlas store import" in done.stderr


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
