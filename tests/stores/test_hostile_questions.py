"""Questions that would write, reach out, or run away: refused or stopped on both stores, with nothing changed."""

from __future__ import annotations

import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flowatlas.errors import QueryError
from flowatlas.stores import open_store
from flowatlas.stores.base import Limits, Store
from flowatlas.stores.load import load_shards
from support.neo4j_server import empty, shared_uri
from support.store_content import assert_same, content
from support.synthetic_shards import tiny_shards

TIGHT = Limits(seconds=1.0, rows=1000, memory_mb=200)

# {file} is a secret file, {out} a path that must not appear, {port} a listener that must not be called.
BOTH = [
    "CREATE (p:Prompt {{id: 99, key: 'x'}})",
    "MATCH (p:Prompt) DELETE p",
    "MATCH (p:Prompt) DETACH DELETE p",
    "MATCH (p:Prompt) SET p.text = 'changed'",
    "MERGE (p:Prompt {{id: 98}}) RETURN p",
    "MATCH (p:Prompt) REMOVE p.text",
    "MATCH (a:Prompt), (t:Token) CREATE (a)-[:HAS_TOKEN]->(t)",
    "MATCH (p:Prompt) WITH p LIMIT 1 CREATE (:Model {{id: 'x'}}) RETURN p.id",
    "match (p:Prompt) sEt p.text = 'x' return p.id",
    "MATCH (p:Prompt)\nSET\n p.text = 'x'",
    "MATCH (p:Prompt) /* harmless */ SET /* really */ p.text = 'x'",
    "MATCH (p:Prompt) // harmless\nSET p.text = 'x'",
    "MATCH (p:Prompt)\u00a0SET\u00a0p.text = 'x'",
    "MATCH (p:Prompt)\u2003DELETE\u2003p",
    "RETURN 1; MATCH (p:Prompt) DETACH DELETE p",
    "RETURN 1;; RETURN 2",
    "DROP TABLE Prompt",
    "DROP INDEX flowatlas_Prompt_id",
    "CREATE INDEX x FOR (p:Prompt) ON (p.text)",
    "CREATE CONSTRAINT x FOR (p:Prompt) REQUIRE p.text IS UNIQUE",
    "CREATE NODE TABLE Mine(id INT64, PRIMARY KEY(id))",
    "ALTER TABLE Prompt ADD extra STRING",
    "CREATE USER eve SET PASSWORD 'evilevil'",
    "ALTER CURRENT USER SET PASSWORD FROM 'a' TO 'evilevil'",
    "DROP USER neo4j",
    "LOAD CSV FROM 'file:///{file}' AS line RETURN line",
    "LOAD CSV FROM 'http://127.0.0.1:{port}/x' AS line RETURN line",
    "LOAD CSV FROM 'ftp://127.0.0.1:{port}/x' AS line RETURN line",
    "LOAD/**/CSV FROM 'http://127.0.0.1:{port}/x' AS line RETURN line",
    "lOaD cSv WITH HEADERS FROM 'http://127.0.0.1:{port}/x' AS line RETURN line",
    "LOAD\u2003CSV FROM 'http://127.0.0.1:{port}/x' AS line RETURN line",
    "\\u004cOAD CSV FROM 'http://127.0.0.1:{port}/x' AS line RETURN line",
    "MATCH (p:Prompt) CALL {{ WITH p LOAD CSV FROM 'http://127.0.0.1:{port}/x' AS line RETURN line }} RETURN line",
    "MATCH (p:Prompt) RETURN p.id AS x UNION LOAD CSV FROM 'http://127.0.0.1:{port}/x' AS line RETURN line AS x",
    "RETURN 1 AS x UNION CALL {{ LOAD CSV FROM 'file:///{file}' AS line RETURN line AS x }} RETURN x",
    "RETURN [x IN [1] | COLLECT {{ LOAD CSV FROM 'http://127.0.0.1:{port}/x' AS line RETURN line }}] AS r",
    "RETURN CASE WHEN true THEN COLLECT {{ LOAD CSV FROM 'http://127.0.0.1:{port}/x' AS l RETURN l }} END AS r",
    "RETURN reduce(a = [], x IN [1] | a + COLLECT {{ LOAD CSV FROM 'http://127.0.0.1:{port}/' AS l RETURN l }}) AS r",
    "MATCH (p:Prompt) WHERE EXISTS {{ LOAD CSV FROM 'http://127.0.0.1:{port}/x' AS l RETURN l }} RETURN p.id",
    "LOAD FROM '{file}' (header=false, file_format='csv') RETURN *",
    "MATCH (p:Prompt) LOAD FROM '{file}' (file_format='csv') RETURN *",
    "COPY (MATCH (p:Prompt) RETURN p.id) TO '{out}'",
    "COPY (MATCH (p:Prompt) RETURN p.id) TO '{out}' (file_format='parquet')",
    "COPY Prompt FROM '{file}'",
    "EXPORT DATABASE '{out}'",
    "IMPORT DATABASE '{out}'",
    "ATTACH '{file}' AS other (dbtype lbug)",
    "INSTALL httpfs",
    "LOAD EXTENSION httpfs",
    "USE system SHOW USERS",
    "USE other",
    "CALL threads=64",
    "CALL show_tables() RETURN *",
    "CALL current_setting('threads') RETURN *",
    "CALL show_functions() RETURN *",
    "CALL db.labels()",
    "CALL `db`.`labels`() YIELD label RETURN label",
    "CALL dbms.listConfig() YIELD name, value RETURN name, value",
    "CALL dbms.killConnection('bolt-1')",
    "CALL db.createLabel('Mine')",
    "CALL dbms.security.listUsers()",
    "MATCH (p:Prompt) WHERE EXISTS {{ CALL db.labels() YIELD label RETURN label }} RETURN p.id",
    "RETURN [x IN [1] | COLLECT {{ CALL dbms.listConfig() YIELD value RETURN value }}] AS r",
    "MATCH (p:Prompt) CALL {{ WITH p RETURN p.id AS x }} IN TRANSACTIONS OF 1 ROWS RETURN x",
    "MATCH (p:Prompt) CALL {{ WITH p SET p.text = 'x' }} IN TRANSACTIONS",
    "FOREACH (x IN [1, 2] | CREATE (:Model))",
    "RETURN apoc.cypher.runFirstColumnMany('MATCH (n) DETACH DELETE n', {{}})",
    "RETURN `apoc` . `load`.json('http://127.0.0.1:{port}/') AS r",
    "SHOW USERS",
    "SHOW DATABASES",
    "SHOW SETTINGS",
    "SHOW TRANSACTIONS",
    "SHOW PROCEDURES YIELD name RETURN name",
    "TERMINATE TRANSACTION 'neo4j-transaction-1'",
    "STOP DATABASE neo4j",
    "PROFILE MATCH (p:Prompt) RETURN p.id",
    "EXPLAIN MATCH (p:Prompt) RETURN p.id",
    "CYPHER runtime=interpreted MATCH (p:Prompt) SET p.text = 'x'",
    "BEGIN TRANSACTION",
    "CHECKPOINT",
    "COMMIT",
    "",
    "   // nothing\n",
    "RETURN 'never closed",
    "MATCH (p:Prompt) /* never closed",
    "RETURN 1 }} RETURN 2 //",
]
# The embedded store takes these for what they look like: a text, or the name of a table that is not there.
NEO4J = [
    "RETURN '\\u0027 AS x LOAD CSV FROM \\u0027http://127.0.0.1:{port}/\\u0027 AS line RETURN line //'",
    "RETURN \\u0027 AS x, 1 //'",
    "MATCH (p:Prompt) USING PERIODIC COMMIT RETURN p",
    "CALL {{ RETURN 1 AS x UNION SHOW USERS YIELD user AS x RETURN x }} RETURN x",
]
RUNAWAY = [
    "UNWIND range(1, 1000000) AS a UNWIND range(1, 1000000) AS b RETURN count(a + b)",
    "UNWIND range(1, 200000000) AS a RETURN collect(a)",
    "MATCH (a:Key), (b:Key), (c:Key), (d:Key) WHERE a.norm + b.norm > c.norm + d.norm + 1000 RETURN count(*)",
    "MATCH p = (a)-[*1..25]-(b) RETURN count(p)",
    f"UNWIND range(1, 40000) AS a WITH collect('{'x' * 2000}') AS many UNWIND range(1, 3000) AS b RETURN many, b",
]


@pytest.fixture(scope="module", params=["ladybug", "neo4j"])
def loaded_uri(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """URI of a store with the synthetic prompts, the same for all tests here: they may not change it."""
    uri = str(tmp_path_factory.mktemp("hostile") / "store.lbug")
    if request.param == "neo4j":
        uri = shared_uri()
        empty(uri)
    with open_store(uri, mode="write") as store:
        load_shards(store, tiny_shards())
    return uri


@contextmanager
def listener() -> Iterator[tuple[int, list[bytes]]]:
    """A port of loopback and what was sent to it."""
    called: list[bytes] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            called.append(self.request.recv(100))

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_address[1], called
        finally:
            server.shutdown()
            thread.join()


def test_hostile_questions_change_and_reach_nothing(loaded_uri: str, tmp_path: Path) -> None:
    assert len(BOTH) >= 60
    secret, out = tmp_path / "secret.csv", tmp_path / "out.csv"
    secret.write_text("top,secret\n")
    with open_store(loaded_uri) as store, listener() as (port, called):
        before = content(store)
        passed = []
        for template in BOTH + (NEO4J if store.dialect == "neo4j" else []):
            text = template.format(file=secret, out=out, port=port)
            try:
                passed.append((text, store.ask(text, limits=TIGHT).table.to_pylist()))
            except QueryError as error:
                assert str(error), text
                assert "secret" not in str(error).replace(str(secret), ""), text
        assert passed == []
        assert called == []
        assert not out.exists()
        assert_same(before, content(store))


def test_runaway_questions_are_stopped_and_the_next_one_is_answered(loaded_uri: str) -> None:
    with open_store(loaded_uri) as store:
        for text in RUNAWAY:
            start = time.monotonic()
            with pytest.raises(QueryError, match="stopped|memory|Buffer|buffer"):
                store.ask(text, limits=TIGHT)
            assert time.monotonic() - start < 30, text
            assert alive(store), text


def alive(store: Store) -> bool:
    return store.ask("MATCH (p:Prompt) RETURN count(*) AS n").table["n"].to_pylist() == [12]


def test_questions_that_look_hostile_but_only_read(loaded_uri: str) -> None:
    harmless = {
        "MATCH (p:Prompt) WHERE p.text <> 'CREATE; DELETE // LOAD CSV' RETURN count(*) AS n": 12,
        "MATCH (p:Prompt) /* SET p.text = 'x'; */ RETURN count(*) AS n": 12,
        "MATCH (p:Prompt) RETURN count(*) AS n // DROP": 12,
        "MATCH (`load`:Prompt) RETURN count(`load`) AS n;": 12,
        'MATCH (p:Prompt) WHERE p.key <> "it\'s \\"SET\\"" RETURN count(*) AS n': 12,
        "MATCH (p:Prompt) WHERE EXISTS { MATCH (p)-[:HAS_TOKEN]->(t:Token) WHERE t.position = 0 } RETURN count(*) AS n": 12,
        "MATCH p = (a:Query)-[:ATTENDS]->(:Key)-[:RECALLS]->(:Value)-[:SUMS]->(h:Head) WHERE a.prompt = 0 "
        "AND length(p) = 3 RETURN count(DISTINCT h.id) AS n": 12,
    }
    with open_store(loaded_uri) as store:
        for text, n in harmless.items():
            assert store.ask(text).table["n"].to_pylist() == [n], text
