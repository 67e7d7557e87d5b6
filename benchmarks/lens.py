"""The lens against the matrix products it cannot do without, and against projecting with torch.

    python -m benchmarks.lens [--quick]

A third of a layer of a random GPT-2 small (4 of 12 heads of 64, width 768, vocabulary 50,257) at 128
prompts of 15 tokens: values, heads and keys through their circuits, three full vectors a prompt. Times of one
thread are CPU time, those of all cores wall time; every figure is the least of interleaved rounds,
since other programs may be using the machine.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from benchmarks.report import ratio
from ingest.architecture.decoder import Norm
from ingest.lens.lens import LogitLens
from ingest.lens.workers import usable_cores

Array = np.ndarray
Clock = Callable[[], float]


@dataclass(frozen=True)
class Sizes:
    """Shape of the model and of the batch."""

    d_model: int
    d_head: int
    n_head: int
    vocabulary: int
    prompts: int
    tokens: int
    rounds: int
    alone: int


FULL = Sizes(d_model=768, d_head=64, n_head=4, vocabulary=50_257, prompts=128, tokens=15, rounds=4, alone=24)
QUICK = Sizes(d_model=128, d_head=32, n_head=4, vocabulary=4_000, prompts=8, tokens=15, rounds=2, alone=4)


class Layer:
    """Random weights of a final norm, an unembedding and a layer's circuits, and a batch's vectors."""

    def __init__(self, sizes: Sizes) -> None:
        rng = np.random.default_rng(0)
        self.sizes = sizes
        d, d_head = sizes.d_model, sizes.d_head
        self.norm = Norm("layer", np.ones(d, np.float32), np.full(d, 0.01, np.float32), 1e-5)
        self.unembedding = (rng.standard_normal((sizes.vocabulary, d), dtype=np.float32) * 0.02).T
        n_memory = sizes.prompts * sizes.tokens
        self.circuits = [rng.standard_normal((d_head, d), dtype=np.float32) * 0.02 for _ in range(2 * sizes.n_head)]
        counts = [n_memory + sizes.prompts] * sizes.n_head + [n_memory] * sizes.n_head
        self.heads = [rng.standard_normal((n, d_head), dtype=np.float32) for n in counts]
        self.wide = rng.standard_normal((3 * sizes.prompts, d), dtype=np.float32)
        targets = rng.integers(0, sizes.vocabulary, (sizes.prompts, 2))
        self.head_tokens = [targets[np.arange(len(part)) % sizes.prompts] for part in self.heads]
        self.wide_tokens = targets[np.arange(len(self.wide)) % sizes.prompts]
        self.n_vectors = sum(map(len, self.heads)) + len(self.wide)

    def lens(self, threads: int, cache: Path | None) -> LogitLens:
        return LogitLens(self.norm, self.unembedding, threads=threads, cache=cache, cache_bytes=1 << 40)

    def project(self, lens: LogitLens, *, keep: bool) -> None:
        """All vectors of the layer."""
        half = self.sizes.n_head
        for part in (slice(0, half), slice(half, None)):
            names = [f"{part.start}-{number}" for number in range(half)] if keep else None
            lens.project_heads(self.heads[part], self.circuits[part], self.head_tokens[part], names=names)
        lens.project(self.wide, self.wide_tokens)


class Products:
    """Plain matrix products of the same shapes, 480 rows at a time into one buffer (the fastest way here)."""

    def __init__(self, layer: Layer) -> None:
        sizes, rng = layer.sizes, np.random.default_rng(1)
        d_head = sizes.d_head
        self.rows = [np.ones((len(part), d_head + 1), np.float32) for part in layer.heads]
        self.factor = rng.standard_normal((d_head + 1, sizes.vocabulary), dtype=np.float32)
        self.wide = np.ones((len(layer.wide), sizes.d_model + 1), np.float32)
        self.unembedding = rng.standard_normal((sizes.d_model + 1, sizes.vocabulary), dtype=np.float32)
        self.folded = np.ones((sizes.n_head * (d_head + 1), sizes.d_model), np.float32)
        self.buffer = np.zeros((max(480, len(self.folded)), sizes.vocabulary), np.float32)

    def _multiply(self, rows: Array, matrix: Array) -> None:
        for start in range(0, len(rows), 480):
            part = rows[start : start + 480]
            np.matmul(part, matrix, out=self.buffer[: len(part)])

    def run(self, *, factors: bool) -> None:
        """The products of a layer, with or without those that make its factors."""
        if factors:
            for _ in range(2):
                np.matmul(self.folded, self.unembedding[:-1], out=self.buffer[: len(self.folded)])
        for rows in self.rows:
            self._multiply(rows, self.factor)
        self._multiply(self.wide, self.unembedding)


class WithTorch:
    """What one would write: norm, unembedding, softmax, top k, entropy, ranks."""

    def __init__(self, layer: Layer) -> None:
        self.rows = torch.from_numpy(layer.wide)
        self.tokens = torch.from_numpy(layer.wide_tokens)
        self.weight = torch.from_numpy(layer.norm.weight)
        self.bias = torch.from_numpy(layer.norm.weight * 0.01)
        self.unembedding = torch.from_numpy(layer.unembedding.T)

    @torch.inference_mode()
    def project(self, rows: torch.Tensor, tokens: torch.Tensor) -> list[torch.Tensor]:
        normalized = torch.nn.functional.layer_norm(rows, rows.shape[-1:], self.weight, self.bias)
        logits = normalized @ self.unembedding.T
        logarithms = torch.log_softmax(logits, -1)
        probabilities = logarithms.exp()
        own = logits.gather(-1, tokens)
        ranks = 1 + (logits[..., None, :] > own[..., None]).sum(-1)
        entropy = -(probabilities * logarithms).sum(-1)
        top_ids = logits.topk(50, -1).indices
        return [ranks, entropy, top_ids, probabilities.gather(-1, top_ids[..., :10]), probabilities.gather(-1, tokens)]

    def alone(self, n: int) -> None:
        for row, tokens in zip(self.rows[:n], self.tokens[:n], strict=True):
            self.project(row, tokens)

    def batch(self) -> None:
        self.project(self.rows[:64], self.tokens[:64])


def least(works: dict[str, Callable[[], object]], rounds: int, clock: Clock) -> dict[str, float]:
    """Least seconds of each work, the works taking turns; a first round warms up."""
    best: dict[str, float] = {}
    for turn in range(rounds + 1):
        for name, work in works.items():
            started = clock()
            work()
            if turn:
                best[name] = min(best.get(name, np.inf), clock() - started)
    return best


def measure(layer: Layer, threads: int, clock: Clock, folder: Path) -> dict[str, float]:
    """Seconds of the lens, the products and torch, all on `threads` threads."""
    products, eager = Products(layer), WithTorch(layer)
    kept, fresh = layer.lens(threads, folder), layer.lens(threads, None)
    sizes = layer.sizes
    torch.set_num_threads(threads)
    with threadpool_limits(threads, user_api="blas"):
        return least(
            {
                "products": lambda: products.run(factors=False),
                "lens": lambda: layer.project(kept, keep=True),
                "products and factors": lambda: products.run(factors=True),
                "lens and factors": lambda: layer.project(fresh, keep=False),
                "alone": lambda: eager.alone(sizes.alone),
                "batch": eager.batch,
            },
            sizes.rounds,
            clock,
        )


def report(layer: Layer, where: str, found: dict[str, float], limit: float | None) -> float:
    """Print the products' share; gives seconds a vector of the lens as it runs without kept factors."""
    a_vector = 1e6 / layer.n_vectors
    for name, seconds in found.items():
        scale = 1e6 / {"alone": layer.sizes.alone, "batch": 64}.get(name, layer.n_vectors)
        print(f"{where}: {name}: {seconds:.3f} s, {seconds * scale:,.0f} us a vector")
    print(f"{where}: {(found['lens'] - found['products']) * a_vector:,.0f} us a vector beside the products")
    ratio(f"lens / matrix products, factors kept, {where}", found["lens"] / found["products"], at_most=limit)
    ratio(
        f"lens / matrix products, factors made, {where}",
        found["lens and factors"] / found["products and factors"],
        at_most=limit,
    )
    return found["lens and factors"] / layer.n_vectors


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lens", description="Measure the lens.")
    parser.add_argument("--quick", action="store_true", help="small sizes, no limits")
    quick = parser.parse_args().quick
    layer = Layer(QUICK if quick else FULL)
    cores = usable_cores()
    print(f"{layer.n_vectors:,} vectors, vocabulary {layer.sizes.vocabulary:,}, {cores} cores")
    with tempfile.TemporaryDirectory() as folder:
        one = measure(layer, 1, time.process_time, Path(folder))
        report(layer, "one thread", one, None if quick else 1.5)
        every = measure(layer, cores, time.perf_counter, Path(folder))
        seconds = report(layer, "all cores", every, None if quick else 1.7)
    alone, batch = every["alone"] / layer.sizes.alone, every["batch"] / 64
    ratio("torch, each vector alone / lens, all cores", alone / seconds, at_least=None if quick else 60)
    ratio("torch, batches of 64 / lens, all cores", batch / seconds, at_least=None if quick else 12)


if __name__ == "__main__":
    main()
