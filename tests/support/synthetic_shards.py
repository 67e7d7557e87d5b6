"""Small synthetic shards for tests of stores: twelve prompts of three layers, four a shard."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

from benchmarks import synthetic
from flowatlas.shards import Shard

PROMPTS = 12
PER_SHARD = 4


@lru_cache(maxsize=1)
def _directory() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="flowatlas-shards-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


@lru_cache(maxsize=4)
def tiny_shards(seed: int = 0) -> tuple[Shard, ...]:
    """The model's shard and three of prompts, written once a run; another seed is another model."""
    folder = _directory() / str(seed)
    return tuple(synthetic.write(folder, synthetic.TINY, PROMPTS, seed=seed, batch=PER_SHARD))


def folder_of(shards: tuple[Shard, ...]) -> Path:
    """The folder that `flowatlas store load` is given."""
    return shards[0].path.parent
