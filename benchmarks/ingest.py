"""An ingest of GPT-2-small's shape by stages: seconds a prompt, and the lens beside a plain matrix product.

    python -m benchmarks.ingest [--quick] [--prompts N]

The model has random weights made from GPT-2-small's config; the prompts are the first 15 words of
published indirect-object sentences. Everything is measured in one run. `--prompts 1000` (about
twenty minutes on two cores, 10 GB of disk) also says how time and memory grow with the store.
Before that, the demo model ingests 1,000 published sentences, and once more to find them there.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import tokenizers
import torch
from transformers import AutoModelForCausalLM, GPT2Config, PreTrainedTokenizerFast

from benchmarks.report import ratio
from flowatlas import open_store
from ingest.architecture.load import LoadedModel, load_model
from ingest.lens.blas import single_threaded_blas
from ingest.pipeline.prepare import Choices, Prepared, prepare
from ingest.pipeline.report import Report
from ingest.pipeline.run import Job, ingest
from ingest.prompts import PromptInput, ReadOptions, read_prompts

DATA: Final = Path(__file__).parents[1] / "examples/data/dual_path_attribution"
SENTENCES: Final = DATA / "ioi.json"
WORDS: Final = 15
FIRST_STORED: Final = 100


def main() -> None:
    """Ingest, print the stages, compare the lens with its floor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="16 prompts instead of 128")
    parser.add_argument("--prompts", type=int, help="how many prompts")
    options = parser.parse_args()
    n = options.prompts or (16 if options.quick else 128)
    with tempfile.TemporaryDirectory() as folder:
        known_sentences(Path(folder), 40 if options.quick else 1000)
    with tempfile.TemporaryDirectory() as folder:
        model = random_gpt2_small(Path(folder) / "model")
        inputs = list(sentences(n))
        rows = projected_rows(model, inputs)
        cpu = time.process_time()
        report, on_disk, marks = run(model, inputs, Path(folder))
        cpu = time.process_time() - cpu
    print_stages(report, on_disk)
    ratio("ingest: cores in use", cpu / report.total_seconds)
    ratio("ingest: MB a prompt, store and shards", on_disk / n / 1e6)
    print_growth(marks)
    floor = gemm_seconds(rows, model.decoder.d_head, model.decoder.vocab_size)
    print(f"{rows:,} rows projected; their matrix products alone: {floor:.1f} s")
    ratio("ingest: lens / matrix products of its head-wise rows, all cores", report.seconds["lens"] / floor)
    ratio(
        "ingest: seconds a prompt, static neurons left out",
        (report.total_seconds - report.seconds["static neurons"]) / n,
        at_most=1.5 if n >= 128 else None,
    )
    ratio("ingest: peak memory, GB", peak_gb(), at_most=6)


def random_gpt2_small(folder: Path) -> LoadedModel:
    """A model of GPT-2-small's shape with random weights and a tokenizer of whole words, saved and loaded."""
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(GPT2Config()).save_pretrained(folder)
    words = sorted({word for text in texts() for word in text.split()})
    vocabulary = {"[UNK]": 0, **{word: number for number, word in enumerate(words, 1)}}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(folder)
    return load_model(str(folder))


def texts() -> list[str]:
    """The published sentences."""
    return [record["prompt"] for record in json.loads(SENTENCES.read_text("utf-8"))]


def sentences(n: int) -> Iterator[PromptInput]:
    """`n` different prompts of 15 words, the next word as the target."""
    long = [text.split() for text in texts() if len(text.split()) > WORDS]
    for number in range(n):
        words = long[number % len(long)]
        start = number // len(long)
        words = words[start:] + words[:start]
        yield PromptInput(text=" ".join(words[:WORDS]), target=words[WORDS], dataset="benchmark", where=str(number))


def projected_rows(model: LoadedModel, inputs: list[PromptInput]) -> int:
    """Head-wise rows (queries, keys, values, heads) that the lens projects."""
    prepared = [prepare(source, model, Choices()) for source in inputs]
    tokens = sum(len(p.token_ids) for p in prepared if isinstance(p, Prepared))
    return model.decoder.n_layer * model.decoder.n_head * 2 * (tokens + len(prepared))


def known_sentences(folder: Path, n: int) -> None:
    """The demo model over `n` sentences of known_1000, end to end, and again."""
    model = load_model("demo")
    inputs = list(read_prompts(str(DATA / "known_1000.json"), ReadOptions(limit=n)))
    with open_store(str(folder / "store.lbug"), mode="write") as store:
        job = Job(store, folder / "shards", threads=os.cpu_count() or 1)
        report = ingest(inputs, model, job)
        again = ingest(inputs, model, job)
        stored = store.read("MATCH (p:Prompt) RETURN count(p) AS prompts, sum(p.n_state) AS states").to_pylist()[0]
    print(f"known_1000, demo model: {report.prompts} prompts, {len(report.refused)} refused, {report.states:,} states")
    left_out = report.prompts + report.already_there + len(report.refused) - n
    ratio("known_1000: prompts neither stored nor refused", abs(left_out), at_most=0)
    ratio("known_1000: prompts added by a second ingest", again.prompts, at_most=0)
    different = abs(stored["states"] - report.states) + abs(stored["prompts"] - report.prompts)
    ratio("known_1000: states or prompts that the store counts otherwise", different, at_most=0)
    ratio("known_1000: prompts a second", report.prompts / report.total_seconds)


@dataclass(frozen=True)
class Mark:
    """When so many prompts were computed and so many of them in the store, and the highest memory so far."""

    prompts: int
    stored: int
    seconds: float
    memory_gb: float


def peak_gb() -> float:
    """The most memory that this process has had, files that are mapped included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def run(model: LoadedModel, inputs: list[PromptInput], folder: Path) -> tuple[Report, int, list[Mark]]:
    """Ingest into an embedded store; the report, the bytes of store and shards, and how it went."""
    started, marks = time.perf_counter(), list[Mark]()

    def tell(report: Report, _: str = "") -> None:
        marks.append(Mark(report.computed, report.prompts, time.perf_counter() - started, peak_gb()))

    with open_store(str(folder / "store.lbug"), mode="write") as store:
        job = Job(store, folder / "shards", threads=os.cpu_count() or 1)
        report = ingest(inputs, model, job, tell)
    files = [*folder.glob("store.lbug*"), *(folder / "shards").rglob("*.parquet")]
    return report, sum(file.stat().st_size for file in files), marks


def print_growth(marks: list[Mark]) -> None:
    """Time a prompt at the end beside that of the second shard (the first that is made beside a write), and memory.

    Memory is compared with that of the first hundred prompts, computed and written.
    """
    at = {mark.prompts: mark for mark in reversed(marks) if mark.prompts}
    computed = sorted(at)
    whole = [number for number in computed if number % computed[0] == 0]
    if len(whole) < 5:
        return

    def seconds(before: int, now: int) -> float:
        return (at[now].seconds - at[before].seconds) / (now - before)

    ratio(
        "ingest: time a prompt, last whole shard / second shard",
        seconds(*whole[-2:]) / seconds(*whole[:2]),
        at_most=1.5,
    )
    first = next((mark for mark in marks if mark.stored >= FIRST_STORED), None)
    if first is not None:
        print(f"peak memory with {first.stored} prompts in the store: {first.memory_gb:.2f} GB")
        ratio("ingest: peak memory, end / first hundred prompts", marks[-1].memory_gb / first.memory_gb, at_most=1.25)


def print_stages(report: Report, on_disk: int) -> None:
    """Seconds and share by stage."""
    work = {stage: seconds for stage, seconds in report.seconds.items() if stage != "static neurons"}
    total = sum(work.values())
    print(f"{report.prompts} prompts, {report.states:,} states, {report.relationships:,} relationships")
    print(f"{'stage':<16}{'seconds':>9}{'a prompt':>10}{'share':>8}")
    for stage, seconds in sorted(work.items(), key=lambda item: -item[1]):
        print(f"{stage:<16}{seconds:>9.1f}{seconds / report.prompts:>10.3f}{seconds / total:>8.0%}")
    print(f"static neurons, once a model: {report.seconds['static neurons']:.1f} s")
    print(
        f"wall time {report.total_seconds:.1f} s; bytes a prompt, store and shards: {on_disk / report.prompts / 1e6:.1f} MB"
    )


def gemm_seconds(rows: int, d_head: int, vocabulary: int, chunk: int = 480) -> float:
    """Time of the matrix products of `rows` head-wise rows, on all cores as the lens uses them."""
    threads = os.cpu_count() or 1
    left, right = np.ones((chunk, d_head), np.float32), np.ones((d_head, vocabulary), np.float32)
    buffers = [np.empty((chunk, vocabulary), np.float32) for _ in range(threads)]

    def product(number: int) -> None:
        np.matmul(left, right, out=buffers[number])

    with single_threaded_blas(), ThreadPoolExecutor(threads) as pool:
        list(pool.map(product, range(threads)))
        started = time.perf_counter()
        for _ in range(3):
            list(pool.map(product, range(threads)))
        return (time.perf_counter() - started) / (3 * threads * chunk) * rows


if __name__ == "__main__":
    main()
