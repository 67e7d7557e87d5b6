"""Graphs go to their shard a few prompts at a time: what is there in the end does not depend on how many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from safetensors.numpy import load_file, save_file

from flowatlas import open_store
from flowatlas.errors import ModelError
from flowatlas.shard_writer import ShardWriter
from flowatlas.shards import Shard, shards
from ingest.architecture.load import load_model
from ingest.pipeline import batch, windows
from ingest.pipeline.report import Report
from ingest.pipeline.run import Job, ingest
from ingest.prompts import PromptInput
from support.models import random_model

TEXTS = ("the city of", "Japan", "Mary went to the store", "the city of Paris", "Paris is the capital of France")
FAILS = "Japan"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model("gpt2", tmp_path_factory.mktemp("model"))


def tokens(model: Path, text: str) -> list[int]:
    """Its tokens."""
    return load_model(str(model)).tokenizer.encode(text)[0]


def made(model: Path, place: Path, texts: tuple[str, ...] = TEXTS) -> tuple[Shard, Report]:
    """The one shard of an ingest of `texts`."""
    inputs = [PromptInput(text=text, target=" the", where=text) for text in texts]
    with open_store(str(place / "s.lbug"), mode="write") as store:
        report = ingest(inputs, load_model(str(model)), Job(store, place / "shards"))
    (shard,) = [found for found in shards(place / "shards") if found.manifest.kind == "prompts"]
    assert [path.name for path in (place / "shards").iterdir() if path.name.startswith(".")] == []
    return shard, report


def assert_same_shard(left: Shard, right: Shard) -> None:
    """The same prompts under the same numbers, and every row of theirs."""
    left.check()
    right.check()
    assert left.path.name == right.path.name
    assert left.manifest.prompts == right.manifest.prompts
    assert left.manifest.tables.keys() == right.manifest.tables.keys()
    for name in left.manifest.tables:
        a, b = pl.DataFrame(pl.from_arrow(left.table(name))), pl.DataFrame(pl.from_arrow(right.table(name)))
        ends = [column for column in ("id", "from", "to") if column in a.columns]
        # The lens' rows are summed in another order when others stand beside them.
        assert_frame_equal(a.sort(ends), b.sort(ends), check_exact=False, rel_tol=1e-5, abs_tol=1e-5)


def test_one_prompt_a_piece_and_two_a_batch_make_the_same_shard(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = made(folder, tmp_path / "whole")
    monkeypatch.setattr(batch, "PIECE_RELATIONSHIPS", 1)
    monkeypatch.setattr(windows, "BATCH_PROMPTS", 2)
    pieces, report = made(folder, tmp_path / "pieces")
    assert report.computed == len(TEXTS)
    assert whole.table("Prompt")["text"].to_pylist() == list(TEXTS)
    assert_same_shard(whole, pieces)


def test_a_prompt_that_the_model_cannot_compute_leaves_no_gap(folder: Path, tmp_path: Path) -> None:
    """A token whose embedding is too large to be squared: its prompt is refused, the others are what they are without it."""
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in folder.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    token = (set(tokens(folder, FAILS)) - {one for text in TEXTS if text != FAILS for one in tokens(folder, text)}).pop()
    tensors = load_file(broken / "model.safetensors")
    tensors["transformer.wte.weight"][token] = 1e30
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    shard, report = made(broken, tmp_path / "with")
    assert [one.text for one in report.refused] == [FAILS]
    left = tuple(text for text in TEXTS if text != FAILS)
    assert_same_shard(shard, made(broken, tmp_path / "without", left)[0])


def test_what_fails_after_some_pieces_were_written_doubles_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flows, seen = batch.flows, list[int]()
    lengths = {text: len(tokens(folder, text)) for text in TEXTS}
    longest = max(TEXTS, key=lengths.__getitem__)

    def failing(decoder: Any, forward: Any, *given: Any) -> Any:
        seen.append(len(forward.token_ids))
        if len(forward.token_ids) == lengths[longest]:
            raise ModelError("It cannot be taken apart.")
        return flows(decoder, forward, *given)

    expected, _ = made(folder, tmp_path / "without", tuple(text for text in TEXTS if text != longest))
    monkeypatch.setattr(batch, "PIECE_RELATIONSHIPS", 1)
    monkeypatch.setattr(batch, "flows", failing)
    shard, report = made(folder, tmp_path / "with")
    assert seen == [*sorted(lengths.values()), lengths[longest]]  # in its batch, and alone
    assert [one.reason for one in report.refused] == ["It cannot be taken apart"]
    assert_same_shard(shard, expected)


def test_a_shard_that_is_not_finished_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    shard, _ = made(folder, tmp_path)
    tables = {name: shard.table(name) for name in shard.manifest.tables}
    place = tmp_path / "other"
    with ShardWriter(place, "prompts") as writer:
        assert writer.finish() is None
    with ShardWriter(place, "prompts") as writer:
        writer.add(tables)
        assert len(list(place.iterdir())) == 1
    assert list(place.iterdir()) == []
    with ShardWriter(place, "prompts") as writer:
        writer.add(tables)
        again = writer.finish()
    assert again is not None
    assert_same_shard(shard, again)
