"""Looking after stores and shards: compacted, verified, moved, on full disks, with parts lost or changed."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import synthetic
from flowatlas.errors import FlowatlasError, QueryError, ShardError, StoreError
from flowatlas.shards import Shard, remove_unfinished, shards
from flowatlas.stores import ladybug_files, open_store
from flowatlas.stores.invariants import violations
from flowatlas.stores.ladybug import LadybugStore
from flowatlas.stores.ladybug_copy import Tables
from flowatlas.stores.load import find_shards, load_shards
from flowatlas.stores.memory import room, split, weight, weight_of
from flowatlas.stores.rebuild import rebuild
from flowatlas.stores.shard_rows import plan
from flowatlas.stores.verify import verify
from support import cramped, loader
from support.children import child
from support.cli import flowatlas
from support.store_content import assert_same, content
from support.synthetic_shards import PER_SHARD, PROMPTS, folder_of, tiny_shards

MB = 1 << 20
FULL_AT = (MB // 2, 3 * MB, 9 * MB, 13 * MB)
"""Bytes at which a disk is full: the model half in, the first prompts, their checkpoint, the next prompts."""
FLIPS = 60


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LadybugStore]:
    """A loaded store, open for writing."""
    with open_store(str(tmp_path / "store.lbug"), mode="write") as opened:
        load_shards(opened, tiny_shards())
        assert isinstance(opened, LadybugStore)
        yield opened


def test_a_compacted_store_is_smaller_and_the_same_under_its_readers(store: LadybugStore) -> None:
    store.delete(range(3, 10))
    wanted = content(store)
    ids = store.read("MATCH (p:Prompt) RETURN p.id AS id ORDER BY id")
    store.close()
    with open_store(store.uri) as reader:
        done = flowatlas("store", "compact", "--store", store.uri)
        assert done.code == 0
        sizes = {name: int(number) for name, number in (line.split("\t") for line in done.stdout.splitlines())}
        assert sizes["after"] == store.path.stat().st_size < sizes["before"] / 2
        assert_same(content(reader), wanted, tolerance=0.0)
        assert reader.read("MATCH (p:Prompt) RETURN p.id AS id ORDER BY id").equals(ids)
    with open_store(store.uri, mode="write") as again:
        assert again.write(tiny_shards()[2]).prompts == PER_SHARD
        smallest = again.compact()
        assert smallest.after <= smallest.before
        assert again.write(tiny_shards()[3]).prompts == 2
        assert verify(again, tiny_shards()[2:]).differences == []
    assert {file.name for file in store.path.parent.iterdir()} == {"store.lbug", "store.lbug.lock"}


def test_a_compaction_that_fails_leaves_the_store_as_it_was(
    store: LadybugStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = store.path.read_bytes()
    monkeypatch.setattr(LadybugStore, "add", _broken)
    with pytest.raises(StoreError, match="given up"):
        store.compact()
    monkeypatch.setattr(ladybug_files, "_SLACK", shutil.disk_usage(store.path.parent).free + 1)
    with pytest.raises(StoreError, match="not enough space"):
        store.compact()
    assert store.path.read_bytes() == before
    assert len(store.prompt_keys()) == PROMPTS
    assert {file.name for file in store.path.parent.iterdir()} == {"store.lbug", "store.lbug.lock"}


def _broken(*_: object) -> None:
    raise StoreError("given up")


RISING = [0.05 * n for n in range(10)]
CHANGES = [
    ("(n:Head) WHERE n.prompt = {id} AND n.layer = 1 AND n.head = 2 DETACH DELETE n", "n_state is"),
    ("(n:State) WHERE n.prompt = {id} AND n.kind = 'final_norm' SET n.target_prob = 0.987", "the final lens"),
    (f"(n:Key) WHERE n.prompt = {{id}} AND n.layer = 1 SET n.top_probs = {RISING}", "no falling probabilities"),
    ("(n:Head) WHERE n.prompt = {id} AND n.target_rank = 1 SET n.target_prob = 0.0001", "rank 1 is not"),
    ("(:Value)-[r:SUMS]->(n:Head) WHERE n.prompt = {id} SET r.contribution = r.contribution + 1", "their head's"),
    ("(:Value)-[r:SUMS]->(n:Head) WHERE n.prompt = {id} AND n.layer = 0 SET r.score = 0.9", "more than 1"),
    ("(:Neuron)-[r:WRITES]->(n:State) WHERE n.prompt = {id} AND r.rank = 2 SET r.rank = 3", "ranks do not follow"),
    ("(:Neuron)-[r:WRITES]->(n:State) WHERE n.prompt = {id} AND r.rank = 5 SET r.contribution = 9.0", "layer's output"),
    ("(p:Prompt) WHERE p.id = {id} SET p.target_logit = p.target_logit + 1", "the target's logit"),
]


def test_verify_finds_what_cannot_be_in_a_prompt(store: LadybugStore) -> None:
    found = verify(store, tiny_shards(), sample=PROMPTS)
    assert (found.differences, found.sampled) == ([], PROMPTS)
    with store._transaction() as connection:
        for number, (change, _) in enumerate(CHANGES):
            connection.execute(f"MATCH {change.format(id=number)}").close()
    keys = store.read("MATCH (p:Prompt) RETURN p.key AS key ORDER BY p.id")["key"].to_pylist()
    for key, (change, says) in zip(keys, CHANGES, strict=False):
        problems = [problem for _, problem in violations(store, key)]
        assert any(says in problem for problem in problems), (change, problems)
    assert all(not list(violations(store, key)) for key in keys[len(CHANGES) :])
    told = {difference.problem for difference in verify(store, tiny_shards(), sample=PROMPTS).differences}
    assert all(any(says in problem for problem in told) for _, says in CHANGES)


@pytest.mark.parametrize("whose", ["writer", "reader"])
def test_a_store_moved_while_open_is_noticed(store: LadybugStore, tmp_path: Path, whose: str) -> None:
    moved = tmp_path / "elsewhere.lbug"
    store.delete([0])
    if whose == "reader":
        store.close()
        with open_store(store.uri) as reader:
            store.path.rename(moved)
            with pytest.raises(StoreError, match="moved, replaced or deleted"):
                reader.prompt_keys()
            with pytest.raises(FlowatlasError):
                reader.ask("MATCH (p:Prompt) RETURN p.id")
    else:
        store.path.rename(moved)
        with pytest.raises(StoreError, match="moved, replaced or deleted"):
            store.write(tiny_shards()[1])
        shutil.copy(moved, store.path)  # another file under the same name is not the store either
        with pytest.raises(StoreError, match="moved, replaced or deleted"):
            store.delete([1])
        store.path.unlink()
        store.close()
    assert not store.path.exists()
    with open_store(str(moved), mode="write") as found:
        assert len(found.prompt_keys()) == PROMPTS - 1
        assert found.write(tiny_shards()[1]).prompts == 1


def test_two_ingests_into_one_embedded_store(tmp_path: Path) -> None:
    uri = str(tmp_path / "store.lbug")
    first = loader.start(uri, tiny_shards()[:2])
    second = child(loader.load, uri, [shard.path for shard in tiny_shards()])
    told, code = second.finish()
    assert first.finish() == (["open", "shard", "shard"], 0)
    assert code in (0, 1)
    if code == 1:
        assert "being written by another process" in told[-1]
    with open_store(uri, mode="write") as store:
        load_shards(store, tiny_shards())
        assert verify(store, tiny_shards()).differences == []


def test_rows_go_through_memory_in_parts_of_a_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, *prompts = tiny_shards()
    parts, _ = plan(prompts, (), 0, None)
    assert 0 < room() <= 1 << 30
    assert 0 < room(1 << 28) <= 1 << 27
    largest = max(
        weight(row["n_state"], row["n_relationship"]) for s in prompts for row in s.table("Prompt").to_pylist()
    )
    groups = list(split(parts, 2 * largest))
    assert 4 <= len(groups) <= 8
    assert all(size <= 2 * largest for _, size in groups)
    assert sum(size for _, size in groups) == sum(weight_of(shard) for shard in prompts)
    assert [n for group, _ in groups for _, ids in group for n in ids.values()] == list(range(PROMPTS))
    assert [len(group) for group, _ in split(parts, 1 << 40)] == [len(prompts)]
    assert sum(len(ids) for group, _ in split(parts, 1) for _, ids in group) == PROMPTS
    with open_store(str(tmp_path / "a.lbug"), mode="write") as store:
        assert isinstance(store, LadybugStore)
        store.write(model)
        monkeypatch.setattr("flowatlas.stores.ladybug.room", lambda _: 2 * largest)
        opened = store._database
        assert store.write(prompts[0]).prompts == PER_SHARD
        assert store._database is not opened  # opened again: a COPY leaks
        assert verify(store, [model, prompts[0]]).differences == []


def _set_pool(monkeypatch: pytest.MonkeyPatch, size: int, rows: int | None = None) -> None:
    """A buffer pool of `size` MiB (a writer begins with half), and transactions of at most `rows` bytes where given."""
    monkeypatch.setattr("flowatlas.stores.ladybug.settings", lambda: type("Small", (), {"ladybug_buffer_mb": size}))
    if rows is not None:
        monkeypatch.setattr("flowatlas.stores.ladybug.room", lambda _: rows)


def test_the_pool_of_the_embedded_store_has_the_size_that_is_set(
    store: LadybugStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.close()
    _set_pool(monkeypatch, 64)
    with open_store(store.uri) as small, pytest.raises(QueryError, match="[Bb]uffer"):
        small.read("UNWIND range(1, 20000000) AS x RETURN collect(x) AS many")


@pytest.fixture(scope="module")
def large_shards(tmp_path_factory: pytest.TempPathFactory) -> list[Shard]:
    """A model and a hundred prompts of 61 MiB."""
    shape = synthetic.Shape(n_layer=4, n_head=6, d_model=96, d_mlp=768, vocabulary=500, tokens=9)
    return synthetic.write(tmp_path_factory.mktemp("large"), shape, 100, batch=100)


def test_a_shard_larger_than_the_pool_is_written_in_parts(
    tmp_path: Path, large_shards: list[Shard], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, prompts = large_shards
    _set_pool(monkeypatch, 192)
    assert 2 * weight_of(prompts) > 96 * MB
    with open_store(str(tmp_path / "a.lbug"), mode="write") as store:
        store.write(model)
        assert isinstance(store, LadybugStore)
        assert store.write(prompts).prompts == 100
        assert 96 <= store._buffer_mb < 2 * weight_of(prompts) // MB
        assert verify(store, [model, prompts]).differences == []


def test_a_pool_that_is_too_small_for_a_write_grows_while_memory_allows(
    tmp_path: Path, large_shards: list[Shard], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, prompts = large_shards
    _set_pool(monkeypatch, 128, rows=1 << 30)
    monkeypatch.setattr("flowatlas.stores.ladybug._ROWS_IN_POOL", 0)
    monkeypatch.setattr("flowatlas.stores.ladybug._ENTRY_BYTES", 0)
    with open_store(str(tmp_path / "a.lbug"), mode="write") as store:
        assert isinstance(store, LadybugStore)
        store.write(model)
        with monkeypatch.context() as crowded:
            free = type("Memory", (), {"available": 2 * 64 * MB})
            crowded.setattr("flowatlas.stores.ladybug.psutil.virtual_memory", lambda: free)
            with pytest.raises(StoreError, match="FLOWATLAS_LADYBUG_BUFFER_MB"):
                store.write(prompts)
        assert store.prompt_keys() == set()
        assert store._buffer_mb == 64
        written = store.write(prompts)
        assert written.prompts == 100
        assert written.relationships == sum(prompts.table("Prompt", ["n_relationship"])["n_relationship"].to_pylist())
        assert store._buffer_mb > 64
        assert verify(store, [model, prompts]).differences == []


def test_the_pool_grows_before_a_write_fails(
    tmp_path: Path, large_shards: list[Shard], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, prompts = large_shards
    _set_pool(monkeypatch, 128, rows=1 << 30)
    pools: list[int] = []
    add = LadybugStore._add

    def tried(store: LadybugStore, tables: Tables) -> None:
        pools.append(store._buffer_mb)
        add(store, tables)

    monkeypatch.setattr(LadybugStore, "_add", tried)
    with open_store(str(tmp_path / "a.lbug"), mode="write") as store:
        assert isinstance(store, LadybugStore)
        store.write(model)
        assert store.write(prompts).prompts == 100
        assert len(pools) == 2  # the model's write, and one that did not fail
        assert pools[0] == 64
        assert pools[1] >= 2 * weight_of(prompts) // MB
        assert verify(store, [model, prompts]).differences == []


@pytest.mark.parametrize("size", FULL_AT)
def test_a_full_disk_loses_and_halves_nothing(tmp_path: Path, size: int) -> None:
    loaded = tiny_shards()[:3]
    with cramped.small_disk(tmp_path / "disk", size) as disk:
        uri = str(disk.folder / "store.lbug")
        told, code = child(cramped.load, uri, [shard.path for shard in loaded], disk.limit).finish()
        assert code == 1, told
        assert "disk is full" in told[-1] or size < MB, told
        assert "no prompt is in it in part" in told[-1]
        disk.grow()
        with open_store(uri, mode="write") as store:
            there = len(store.prompt_keys())
            assert there % PER_SHARD == 0
            assert there >= PER_SHARD * max(0, told.count("shard") - 1)
            load_shards(store, loaded)
            assert verify(store, loaded).differences == []


def test_a_write_that_the_disk_has_no_room_for_is_not_begun(
    store: LadybugStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.delete([0])
    before = store.path.read_bytes()
    monkeypatch.setattr(ladybug_files, "_SLACK", shutil.disk_usage(store.path.parent).free + 1)
    with pytest.raises(StoreError, match="not enough space") as error:
        store.write(tiny_shards()[1])
    assert "MiB are free" in str(error.value)
    assert store.path.read_bytes() == before


@pytest.mark.parametrize("size", [1000, 20_000])
def test_a_shard_on_a_full_disk_is_not_there(tmp_path: Path, size: int) -> None:
    shard = tiny_shards()[0]
    with cramped.small_disk(tmp_path / "disk", size) as disk:
        told, code = child(cramped.copy, shard.path, disk.folder, disk.limit).finish()
        assert (code, len(told)) == (1, 1)
        assert "could not be written" in told[0]
        assert list(disk.folder.iterdir()) == []
        disk.grow()
        assert child(cramped.copy, shard.path, disk.folder, None).finish() == (["written"], 0)
        (found,) = shards(disk.folder)
        found.check()
        assert found.manifest == shard.manifest


def test_a_byte_that_changed_anywhere_in_a_shard_is_found(tmp_path: Path) -> None:
    draw = random.Random(3)
    for original in tiny_shards()[:2]:
        shard = Shard(Path(shutil.copytree(original.path, tmp_path / original.path.name)))
        files = sorted(shard.path.iterdir())
        for flip in range(FLIPS):
            file = shard.path / "manifest.json" if flip % 2 else draw.choice(files)
            data = bytearray(whole := file.read_bytes())
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
            file.write_bytes(data)
            try:
                Shard(shard.path).check()
            except (ShardError, StoreError) as error:
                assert str(shard.path) in str(error)
            else:  # a space, or the version that it was written with: nothing that matters
                left, right = Shard(shard.path).manifest, original.manifest
                assert left.model_copy(update={"flowatlas": ""}) == right.model_copy(update={"flowatlas": ""})
            file.write_bytes(whole)
        shard.check()


@pytest.mark.parametrize("damage", ["gone", "empty file", "zeros", "short", "no manifest", "half written"])
def test_a_power_cut_that_took_the_newest_shard(store: LadybugStore, tmp_path: Path, damage: str) -> None:
    """The store has its prompts still; nobody takes the rest for the whole, and nothing is lost by mending."""
    store.close()
    folder = Path(shutil.copytree(folder_of(tiny_shards()), tmp_path / "shards"))
    newest = folder / tiny_shards()[-1].path.name
    file = newest / "Head.parquet"
    data = file.read_bytes()
    if damage == "gone":
        shutil.rmtree(newest)
    elif damage == "half written":
        newest.rename(folder / ".writing-999999999-00ff")
    elif damage == "no manifest":
        (newest / "manifest.json").write_bytes(b"")
    else:
        file.write_bytes({"empty file": b"", "zeros": bytes(len(data)), "short": data[: len(data) // 2]}[damage])
    before = store.path.read_bytes()
    verified = flowatlas("store", "verify", folder, "--store", store.uri)
    rebuilt = flowatlas("store", "rebuild", folder, "--store", store.uri)
    assert rebuilt.code == 1
    assert store.path.read_bytes() == before
    if damage in ("gone", "half written"):
        assert verified.code == 0
        assert f"{PER_SHARD} prompts of the store are in no shard" in verified.stderr
        assert f"{PER_SHARD} prompts of {store.uri}" in " ".join(rebuilt.stderr.split())
        assert remove_unfinished(folder) == (damage == "half written")
        if damage == "gone":
            assert rebuild(store.path, find_shards(folder), drop=True).prompts == PROMPTS - PER_SHARD
    else:
        assert verified.code == 1
        for told in (verified.stderr, rebuilt.stderr):
            assert newest.name in "".join(told.split())
            assert "Remove the" in told
