"""A process that loads shards one by one and says so, to be killed: `python loader.py STORE SHARD...`.

It prints `open`, then a line after each shard.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from flowatlas.errors import FlowatlasError
from flowatlas.shards import Shard
from flowatlas.stores import open_store

ROOT = Path(__file__).resolve().parents[2]


def start(uri: str, shards: Sequence[Shard]) -> subprocess.Popen[str]:
    """Start loading; returns when the store is open."""
    command = [sys.executable, __file__, uri, *(str(shard.path) for shard in shards)]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line == "open\n", (line, process.communicate()[1])
    return process


def kill_after(process: subprocess.Popen[str], seconds: float) -> list[str]:
    """Kill the process (-9) after a while; the lines that it printed since it was open."""
    time.sleep(seconds)
    process.kill()
    out, _ = process.communicate()
    return out.split()


def moments(number: int, longest: float, seed: int) -> list[float]:
    """Random seconds to wait before a kill, spread over the time that loading takes."""
    draw = random.Random(seed)
    return [longest * (n + draw.random()) / number for n in range(number)]


def main() -> None:
    """Load, shard by shard."""
    try:
        with open_store(sys.argv[1], mode="write") as store:
            print("open", flush=True)
            for path in sys.argv[2:]:
                store.write(Shard(Path(path)))
                print("shard", flush=True)
    except FlowatlasError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
