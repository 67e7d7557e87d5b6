"""Graphs made through torch are those of the CPU path: with torch on the CPU always, on a GPU where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from ingest.architecture.load import LoadedModel, load_model
from ingest.lens.lens import LogitLens
from ingest.lens.on_device import DeviceTallies
from ingest.neurons import TargetRanks
from ingest.neurons.table import neuron_table
from ingest.pipeline.batch import Workshop, graph_tables
from ingest.pipeline.prepare import Choices, Prepared, prepare
from ingest.prompts import PromptInput
from support.models import random_model

DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
TEXTS = ("The capital of Japan is", "Mary went to the city", "The", "Paris is the capital of France, the city of")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("family", ["gpt2", "mixtral"])
def test_the_lens_gives_the_same_graphs(device: str, family: str, tmp_path: Path) -> None:
    model = model_for(device, family, tmp_path)
    on_cpu, on_device = tables(model, LogitLens.of(model.decoder)), tables(model, lens_on(device, model))
    assert on_cpu.keys() == on_device.keys()
    for name, column, mine, theirs in columns(on_cpu, on_device):
        if pa.types.is_floating(mine.type):
            close(mine, theirs, 1e-5, f"{name}.{column}")
        else:
            assert mine.equals(theirs), f"{name}.{column}"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("family", ["gpt2", "mixtral"])
def test_forward_pass_and_lens_give_the_same_graphs_but_for_rounding(device: str, family: str, tmp_path: Path) -> None:
    """A GPU sums in another order: hidden states differ in their last digits, and so do ranks of near-ties."""
    model = model_for(device, family, tmp_path)
    on_cpu, lens = tables(model, LogitLens.of(model.decoder)), lens_on(device, model)
    model.to(device)
    for name, column, mine, theirs in columns(on_cpu, tables(model, lens)):
        if pa.types.is_floating(mine.type):
            close(mine, theirs, 1e-4, f"{name}.{column}")
            continue
        assert mine.is_null().equals(theirs.is_null()), f"{name}.{column}"
        one, other = mine.drop_null(), theirs.drop_null()
        differing = pc.sum(pc.not_equal(one, other)).as_py() or 0
        assert differing <= 0.05 * len(one), f"{name}.{column}"
        if column.endswith("rank"):
            assert (pc.max(pc.abs(pc.subtract(one, other))).as_py() or 0) <= 3, f"{name}.{column}"


def model_for(device: str, family: str, folder: Path) -> LoadedModel:
    """A random model; a GPU is given a vocabulary that is searched by blocks."""
    return load_model(str(random_model(family, folder, **({"vocab_size": 20_000} if device == "cuda" else {}))))


def lens_on(device: str, model: LoadedModel) -> LogitLens:
    """The lens through torch on a device."""
    lens = LogitLens.of(model.decoder)
    lens._on_device = DeviceTallies(lens._unembedding, device)
    return lens


def tables(model: LoadedModel, lens: LogitLens) -> dict[str, pa.Table]:
    """The graphs of the prompts at all positions, and the model's neurons."""
    workshop = Workshop(model, lens, TargetRanks(model.decoder, lens), Choices(positions="all"), threads=2)
    inputs = (PromptInput(text=text, target=" the", foil=" of", where="") for text in TEXTS)
    found = [prepare(one, model, workshop.choices) for one in inputs]
    prepared = [one for one in found if isinstance(one, Prepared)]
    assert len(prepared) == len(TEXTS)
    neurons = neuron_table(model.decoder, lens, model.tokenizer.labels)
    return graph_tables(workshop, prepared) | {"Neuron": neurons}


def columns(one: dict[str, pa.Table], other: dict[str, pa.Table]) -> Iterator[tuple[str, str, pa.Array, pa.Array]]:
    """Table, column, and its values in both; lists, which must be equally long, as their items."""
    for name, mine in one.items():
        assert mine.num_rows == other[name].num_rows, name
        for column in mine.schema.names:
            pair = mine[column].combine_chunks(), other[name][column].combine_chunks()
            if pa.types.is_list(pair[0].type):
                assert pair[0].value_lengths().equals(pair[1].value_lengths()), f"{name}.{column}"
                pair = pair[0].flatten(), pair[1].flatten()
            yield name, column, *pair


def close(one: pa.Array, other: pa.Array, tolerance: float, name: str) -> None:
    """Equal to `tolerance` of the column's size."""
    mine, theirs = (column.to_numpy(zero_copy_only=False).astype(np.float64) for column in (one, other))
    size = np.nanmax(np.abs(mine[np.isfinite(mine)]), initial=1.0)
    np.testing.assert_allclose(theirs, mine, rtol=tolerance, atol=tolerance * size, err_msg=name)
