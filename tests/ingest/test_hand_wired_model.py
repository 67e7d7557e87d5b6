"""A model wired by hand, whose graph is known: one head that copies the token it attends to."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from ingest.architecture.load import load_model
from ingest.lens.lens import LogitLens
from ingest.neurons import TargetRanks
from ingest.pipeline.batch import Workshop, graph_tables
from ingest.pipeline.prepare import Choices, Prepared, prepare
from ingest.prompts import PromptInput
from support.copying import SUBJECT, copying_model


@pytest.fixture(scope="module")
def copying(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copying_model(tmp_path_factory.mktemp("copying") / "model")


@pytest.fixture(scope="module")
def tables(copying: Path) -> dict[str, pl.DataFrame]:
    model = load_model(str(copying))
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
