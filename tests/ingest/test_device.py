"""Graphs made through torch are those of the CPU path: with torch on the CPU always, on a GPU where there is one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
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
def test_same_graphs(device: str, family: str, tmp_path: Path) -> None:
    # A GPU is given a vocabulary that is searched by blocks.
    model = load_model(str(random_model(family, tmp_path, **({"vocab_size": 20_000} if device == "cuda" else {}))))
    on_cpu = tables(model, LogitLens.of(model.decoder))
    lens = LogitLens.of(model.decoder)
    lens._on_device = DeviceTallies(lens._unembedding, device)
    model.to(device)
    on_device = tables(model, lens)
    assert on_cpu.keys() == on_device.keys()
    for name, mine in on_cpu.items():
        assert mine.num_rows == on_device[name].num_rows, name
        for column in mine.schema.names:
            close(mine[column], on_device[name][column], f"{name}.{column}")


def tables(model: LoadedModel, lens: LogitLens) -> dict[str, pa.Table]:
    """The graphs of the prompts at all positions, and the model's neurons."""
    workshop = Workshop(model, lens, TargetRanks(model.decoder, lens), Choices(positions="all"), threads=2)
    inputs = (PromptInput(text=text, target=" the", foil=" of", where="") for text in TEXTS)
    found = [prepare(one, model, workshop.choices) for one in inputs]
    prepared = [one for one in found if isinstance(one, Prepared)]
    assert len(prepared) == len(TEXTS)
    neurons = neuron_table(model.decoder, lens, model.tokenizer.labels)
    return graph_tables(workshop, prepared) | {"Neuron": neurons}


def close(one: pa.ChunkedArray, other: pa.ChunkedArray, name: str) -> None:
    """Floats to 1e-5 of their column's size, all else equal."""
    if pa.types.is_list(one.type):
        assert one.combine_chunks().value_lengths().equals(other.combine_chunks().value_lengths()), name
        one, other = (pa.chunked_array([column.combine_chunks().flatten()]) for column in (one, other))
    if pa.types.is_floating(one.type):
        mine, theirs = (column.to_numpy().astype(np.float64) for column in (one, other))
        size = np.nanmax(np.abs(mine[np.isfinite(mine)]), initial=1.0)
        np.testing.assert_allclose(theirs, mine, rtol=1e-5, atol=1e-5 * size, err_msg=name)
    else:
        assert one.equals(other), name
