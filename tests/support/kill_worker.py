"""Ingests that can be killed by the hundred: forked from a server that has the model loaded.

The server imports this module once, before it has any thread but its own: torch and BLAS run on one
thread here, and neither Arrow nor the database has been used when a child is forked.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from flowatlas.settings import settings
from ingest.architecture.load import LoadedModel, load_model
from ingest.lens.lens import LogitLens
from ingest.pipeline.run import Job, ingest
from ingest.prompts import PromptInput

MODEL = "FLOWATLAS_TEST_MODEL"
"""Environment variable with the folder of the model that the server loads."""

loaded: LoadedModel | None = None


def prepare() -> None:
    """Load the model and the compiled kernels."""
    global loaded
    torch.set_num_threads(1)
    loaded = load_model(os.environ[MODEL])
    rows, tokens = np.ones((2, loaded.decoder.d_model), np.float32), np.zeros((2, 2), np.int64)
    lens = LogitLens.of(loaded.decoder, threads=1)
    lens.project(rows, tokens)
    lens.project_static(rows)
    lens.ranks_of(rows, tokens[0])


def run(folder: str, texts: Sequence[str], shard_prompts: int) -> None:
    """Ingest `texts` into the store and shards of `folder`."""
    from flowatlas.stores.ladybug import LadybugStore

    assert loaded is not None
    os.environ["FLOWATLAS_SHARD_PROMPTS"] = str(shard_prompts)
    settings.cache_clear()
    LadybugStore.relationships_a_write = 500  # several shards a write, several writes a run
    inputs = [PromptInput(text=text, target=" the", foil=" of", where=text) for text in texts]
    with LadybugStore(Path(folder) / "s.lbug", mode="write") as store:
        ingest(inputs, loaded, Job(store, Path(folder) / "s.shards", threads=1, cache=Path(folder) / "cache"))


def command(arguments: Sequence[str], environment: Mapping[str, str], said: str = os.devnull) -> None:
    """Run the command line; the process leaves as it leaves. What it says goes to the file `said`."""
    from flowatlas.cli.main import run as run_command

    os.environ.update(environment)
    settings.cache_clear()
    with Path(said).open("w") as stream:
        os.dup2(stream.fileno(), 2)
    run_command(list(arguments))


if MODEL in os.environ:
    prepare()
