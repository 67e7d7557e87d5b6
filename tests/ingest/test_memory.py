"""Lens and store work side by side, and take turns where memory is short."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flowatlas import open_store
from flowatlas.settings import settings
from flowatlas.shards import Shard
from flowatlas.stores.base import Written
from flowatlas.stores.ladybug import LadybugStore
from ingest.architecture.decoder import Forward
from ingest.architecture.load import LoadedModel, load_model
from ingest.pipeline.memory import MemoryWatch
from ingest.pipeline.run import Job, ingest
from ingest.prompts import PromptInput
from support.models import random_model

WRITE_SECONDS = 0.7


@pytest.mark.parametrize(("allowed", "beside"), [(1 << 20, True), (0, False)])
def test_lens_and_store_take_turns_where_memory_is_short(
    allowed: int, beside: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWATLAS_INGEST_MEMORY_MB", str(allowed))
    monkeypatch.setenv("FLOWATLAS_SHARD_PROMPTS", "2")
    monkeypatch.setattr(LadybugStore, "relationships_a_write", 1)
    settings.cache_clear()
    writing, seen = [False], list[bool]()
    write, capture = LadybugStore.write, LoadedModel.capture

    def slow(self: LadybugStore, shard: Shard, *, only: frozenset[str] | None = None) -> Written:
        writing[0] = True
        time.sleep(WRITE_SECONDS)
        written = write(self, shard, only=only)
        writing[0] = False
        return written

    def watched(self: LoadedModel, batch: Sequence[Sequence[int]], *given: Any) -> list[Forward]:
        time.sleep(WRITE_SECONDS / 2)  # long enough for a write to begin, and for memory to be looked at
        if len(batch) == 2:  # a shard's prompts
            seen.append(writing[0])
        return capture(self, batch, *given)

    model = load_model(str(random_model("gpt2", tmp_path / "model")))
    monkeypatch.setattr(LadybugStore, "write", slow)
    monkeypatch.setattr(LoadedModel, "capture", watched)
    inputs = [PromptInput(text=f"the city of {word}", where="") for word in ("Paris", "Rome", "Japan", "a", "the", "of")]
    try:
        with open_store(str(tmp_path / "s.lbug"), mode="write") as store:
            report = ingest(inputs, model, Job(store, tmp_path / "shards"))
    finally:
        settings.cache_clear()
    assert report.prompts == len(inputs)
    assert seen == [False, beside, beside]


def test_the_watch_tells_what_was_taken_and_given_back() -> None:
    size = 200 << 20
    with MemoryWatch() as memory:
        taken = np.ones(size, np.uint8)
        time.sleep(0.5)
        del taken
        time.sleep(0.3)
    assert size * 0.9 < memory.most < size * 1.5
