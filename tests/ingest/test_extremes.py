"""Models and prompts at the edge of what there is: five tokens, one token, a thousand tokens, other weights, kept work."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tokenizers
from safetensors.numpy import load_file, save_file

from flowatlas import open_store
from ingest.lens import factors
from ingest.lens import lens as lens_module
from ingest.lens.lens import LogitLens
from ingest.neurons.kept import kept
from ingest.pipeline import run as pipeline
from ingest.pipeline import windows
from ingest.pipeline.batch import Workshop, graph_pieces
from ingest.pipeline.prepare import Prepared
from support.cli import flowatlas
from support.models import random_model, save_tokenizer
from support.store_content import assert_same, content

SMALL = {"num_hidden_layers": 1, "n_inner": 16}


def ingest(file: Path, model: Path, store: Path, **environment: str) -> str:
    """Ingest, say what was said; the caches are the test's own."""
    cache = {"FLOWATLAS_CACHE": str(store.parent / "cache")}
    done = flowatlas("ingest", file, "--model", model, "--store", store, **(cache | environment))
    assert done.code == 0, done.stderr
    return " ".join(done.stderr.split())


def rows(store: Path, text: str) -> list[dict]:
    with open_store(str(store)) as opened:
        return opened.read(text).to_pylist()


def test_five_tokens_and_a_prompt_of_one(tmp_path: Path) -> None:
    model = random_model("gpt2", tmp_path / "model", **SMALL)
    five = tmp_path / "five"
    shutil.copytree(model, five)
    tensors = load_file(five / "model.safetensors")
    for name in ("transformer.wte.weight", "lm_head.weight"):
        tensors[name] = tensors[name][:5].copy()
    save_file(tensors, five / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((five / "config.json").read_text())
    (five / "config.json").write_text(json.dumps(config | {"vocab_size": 5}))
    words = tokenizers.models.WordLevel({"[UNK]": 0, "a": 1, "b": 2, "c": 3, "d": 4}, unk_token="[UNK]")
    tokenizer = tokenizers.Tokenizer(words)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    save_tokenizer(five, tokenizer, unk_token="[UNK]")
    file = tmp_path / "p.txt"
    file.write_text("a\na b c d\n")
    store = tmp_path / "s.lbug"
    assert "2 prompts ingested" in ingest(file, five, store)
    found = rows(
        store, "MATCH (s:State|Query|Key|Value|Head) RETURN s.top_ids AS ids, s.target_rank AS rank, s.entropy AS h"
    )
    assert {tuple(sorted(row["ids"])) for row in found} == {(0, 1, 2, 3, 4)}
    assert {row["rank"] for row in found} <= {1, 2, 3, 4, 5}
    assert all(0 <= row["h"] <= 2.3220 for row in found)
    tokens = rows(store, "MATCH (p:Prompt) RETURN p.n_tokens AS n, p.target_rank AS rank ORDER BY n")
    assert [row["n"] for row in tokens] == [1, 4]
    assert [row["rank"] for row in tokens] == [1, 1]  # the predicted token is the target where none is given
    verified = flowatlas("store", "verify", "--store", store)
    assert verified.code == 0, verified.stderr


def test_a_thousand_tokens_are_counted_first_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model("gpt2", tmp_path / "model", **SMALL, max_position_embeddings=1024)
    file = tmp_path / "p.jsonl"
    texts = ["the" + " the" * 999, "of" + " of" * 989, "the city of"]
    file.write_text("".join(json.dumps({"prompt": text, "target": " is"}) + "\n" for text in texts))
    batches: list[int] = []

    def noted(workshop: Workshop, prepared: Sequence[Prepared], numbers: Sequence[int]) -> Iterator[dict[str, pa.Table]]:
        pieces = list(graph_pieces(workshop, prepared, numbers))
        batches.append(sum(sum(tables["Prompt"]["n_state"].to_pylist()) for tables in pieces))
        return iter(pieces)

    monkeypatch.setattr(pipeline, "graph_pieces", noted)
    monkeypatch.setattr(windows, "BATCH_STATES", 9_000)
    store = tmp_path / "s.lbug"
    said = ingest(file, model, store)
    (counted,) = rows(
        store, "MATCH (p:Prompt) RETURN sum(p.n_state) AS states, sum(p.n_relationship) AS n, max(p.n_tokens) AS t"
    )
    assert counted["t"] > 900
    assert f"3 new prompts: about {counted['states']:,} states, {counted['n']:,} relationships" in said
    assert len(batches) >= 2
    assert max(batches) <= 9_000


def test_other_weights_under_the_same_name_are_another_model(tmp_path: Path) -> None:
    model = random_model("gpt2", tmp_path / "model", **SMALL)
    file = tmp_path / "p.txt"
    file.write_text("the city of\nJapan\n")
    store = tmp_path / "s.lbug"
    ingest(file, model, store)
    tensors = load_file(model / "model.safetensors")
    tensors["transformer.h.0.mlp.c_proj.weight"] *= -1
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    assert "2 prompts ingested, 0 already there" in ingest(file, model, store)
    assert "0 prompts ingested, 2 already there" in ingest(file, model, store)
    models = rows(store, "MATCH (m:Model) RETURN m.id AS id, m.name AS name")
    assert len({row["id"] for row in models}) == 2
    assert len({row["name"] for row in models}) == 1
    prompts = rows(store, "MATCH (p:Prompt) RETURN p.model AS model, p.text AS text, count(*) AS n")
    assert sorted(row["n"] for row in prompts) == [1, 1, 1, 1]
    written = rows(
        store,
        "MATCH (n:Neuron)-[:WRITES]->(s:State), (p:Prompt {id: s.prompt}) WHERE n.model <> p.model RETURN n.id LIMIT 1",
    )
    assert written == []


def test_static_neurons_and_factors_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second store of the same model projects no neuron and makes no factor; damaged files are made again."""
    model = random_model("gpt2", tmp_path / "model", **SMALL)
    file = tmp_path / "p.txt"
    file.write_text("the city of\nJapan\nMary went to the store\n")
    monkeypatch.setattr(factors, "MEMORY_BYTES", 0)
    monkeypatch.setattr(lens_module, "FACTORED_FROM", 2)
    calls: list[str] = []
    project, make = LogitLens.project_static, factors.Factors._make

    def projected(*given: Any) -> Any:
        calls.append("neurons")
        return project(*given)

    def made(self: factors.Factors, circuits: Sequence[np.ndarray], space: np.ndarray) -> list[np.ndarray]:
        calls.extend(["factor"] * len(circuits))
        return make(self, circuits, space)

    monkeypatch.setattr(LogitLens, "project_static", projected)
    monkeypatch.setattr(factors.Factors, "_make", made)
    contents = []
    for number in range(3):
        calls.clear()
        ingest(file, model, tmp_path / f"{number}.lbug", FLOWATLAS_FACTOR_CACHE_GB="1")
        with open_store(str(tmp_path / f"{number}.lbug")) as store:
            contents.append(content(store))
        assert ("neurons" in calls) == (number != 1)
        assert ("factor" in calls) == (number != 1)
        (kept_neurons,) = (tmp_path / "cache").rglob("neurons-*.parquet")
        kept_factors = list((tmp_path / "cache").rglob("factors/*.npy"))
        assert len(kept_factors) == 3 * 4  # queries, keys, values and heads of four heads
        for damaged in (kept_neurons, *kept_factors):  # as a machine that stopped may leave them
            if number == 1:
                damaged.write_bytes(damaged.read_bytes()[:-100])
    assert_same(contents[0], contents[1])
    assert_same(contents[0], contents[2])
    assert not list((tmp_path / "cache").rglob(".*"))


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    table = pa.table({"id": [1]})
    assert kept(tmp_path / "cache", "abc", 1, lambda: table) is table
