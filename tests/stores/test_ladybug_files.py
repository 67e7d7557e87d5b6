"""The embedded store as files: who may write, what a reader sees, what a kill leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import ladybug
import pytest

from flowatlas.errors import FlowatlasError, StoreBusyError, StoreError
from flowatlas.stores import open_store
from flowatlas.stores.ladybug_files import Stamp, lock_file
from flowatlas.stores.rebuild import rebuild
from support import loader
from support.store_content import assert_same, content
from support.synthetic_shards import PER_SHARD, PROMPTS, tiny_shards

KILLS = 10


def test_a_second_writer_is_told_who_writes_and_readers_go_on(tmp_path: Path) -> None:
    path = tmp_path / "store.lbug"
    with open_store(str(path), mode="write") as store:
        for shard in tiny_shards()[:2]:
            store.write(shard)
        with pytest.raises(StoreBusyError, match=f"pid {os.getpid()}"):
            open_store(str(path), mode="write")
        code = f"""
from flowatlas.stores import open_store
from flowatlas.errors import StoreBusyError
print(len(open_store({str(path)!r}).prompt_keys()))
try:
    open_store({str(path)!r}, mode="write")
except StoreBusyError as error:
    print(error)
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout.startswith(f"{PER_SHARD}\n")
        assert f"pid {os.getpid()}" in done.stdout
    with open_store(str(path), mode="write") as store:
        assert len(store.prompt_keys()) == PER_SHARD


def test_a_program_that_has_the_file_open_otherwise_is_a_writer_too(tmp_path: Path) -> None:
    path = tmp_path / "store.lbug"
    open_store(str(path), mode="write").close()
    code = f"""
import ladybug, sys
database = ladybug.Database({str(path)!r}, buffer_pool_size=1 << 28)
print("open", flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(StoreBusyError, match=f"pid {other.pid}"):
            open_store(str(path), mode="write")
        other.communicate("")
    open_store(str(path), mode="write").close()


def test_an_open_reader_sees_what_is_written_later(tmp_path: Path) -> None:
    path = str(tmp_path / "store.lbug")
    model, *prompts = tiny_shards()[:3]
    with open_store(path, mode="write") as writer:
        writer.write(model)
        with open_store(path) as reader:
            for number, shard in enumerate(prompts, 1):
                writer.write(shard)
                assert len(reader.prompt_keys()) == number * PER_SHARD
                assert reader.ask("MATCH (p:Prompt) RETURN count(*) AS n").table["n"].to_pylist() == [
                    number * PER_SHARD
                ]
            writer.delete([0, 1])
            assert len(reader.prompt_keys()) == 2 * PER_SHARD - 2


def test_readers_in_many_threads_beside_a_writer_see_whole_prompts_only(tmp_path: Path) -> None:
    path = str(tmp_path / "store.lbug")
    model, *prompts = tiny_shards()[:3]
    wrong: list[object] = []
    reads = 0
    stop = threading.Event()
    with open_store(path, mode="write") as writer:
        writer.write(model)
        with open_store(path) as reader:

            def look() -> None:
                nonlocal reads
                while not stop.is_set():
                    try:
                        rows = reader.read(
                            "MATCH (p:Prompt) OPTIONAL MATCH (s:State|Query|Key|Value|Head) WHERE s.prompt = p.id "
                            "RETURN p.id AS id, p.n_state AS wanted, count(s) AS found"
                        ).to_pylist()
                    except FlowatlasError as error:
                        wrong.append(error)
                        return
                    wrong.extend(row for row in rows if row["wanted"] != row["found"])
                    reads += 1

            threads = [threading.Thread(target=look) for _ in range(3)]
            for thread in threads:
                thread.start()
            for shard in prompts:
                writer.write(shard)
            time.sleep(0.3)
            stop.set()
            for thread in threads:
                thread.join()
    assert wrong == []
    assert reads > 10


@pytest.mark.parametrize("mode", ["read", "write"])
def test_what_is_not_a_store_is_refused_and_left_alone(tmp_path: Path, mode: str) -> None:
    junk = tmp_path / "junk.lbug"
    junk.write_bytes(b"hello" * 2000)
    with pytest.raises(StoreError, match="not a flowatlas store"):
        open_store(str(junk), mode=mode)
    assert junk.read_bytes() == b"hello" * 2000
    with pytest.raises(StoreError, match="not a flowatlas store"):
        open_store(str(tmp_path), mode=mode)
    foreign = tmp_path / "foreign.lbug"
    with (
        ladybug.Database(str(foreign), buffer_pool_size=1 << 28) as database,
        ladybug.Connection(database) as connection,
    ):
        connection.execute("CREATE NODE TABLE Person(name STRING, PRIMARY KEY(name))").close()
    with pytest.raises(StoreError, match="not one of flowatlas") as error:
        open_store(str(foreign), mode=mode)
    assert "Person" in str(error.value)


def test_a_missing_store_is_not_made_by_reading(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store at"):
        open_store(str(tmp_path / "none.lbug"))
    assert list(tmp_path.iterdir()) == []


def test_kill_at_any_moment_then_the_same_again_equals_an_uninterrupted_load(tmp_path: Path) -> None:
    shards = tiny_shards()[:3]
    prompts = 2 * PER_SHARD
    with open_store(str(tmp_path / "reference.lbug"), mode="write") as reference:
        start = time.monotonic()
        for shard in shards:
            reference.write(shard)
        whole = time.monotonic() - start
        wanted = content(reference)
    path = tmp_path / "killed.lbug"
    for wait in loader.moments(KILLS, whole * 1.3, seed=3):
        loader.start(str(path), shards).kill_after(wait)
        with open_store(str(path)) as store:  # what is there is whole
            found = store.read("MATCH (p:Prompt) RETURN count(*) AS n")["n"][0].as_py()
            assert found % PER_SHARD == 0
        if found == prompts:
            with open_store(str(path), mode="write") as store:
                store.delete(range(PER_SHARD, prompts))
    with open_store(str(path), mode="write") as store:
        for shard in shards:
            store.write(shard)
        assert_same(content(store), wanted)
    left = {file.name for file in tmp_path.iterdir() if file.name.startswith(".")}
    assert left == set()


def test_what_a_killed_process_left_beside_a_store_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "store.lbug"
    for name in (".store.lbug.0123abcd", ".store.lbug.0123abcd.wal", ".other.lbug.0123abcd"):
        (tmp_path / name).write_bytes(b"half")
    open_store(str(path), mode="write").close()
    assert sorted(file.name for file in tmp_path.iterdir()) == [".other.lbug.0123abcd", path.name, lock_file(path).name]


def test_a_rebuilt_store_is_swapped_in_under_its_readers(tmp_path: Path) -> None:
    path = tmp_path / "store.lbug"
    with open_store(str(path), mode="write") as store:
        for shard in tiny_shards()[:2]:
            store.write(shard)
    with open_store(str(path)) as reader:
        before = Stamp.of(path).inode
        rebuild(path, tiny_shards())
        assert Stamp.of(path).inode != before
        assert len(reader.prompt_keys()) == PROMPTS
    assert {file.name for file in tmp_path.iterdir()} == {path.name, lock_file(path).name}
