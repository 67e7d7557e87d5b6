"""The figures of a hand-made model: one layer, one head, twelve tokens, and every answer known."""

from __future__ import annotations

import json

import polars as pl
import pytest

from flowatlas.errors import UsageError
from flowatlas.stores import open_store
from ingest.analysis import ModelReader
from query.analyses import Figure, Missing, Options, Sample, analyze
from support.cli import flowatlas
from support.copying import NEURON, ROGUE, SUBJECT, WORDS, copying_model

PROMPTS = ["the capital of Japan is", "in Japan the city of", "Japan is a"]


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    model = copying_model(folder / "model", always_on=0.2)
    file = folder / "prompts.jsonl"
    file.write_text("".join(json.dumps({"prompt": text, "target": SUBJECT}) + "\n" for text in PROMPTS))
    uri = str(folder / "store.lbug")
    done = flowatlas("ingest", file, "--model", model, "--store", uri)
    assert done.code == 0, done.stderr
    with open_store(uri) as store:
        with pytest.raises(UsageError, match="12 top tokens are stored"):
            list(analyze(Sample(store)))
        identity = Sample(store).model["id"]
        sample = Sample(store, options=Options(k=5, resamples=30, weights=ModelReader(str(model), identity)))
        return {figure.name: figure for figure in analyze(sample)}


def line(figure, name):
    return figure.data.filter((pl.col("line") == name) & (pl.col("subset") == "all prompts"))["mean"].to_list()


def test_a_head_that_copies_is_its_memory_value(figures):
    assert line(figures["values_by_attention"], "value of attention rank 1") == [1.0]
    assert figures["values_by_head"].panels[0].z.tolist() == [[1.0]]
    # One head, and no bias: it is the attention's whole output.
    for name in ("heads_with_wo", "heads_by_norm"):
        wanted = "attention output" if name == "heads_with_wo" else "head of norm rank 1"
        assert line(figures[name], wanted) == [1.0]


def test_its_direct_effect_is_the_largest_and_it_projects_the_target(figures):
    (row,) = figures["head_effects"].data.to_dicts()
    assert row["effect"] > 0
    assert (row["top_token"], row["promotes"], row["demotes"]) == (SUBJECT, 1.0, 0.0)
    assert any("No prompt has a foil" in note for note in figures["head_effects"].notes)


def test_the_hand_made_neuron_is_always_on(figures):
    on = figures["always_on_neurons"].data.filter(pl.col("group") == "always on")
    assert on.select("layer", "neuron", "share").rows() == [(0, NEURON, 1.0)]
    assert on["norm"][0] == pytest.approx(0.2)
    mean = figures["always_on_neurons"].data.filter(pl.col("group") == "mean of the matrix")
    assert mean["norm"][0] == pytest.approx(0.2 / 8)
    weights = figures["neuron_weights"].data
    own = weights.filter(pl.col("line") == f"always-on neuron {NEURON}")["weight"].to_list()
    assert own == pytest.approx([0.2 if d == ROGUE else 0.0 for d in range(len(WORDS))])
    assert f"are at dimensions {ROGUE}," in figures["neuron_weights"].sentence


def test_what_the_store_lacks_is_said(figures):
    assert isinstance(figures["heads_without_wo"], Missing)
    assert "--lens circuit,naive" in figures["heads_without_wo"].reason
    assert "flowatlas norms" in figures["norm_change"].reason
    assert "foil" in figures["graph_negative_head"].reason
    shown = [figure for figure in figures.values() if isinstance(figure, Figure)]
    assert len(shown) == len(figures) - 6
    assert all(figure.panels and "nan" not in figure.sentence for figure in shown)
