"""A model wired by hand, whose graph is known: one head that copies the token it attends to."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import tokenizers
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from ingest.architecture.load import load_model
from ingest.lens.lens import LogitLens
from ingest.neurons import TargetRanks
from ingest.pipeline.batch import Workshop, graph_tables
from ingest.pipeline.prepare import Choices, Prepared, prepare
from ingest.prompts import PromptInput
from support.models import save_tokenizer

WORDS = ["[UNK]", "the", "capital", "of", "Japan", "is", "city", "Tokyo", "France", "Paris", "a", "in"]
SUBJECT = "Japan"


@pytest.fixture(scope="module")
def copying_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One layer, one head. Embeddings are unit vectors; the query always asks for `SUBJECT`; W_V and W_O
    are the identity, so what the head reads is written back as it was; the MLP writes nothing."""
    n = len(WORDS)
    config = GPT2Config(vocab_size=n, n_positions=16, n_embd=n, n_layer=1, n_head=1, n_inner=4)
    model = GPT2LMHeadModel(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0 if "ln" in name and name.endswith("weight") else 0.0)
        layer = model.transformer.h[0].attn
        model.transformer.wte.weight.copy_(torch.eye(n))
        layer.c_attn.weight[:, n : 2 * n] = torch.eye(n)
        layer.c_attn.weight[:, 2 * n :] = torch.eye(n)
        layer.c_attn.bias[WORDS.index(SUBJECT)] = 40.0
        layer.c_proj.weight.copy_(torch.eye(n))
    folder = tmp_path_factory.mktemp("copying") / "model"
    model.save_pretrained(folder)
    words = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    words.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    save_tokenizer(folder, words, unk_token="[UNK]")
    return folder


@pytest.fixture(scope="module")
def tables(copying_model: Path) -> dict[str, pl.DataFrame]:
    model = load_model(str(copying_model))
    lens = LogitLens.of(model.decoder)
    workshop = Workshop(model, lens, TargetRanks(model.decoder, lens), Choices(), threads=1)
    prepared = prepare(PromptInput(text="the capital of Japan is the city of", target=SUBJECT), model, Choices())
    assert isinstance(prepared, Prepared)
    return {name: pl.DataFrame(table) for name, table in graph_tables(workshop, [prepared]).items()}


def test_every_memory_value_projects_to_its_own_source_token(tables: dict[str, pl.DataFrame]) -> None:
    text = dict(tables["Token"].select("position", "text").iter_rows())
    assert tables["Value"].height == 8
    for row in tables["Value"].iter_rows(named=True):
        assert row["top_token"].strip() == text[row["source"]].strip()


def test_the_head_attends_to_the_subject_and_projects_to_it(tables: dict[str, pl.DataFrame]) -> None:
    values = {row["id"]: row for row in tables["Value"].iter_rows(named=True)}
    strongest = tables["SUMS_Value_Head"].filter(pl.col("rank") == 1).row(0, named=True)
    assert strongest["score"] > 0.99
    assert values[strongest["from"]]["source"] == 3
    head = tables["Head"].row(0, named=True)
    assert head["top_token"].strip() == SUBJECT
    assert head["target_rank"] == 1


def test_the_head_lifts_the_subject_from_nowhere_to_the_top(tables: dict[str, pl.DataFrame]) -> None:
    states = {row["kind"]: row for row in tables["State"].iter_rows(named=True)}
    assert states["embedding"]["top_token"].strip() == "of"
    assert states["embedding"]["target_rank"] > 1
    assert states["residual_mid"]["target_rank"] == 1
    effect = tables["CONCATENATES_Head_State"].row(0, named=True)["contribution"]
    prompt = tables["Prompt"].row(0, named=True)
    others = tables["ADDS_State_State"].filter(pl.col("contribution").abs() > effect / 2)
    assert effect > 0.8 * prompt["target_logit"]
    assert set(others["from"]) == {states["attention_output"]["id"]}
