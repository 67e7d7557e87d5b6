"""`flowatlas store ...` as its users meet it."""

from __future__ import annotations

import shutil
from pathlib import Path

import ladybug
import pytest

from flowatlas.vocabulary import SCHEMA_VERSION
from support.cli import flowatlas
from support.synthetic_shards import PROMPTS, folder_of, tiny_shards

SHARDS = folder_of(tiny_shards())


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A loaded store."""
    path = tmp_path / "store.lbug"
    done = flowatlas("store", "load", SHARDS, "--store", path)
    assert (done.code, done.stdout) == (0, "")
    assert f"{PROMPTS} prompts added" in done.stderr
    return path


def test_info_prints_what_is_there(store: Path) -> None:
    done = flowatlas("store", "info", "--store", store)
    rows = dict(line.strip().split("\t") for line in done.stdout.splitlines())
    assert done.code == 0
    assert rows["prompts"] == str(PROMPTS)
    assert rows["schema version"] == str(SCHEMA_VERSION)
    edges = sum(part.table(name).num_rows for part in tiny_shards() for name in part.manifest.tables if "_" in name)
    assert rows["relationships"] == str(edges)
    assert int(rows["bytes"]) > 1_000_000


def test_loading_again_adds_nothing_and_one_shard_can_be_loaded(store: Path, tmp_path: Path) -> None:
    again = flowatlas("store", "load", SHARDS, "--store", store)
    assert f"0 prompts added (0 states, 0 relationships), {PROMPTS} were there already" in again.stderr
    model, first, *_ = tiny_shards()
    other = tmp_path / "other.lbug"
    assert flowatlas("store", "load", model.path, "--store", other).code == 0
    one = flowatlas("store", "load", first.path, "--store", other)
    assert "4 prompts added" in one.stderr


def test_verify_finds_what_was_changed_and_rebuild_mends_it(store: Path) -> None:
    same = flowatlas("store", "verify", SHARDS, "--store", store)
    assert (same.code, same.stdout) == (0, "")
    assert "no differences" in same.stderr
    key = tiny_shards()[1].table("Prompt")["key"][1].as_py()
    with ladybug.Database(str(store), buffer_pool_size=1 << 28) as database, ladybug.Connection(database) as connection:
        connection.execute(
            "MATCH (h:Head) WHERE h.prompt = 1 AND h.layer = 2 AND h.head = 3 SET h.norm = h.norm + 0.01"
        )
        connection.execute(
            "MATCH (v:Value)-[r:SUMS]->(h:Head) WHERE h.prompt = 1 AND h.layer = 0 AND h.head = 0 DELETE r"
        )
        connection.execute("MATCH (p:Prompt) WHERE p.id = 2 DETACH DELETE p")
        connection.execute(
            "MATCH (s:State) WHERE s.prompt = 0 AND s.kind = 'mlp_norm' AND s.layer = 1 SET s.no_final_norm_top_ids = NULL"
        )
    found = flowatlas("store", "verify", SHARDS, "--store", store)
    rows = [line.split("\t") for line in found.stdout.splitlines()]
    assert found.code == 1
    assert [row[1] for row in rows if row[0] == key] == ["Head", "SUMS_Value_Head"]
    assert sum(row[1:] == ["Prompt", "is not in the store"] for row in rows) == 1
    lens = next(row for row in rows if row[0] == tiny_shards()[1].table("Prompt")["key"][0].as_py())
    assert (lens[1], "sum of no_final_norm_top_ids is" in lens[2]) == ("State", True)
    assert len(rows) == 4
    assert flowatlas("store", "rebuild", SHARDS, "--store", store).code == 0
    assert flowatlas("store", "verify", SHARDS, "--store", store).code == 0


def test_a_failed_rebuild_leaves_the_store_as_it_was(store: Path, tmp_path: Path) -> None:
    copy = tmp_path / "shards"
    shutil.copytree(SHARDS, copy)
    broken = next(copy.glob("prompts-*")) / "Head.parquet"
    broken.write_bytes(broken.read_bytes()[:-9])
    before = store.read_bytes()
    failed = flowatlas("store", "rebuild", copy, "--store", store)
    assert failed.code == 1
    assert "Head.parquet has changed" in failed.stderr
    assert store.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shards", "store.lbug", "store.lbug.lock"]


def test_delete(store: Path) -> None:
    assert "2 prompts deleted" in flowatlas("store", "delete", "1", "2", "--store", store).stderr
    gone = flowatlas("store", "delete", "2", "3", "--store", store)
    assert gone.code == 1
    assert "no prompt 2" in gone.stderr
    verified = flowatlas("store", "verify", SHARDS, "--store", store)
    assert (verified.code, verified.stdout.count("is not in the store")) == (1, 2)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("info", "--store", "nowhere.lbug"), 1, "no store at nowhere.lbug"),
        (("info", "--store", "ftp://x/y"), 1, "speaks 'ftp'"),
        (("load", "nowhere", "--store", "new.lbug"), 1, "no shards in nowhere"),
        (("verify", "nowhere"), 1, "no shards in nowhere"),
        (("rebuild", "--store", "neo4j://localhost/neo4j"), 2, "not rebuilt in place"),
        (("import", SHARDS, "--neo4j-home", "nowhere"), 1, "not the home of a Neo4j server"),
        (("info", "--store", "neo4j://me:secret@localhost/neo4j"), 1, "does not belong into the store's URI"),
    ],
)
def test_used_wrongly(
    arguments: tuple[str, ...], code: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = flowatlas("store", *arguments)
    assert (done.code, done.stdout) == (code, "")
    assert says in " ".join(done.stderr.split())
    assert "secret" not in done.stderr.replace("me:secret", "")
    assert list(tmp_path.iterdir()) == []
