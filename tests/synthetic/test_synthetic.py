"""Synthetic shards are valid graphs: what is tried on them can be trusted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.synthetic import TINY, Shape, planted, prompt_tables, write
from flowatlas.schema import SCHEMAS
from flowatlas.vocabulary import NODE_TABLE, RELATIONSHIP_TABLES, STATE_LABELS, Label

SHAPES = [TINY, Shape(n_layer=2, n_head=2, d_model=8, d_mlp=12, vocabulary=200, tokens=4)]


@pytest.fixture(scope="module", params=SHAPES, ids=["tiny", "smaller"])
def tables(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    folder: Path = tmp_path_factory.mktemp("synthetic")
    model, prompts = write(folder, request.param, 9, seed=3)
    model.check()
    prompts.check()
    return {
        name: pl.from_arrow(shard.table(name))  # type: ignore[misc]
        for shard in (model, prompts)
        for name in shard.manifest.tables
    }


def test_every_end_is_a_node_and_ids_are_unique(tables: dict[str, pl.DataFrame]) -> None:
    ids = {label: tables[label]["id"] for label in Label if label in tables}
    for label, column in ids.items():
        assert column.n_unique() == len(column), label
    states = pl.concat([ids[label] for label in STATE_LABELS])
    assert states.n_unique() == len(states)
    for table in RELATIONSHIP_TABLES:
        if table.name in tables:
            assert tables[table.name]["from"].is_in(ids[table.source].implode()).all(), table.name
            assert tables[table.name]["to"].is_in(ids[table.target].implode()).all(), table.name


def test_ranks_agree_with_top_tokens(tables: dict[str, pl.DataFrame]) -> None:
    prompts = tables["Prompt"].select(prompt="id", target="target_id", target_text="target", foil="foil_id")
    for label in STATE_LABELS:
        states = tables[label].join(prompts, on="prompt")
        for token, rank in (("target", "target_rank"), ("foil", "foil_rank")):
            rows = states.filter(pl.col(token).is_not_null())
            for ids, wanted, number in rows.select("top_ids", token, rank).iter_rows():
                assert len(set(ids)) == 50
                assert (ids.index(wanted) + 1 if wanted in ids else 51) == min(number, 51)
        first = states.filter(pl.col("target_rank") <= 10)
        shown = first.select(pl.col("top_probs").list.get(pl.col("target_rank") - 1)).to_series()
        np.testing.assert_allclose(shown.to_numpy(), first["target_prob"].to_numpy(), rtol=1e-6)
        assert (first.filter(pl.col("target_rank") == 1)["top_token"] == first.filter(pl.col("target_rank") == 1)["target_text"]).all()


def test_contributions_sum_to_the_logit(tables: dict[str, pl.DataFrame]) -> None:
    kinds = tables["State"].select("id", "kind", "prompt")
    mlp = kinds.filter(pl.col("kind") == "mlp_output")
    parts = [
        tables["ADDS_State_State"]
        .join(kinds, left_on="from", right_on="id")
        .filter(pl.col("kind").str.ends_with("bias") | pl.col("kind").str.ends_with("embedding")),
        tables["CONCATENATES_Head_State"].join(kinds, left_on="to", right_on="id"),
        tables["WRITES_Neuron_State"].join(mlp, left_on="to", right_on="id"),
    ]
    total = pl.concat([part.select("prompt", "contribution") for part in parts]).group_by("prompt").sum().sort("prompt")
    prompts = tables["Prompt"].sort("id")
    expected = (prompts["target_logit"] - prompts["target_constant"]).to_numpy()
    np.testing.assert_allclose(total["contribution"].to_numpy(), expected, rtol=1e-4, atol=1e-4)


def test_lower_levels_sum_to_the_higher(tables: dict[str, pl.DataFrame]) -> None:
    heads = tables["SUMS_Value_Head"].group_by("to").agg(pl.sum("contribution"))
    concatenated = tables["CONCATENATES_Head_State"].join(heads, left_on="from", right_on="to")
    np.testing.assert_allclose(concatenated["contribution"], concatenated["contribution_right"], rtol=1e-4, atol=1e-5)
    output = tables["State"].filter(pl.col("kind") == "attention_output").select("id")
    rows = tables["WRITES_Neuron_State"].join(output, left_on="to", right_on="id").group_by("to").agg(pl.sum("contribution"))
    added = tables["ADDS_State_State"].join(rows, left_on="from", right_on="to")
    bias = tables["ADDS_State_State"].join(output, left_on="to", right_on="id").select("to", bias="contribution")
    added = added.join(bias, left_on="from", right_on="to")
    assert len(added) == len(output)
    np.testing.assert_allclose(added["contribution"] - added["bias"], added["contribution_right"], rtol=1e-4, atol=1e-4)


def test_planted_facts_hold(tables: dict[str, pl.DataFrame]) -> None:
    layers = int(tables["Model"]["n_layer"][0])
    facts = planted(next(shape for shape in SHAPES if shape.n_layer == layers))
    heads = tables["Head"]
    promoting = heads.filter((pl.col("layer") == facts.promoting[0]) & (pl.col("head") == facts.promoting[1]))
    assert (promoting["target_rank"] == 1).all()
    demoting = heads.filter((pl.col("layer") == facts.demoting[0]) & (pl.col("head") == facts.demoting[1]))
    assert (demoting["target_rank"] > tables["Model"]["vocab_size"][0] - 10).all()
    neuron = tables["Neuron"].filter(
        (pl.col("matrix") == "mlp") & (pl.col("layer") == facts.always_on[0]) & (pl.col("index") == facts.always_on[1])
    )
    edges = tables["WRITES_Neuron_State"].filter(pl.col("from") == neuron["id"][0])
    assert len(edges) == len(tables["Prompt"])
    assert (edges["rank"] <= 2).all()


def test_counts_are_those_that_the_prompt_says(tables: dict[str, pl.DataFrame]) -> None:
    states = pl.concat([tables[label].select("prompt") for label in STATE_LABELS]).group_by("prompt").len().sort("prompt")
    assert states["len"].to_list() == tables["Prompt"].sort("id")["n_state"].to_list()
    edges = sum(len(tables[t.name]) for t in RELATIONSHIP_TABLES if t.name in tables)
    assert edges == tables["Prompt"]["n_relationship"].sum()


def test_schemas_and_seed() -> None:
    first, again = (prompt_tables(TINY, range(2), seed=1) for _ in range(2))
    assert first.keys() == again.keys()
    for name, table in first.items():
        assert table.schema == SCHEMAS[name]
        assert table.equals(again[name])
        table.validate(full=True)
    assert not prompt_tables(TINY, range(2), seed=2)["Head"].equals(first["Head"])
    assert set(NODE_TABLE) - set(first) == {Label.MODEL, Label.NEURON}
