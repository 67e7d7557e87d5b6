"""The CPU against a GPU: lens, static neurons, ranks of targets, and whole graphs of GPT-2-small's shape.

    python -m benchmarks.device [--quick]

Needs a CUDA device; without one it says so and measures nothing. It needs no store and no network,
and takes about three minutes on 16 cores. The tests that compare the numbers of both:

    python -m pytest tests/lens/test_device.py tests/ingest/test_device.py
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from benchmarks.ingest import random_gpt2_small, sentences
from benchmarks.report import ratio
from ingest.architecture.load import LoadedModel
from ingest.lens.lens import LogitLens
from ingest.neurons import TargetRanks
from ingest.pipeline.batch import Workshop, graph_tables
from ingest.pipeline.prepare import Choices, Prepared, prepare

BATCH = 64
"""Prompts that go through the model and the lens together."""


def main() -> None:
    """Measure both, print the ratios and what `auto` takes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.device", description="The CPU against a GPU.")
    parser.add_argument("--quick", action="store_true", help="16 prompts instead of 64")
    prompts = 16 if parser.parse_args().quick else BATCH
    if not torch.cuda.is_available():
        print("no CUDA device: nothing measured")
        return
    print(f"{torch.cuda.get_device_name()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        model = random_gpt2_small(Path(folder))
    started = time.perf_counter()
    chosen = LogitLens.of(model.decoder, device="auto").device
    print(f"auto takes {chosen}; making the lens and choosing took {time.perf_counter() - started:.1f} s")
    cpu = measure(model, "cpu", prompts)
    model.to("cuda")
    gpu = measure(model, "cuda", prompts)
    for name, seconds in cpu.items():
        print(f"{name:<40} cpu {seconds:>9.3f} s   cuda {gpu[name]:>9.3f} s")
    for name, seconds in cpu.items():
        ratio(f"device: cpu / cuda, {name}", seconds / gpu[name])
    faster = "cuda" if gpu["lens"] < cpu["lens"] else "cpu"
    ratio("device: auto takes the faster for the lens", float(chosen == faster), at_least=1)
    print(f"GPU memory at its highest: {torch.cuda.max_memory_allocated() / 1e9:.1f} GB")


def measure(model: LoadedModel, device: Literal["cpu", "cuda"], prompts: int) -> dict[str, float]:
    """Seconds of the parts on one device; the stages are those of the graphs of `prompts` prompts."""
    lens = LogitLens.of(model.decoder, device=device)
    workshop = Workshop(model, lens, TargetRanks(model.decoder, lens), Choices(), threads=os.cpu_count() or 1)
    prepared = [
        one for one in (prepare(s, model, workshop.choices) for s in sentences(prompts)) if isinstance(one, Prepared)
    ]
    tokens = np.random.default_rng(0).permutation(model.decoder.vocab_size)
    neurons = np.ascontiguousarray(model.decoder.layer(0).mlp_value)
    found = {
        "3,072 static neurons": once(lambda: lens.project_static(neurons)),
        "ranks of 4 tokens in 3,072 neurons": once(lambda: lens.ranks_of(neurons, tokens[:4])),
        "ranks of 64 tokens in 3,072 neurons": once(lambda: lens.ranks_of(neurons, tokens[:64])),
    }
    graph_tables(workshop, prepared)
    workshop.seconds.stages.clear()
    graph_tables(workshop, prepared)
    stages = workshop.seconds.stages
    return {**found, **{name: stages[name] for name in ("forward", "lens")}, "whole graphs": sum(stages.values())}


def once(work: Callable[[], object]) -> float:
    """Seconds of a second run: the first one warms up."""
    work()
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
