"""Lens and store work side by side, and take turns where memory is short."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from flowatlas import open_store
from flowatlas.settings import settings
from flowatlas.shards import Shard
from flowatlas.stores.base import Written
from flowatlas.stores.ladybug import LadybugStore
from ingest.architecture.load import load_model
from ingest.pipeline import batch, run
from ingest.pipeline.memory import MemoryWatch
from ingest.prompts import PromptInput
from support.models import random_model

WRITE_SECONDS = 0.7
ALLOWED = 100


@pytest.mark.parametrize(("taken", "beside"), [(0.9, True), (1.1, False)])
def test_lens_and_store_take_turns_where_memory_is_short(
    taken: float, beside: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWATLAS_INGEST_MEMORY_MB", str(ALLOWED))
    monkeypatch.setenv("FLOWATLAS_SHARD_PROMPTS", "2")
    monkeypatch.setattr(run, "MemoryWatch", lambda: nullcontext(SimpleNamespace(most=taken * (ALLOWED << 20))))
    monkeypatch.setattr(LadybugStore, "relationships_a_write", 1)
    settings.cache_clear()
    writing, at_lens = [False], list[bool]()
    write, project = LadybugStore.write, batch.project_batch

    def slow(self: LadybugStore, shard: Shard, *, only: frozenset[str] | None = None) -> Written:
        writing[0] = True
        time.sleep(WRITE_SECONDS)
        written = write(self, shard, only=only)
        writing[0] = False
        return written

    def watched(*given: Any) -> Any:
        time.sleep(WRITE_SECONDS / 4)  # long enough for a write to begin
        at_lens.append(writing[0])
        return project(*given)

    model = load_model(str(random_model("gpt2", tmp_path / "model")))
    monkeypatch.setattr(LadybugStore, "write", slow)
    monkeypatch.setattr(batch, "project_batch", watched)
    inputs = [PromptInput(text=f"the city of {word}", where="") for word in ("Paris", "Rome", "Japan", "a", "the", "of")]
    try:
        with open_store(str(tmp_path / "s.lbug"), mode="write") as store:
            report = run.ingest(inputs, model, run.Job(store, tmp_path / "shards"))
    finally:
        settings.cache_clear()
    assert report.prompts == len(inputs)
    assert at_lens == [False, beside, beside]


def test_the_watch_tells_what_was_taken_and_given_back() -> None:
    size = 200 << 20
    with MemoryWatch() as memory:
        taken = np.ones(size, np.uint8)
        time.sleep(0.5)
        del taken
        time.sleep(0.3)
    assert size * 0.9 < memory.most < size * 1.5
