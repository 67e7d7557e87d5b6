"""Killed a hundred times, wherever a run happens to be, and interrupted: started again, it gives what an undisturbed run gives."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import polars as pl
import pytest

from flowatlas import open_store
from flowatlas.shards import shards
from support import kill_worker
from support.fork_server import forked_from
from support.models import random_model
from support.store_content import assert_same, content

KILLS = 100
A_ROUND = 25
"""Kills of one run at most, before it is let go on to its end."""
TEXTS = ("the city of", "Japan", "Mary went to the store", "Paris is the capital of France", "the capital is", "of the")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServerContext]:
    """A context whose processes are forked from one that has a small model loaded."""
    folder = random_model("gpt2", tmp_path_factory.mktemp("model"), num_hidden_layers=1, n_inner=24)
    context = forked_from("pytest", "support.kill_worker")
    # The server has its imports from the environment, and one thread, so that forking it is safe.
    ours = {kill_worker.MODEL: str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
    ours |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ours.items():
            patch.setenv(name, value)
        yield context


def test_a_hundred_kills(server: ForkServerContext, tmp_path: Path) -> None:
    draw = random.Random(0)

    def start(folder: Path) -> ForkServerProcess:
        process = server.Process(target=kill_worker.run, args=(str(folder), TEXTS, 2))
        process.start()
        return process

    def finish(folder: Path) -> float:
        began = time.monotonic()
        process = start(folder)
        process.join()
        assert process.exitcode == 0
        return time.monotonic() - began

    finish(tmp_path / "warm")
    seconds = finish(tmp_path / "whole")
    whole = content_of(tmp_path / "whole")
    kills, killed_while = 0, Counter[str]()
    for number in itertools.count():
        if kills >= KILLS:
            break
        folder = tmp_path / str(number)
        for _ in range(A_ROUND):
            process = start(folder)
            # Often soon: what an earlier run left is then met in every state.
            process.join(0.8 * seconds * draw.random() ** 5)
            if process.exitcode is not None:
                assert process.exitcode == 0
                break
            process.kill()
            process.join()
            kills += 1
            killed_while[stage(folder)] += 1
        finish(folder)
        assert_same(content_of(folder), whole)
        found = [shard for shard in shards(folder / "s.shards") if shard.manifest.kind == "prompts"]
        assert sorted(key for shard in found for key in shard.manifest.prompts) == sorted(whole["Prompt"]["key"])
        for shard in found:
            shard.check()
        assert not list((folder / "s.shards").glob(".*"))
        assert not list(folder.glob(".*"))
    assert len(killed_while) >= 2, killed_while


def stage(folder: Path) -> str:
    """How far the killed runs have come, by the files that they left."""
    if not (folder / "s.lbug").exists():
        return "no store"
    written = list((folder / "s.shards").glob("prompts-*"))
    return f"{len(written)} shards"


def content_of(folder: Path) -> dict[str, pl.DataFrame]:
    with open_store(str(folder / "s.lbug")) as store:
        return content(store)


def test_an_interrupt_finishes_what_is_at_hand_and_goes_on_later(server: ForkServerContext, tmp_path: Path) -> None:
    words = "the a capital city of Japan France is when Mary John went to store gave drink and language in".split()
    file = tmp_path / "prompts.txt"
    file.write_text("".join(f"{one} {other}\n" for one, other in itertools.permutations(words[:6], 2)))
    environment = {"FLOWATLAS_CACHE": str(tmp_path / "cache"), "FLOWATLAS_SHARD_PROMPTS": "1"}
    arguments = ["ingest", str(file), "--model", os.environ[kill_worker.MODEL], "--store", str(tmp_path / "s.lbug")]

    def start() -> ForkServerProcess:
        process = server.Process(target=kill_worker.command, args=(arguments, environment))
        process.start()
        return process

    process = start()
    while process.exitcode is None and not list((tmp_path / "s.shards").glob("prompts-*")):
        time.sleep(0.002)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGINT)
    process.join(200)
    assert process.exitcode == 130
    done = content_of(tmp_path)["Prompt"].height
    assert 0 < done < 30
    assert len(list((tmp_path / "s.shards").glob("prompts-*"))) == done
    process = start()
    process.join(200)
    assert process.exitcode == 0
    assert content_of(tmp_path)["Prompt"].height == 30


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A disk of so many KiB, in place of the one before."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(size: int) -> Path:
        options = f"size={size}k" + (",remount" if os.path.ismount(folder) else "")
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True)
        if done.returncode:
            pytest.skip("needs the right to mount a small disk (root)")
        return folder

    yield mount
    subprocess.run(["umount", str(folder)], check=False, capture_output=True)


def test_a_full_disk_at_any_stage(server: ForkServerContext, tmp_path: Path, small_disk: Callable[[int], Path]) -> None:
    """Disks of growing size fill up while the store is made, in a shard, in a write; then there is room."""
    file = tmp_path / "prompts.txt"
    file.write_text("".join(f"{text}\n" for text in TEXTS))
    environment = {"FLOWATLAS_CACHE": str(tmp_path / "cache"), "FLOWATLAS_SHARD_PROMPTS": "2"}

    def run(folder: Path, said: Path) -> int | None:
        arguments = ["ingest", str(file), "--model", os.environ[kill_worker.MODEL], "--store", str(folder / "s.lbug")]
        process = server.Process(target=kill_worker.command, args=(arguments, environment, str(said)))
        process.start()
        process.join(200)
        return process.exitcode

    assert run(tmp_path / "whole", tmp_path / "said") == 0
    whole = content_of(tmp_path / "whole")
    needed = sum(found.stat().st_size for found in (tmp_path / "whole").rglob("*") if found.is_file()) // 1024
    stages, codes = set[str](), []
    for part in (0.02, 0.4, 0.95):
        disk = small_disk(max(16, int(needed * part)))
        said = tmp_path / f"said-{part}"
        codes.append(run(disk, said))
        text = said.read_text()
        assert codes[-1] in (0, 1), text
        assert "Traceback" not in text
        assert codes[-1] == 0 or "error:" in text
        stages.add(stage(disk))
    assert codes[0] == 1
    assert len(stages) > 1, stages
    assert run(small_disk(8 * needed), tmp_path / "said") == 0, (tmp_path / "said").read_text()
    assert_same(content_of(tmp_path / "disk"), whole)
    assert not list((tmp_path / "disk" / "s.shards").glob(".*"))
