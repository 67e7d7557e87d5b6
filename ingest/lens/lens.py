"""The logit lens over many vectors at once: LL(x) = softmax(norm_f(x) U + b) (paper, section 2.3).

Exact: ranks and top tokens are those of float64 arithmetic (close calls are decided in float64),
probabilities and entropies agree to float32. Fast: rows go through one GEMM, tile by tile of the
vocabulary, and one compiled pass; threads share the rows, each BLAS call on one thread. Memory is
bounded by the chunk and the number of threads, whatever the number of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

import numpy as np
from jaxtyping import Float, Float32, Int, Int32

from flowatlas.errors import ModelError
from flowatlas.vocabulary import TOP_IDS
from ingest.architecture.decoder import Decoder, Norm
from ingest.lens.factors import Factors
from ingest.lens.projection import Found, Projection, StaticProjection
from ingest.lens.sharing import Sharing, share
from ingest.lens.tiles import CHUNK_ROWS, buffer_size
from ingest.lens.unembedding import Factor, Unembedding
from ingest.lens.workers import Workers, usable_cores

if TYPE_CHECKING:  # these load numba and torch, which those who do not project do without
    from ingest.lens.chunks import Tallies
    from ingest.lens.on_device import Device, DeviceTallies

Array = np.ndarray
Parts = TypeVar("Parts", Found, StaticProjection)
Job = tuple[Sharing, Factor]

FACTORED_FROM = 70
"""Rows of one head from which making its factor costs less than projecting whole vectors."""
FACTOR_BYTES = 512 * 2**20
"""Factors that are made together: those of a layer, as a rule."""


class LogitLens:
    """Projects vectors to the vocabulary. Safe to use from several threads.

    `threads` defaults to the cores this process may use. `cache` is a folder (of this model alone)
    where at most `cache_bytes` of factors may be kept from one batch or run to the next. `device` is
    `cpu`, `cuda` or `auto` (the faster of the two by a short measurement). Raises ModelError when
    weights or rows are not finite or shapes do not fit, UsageError when there is no such device.
    """

    def __init__(
        self,
        final_norm: Norm | None,
        unembedding: Float[Array, "d V"],
        bias: Float[Array, " V"] | None = None,
        *,
        logit_scale: float = 1.0,
        softcap: float | None = None,
        threads: int | None = None,
        chunk_rows: int = CHUNK_ROWS,
        cache: Path | None = None,
        cache_bytes: int = 0,
        device: Device = "cpu",
    ) -> None:
        self._unembedding = Unembedding(final_norm, unembedding, bias, logit_scale, softcap)
        self._chunk_rows = max(1, chunk_rows)
        size = buffer_size(self._chunk_rows, self._unembedding.vocabulary)
        self._workers = Workers(threads or usable_cores(), size)
        self._factors = Factors(self._unembedding, self._workers, cache, cache_bytes)
        self._on_device: DeviceTallies | None = None
        if device != "cpu":
            self._choose(device)

    @classmethod
    def of(
        cls,
        decoder: Decoder,
        *,
        threads: int | None = None,
        chunk_rows: int = CHUNK_ROWS,
        cache: Path | None = None,
        cache_bytes: int = 0,
        device: Device = "cpu",
    ) -> Self:
        """The lens of a decoder: its final norm, unembedding, bias, logit scale and softcap.

        Factors are kept under `cache`/(fingerprint of the model)/factors.
        """
        return cls(
            decoder.final_norm,
            decoder.unembedding,
            decoder.unembedding_bias,
            logit_scale=decoder.logit_scale,
            softcap=decoder.softcap,
            threads=threads,
            chunk_rows=chunk_rows,
            cache=None if cache is None else cache / decoder.fingerprint / "factors",
            cache_bytes=cache_bytes,
            device=device,
        )

    def without_norm(self) -> Self:
        """The same lens less the final norm, logits = x U + b; matrices, threads and device are shared."""
        lens = copy(self)
        lens._unembedding = self._unembedding.without_norm()  # noqa: SLF001
        lens._factors = Factors(lens._unembedding, self._workers, None, 0)  # noqa: SLF001
        return lens

    @property
    def device(self) -> Device:
        """Where logits are made: `cpu` or `cuda`."""
        return "cpu" if self._on_device is None else "cuda"

    @property
    def k(self) -> int:
        """How many top ids a projection has: 50, or the whole vocabulary when it is smaller."""
        return min(TOP_IDS, self.vocabulary)

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""
        return self._unembedding.vocabulary

    def project(self, rows: Float32[Array, "n d"], tokens: Int[Array, "n s"]) -> Projection:
        """LL(row) for vectors of the residual's width.

        `tokens` are the ids of each row's target and foil, -1 for none; a third column may name its source.
        """
        self._check(rows, self._unembedding.d_model, tokens)
        return self._project([(share(rows, tokens), self._unembedding.direct)])[0]

    def project_through(
        self,
        rows: Float32[Array, "n d_in"],
        circuit: Float32[Array, "d_in d"],
        tokens: Int[Array, "n s"],
        *,
        name: str | None = None,
    ) -> Projection:
        """LL(row @ circuit) without ever making row @ circuit (a head's values, queries or keys).

        A constant that is added to row @ circuit goes in as one more row of the circuit, with a
        column of ones in `rows`. `name` identifies the circuit within its model.
        """
        return self.project_heads([rows], [circuit], [tokens], names=[name])[0]

    def project_heads(
        self,
        rows: Sequence[Float32[Array, "n d_in"]],
        circuits: Sequence[Float32[Array, "d_in d"]],
        tokens: Sequence[Int[Array, "n s"]],
        *,
        names: Sequence[str | None] | None = None,
    ) -> list[Projection]:
        """`project_through` for several heads at once (those of a layer): their factors are made together."""
        names = names or [None] * len(rows)
        for part, circuit, pairs in zip(rows, circuits, tokens, strict=True):
            self._check_circuit(part, circuit)
            self._check(part, len(circuit), pairs)
        shared = [share(part, pairs) for part, pairs in zip(rows, tokens, strict=True)]
        together = max(1, FACTOR_BYTES // (4 * (max(map(len, circuits), default=0) + 1) * self.vocabulary))
        found: list[Projection] = []
        for start in range(0, len(shared), together):
            some = slice(start, start + together)
            found += self._project_some(shared[some], circuits[some], names[some])
        return found

    def _project_some(
        self, shared: Sequence[Sharing], circuits: Sequence[Array], names: Sequence[str | None]
    ) -> list[Projection]:
        factored = [number for number, distinct in enumerate(shared) if len(distinct.rows) >= FACTORED_FROM]
        wanted = [circuits[number] for number in factored]
        with self._factors_of(wanted, [names[number] for number in factored]) as factors:
            by_number = dict(zip(factored, factors, strict=True))
            jobs: list[Job] = []
            for number, distinct in enumerate(shared):
                if number in by_number:
                    jobs.append((distinct, by_number[number]))
                else:
                    whole = distinct.rows.astype(np.float64) @ circuits[number].astype(np.float64)
                    jobs.append((replace(distinct, rows=whole), self._unembedding.direct))
            return self._project(jobs)

    def project_static(self, rows: Float32[Array, "n d"], k: int = TOP_IDS) -> StaticProjection:
        """LL(row) and the top tokens of LL(-row), for vectors that no prompt changes."""
        self._check(rows, self._unembedding.d_model, np.full((len(rows), 2), -1))
        from ingest.lens.chunks import static_chunk

        k = min(k, self.k)
        chunks = self._chunks(len(rows))
        return _joined(
            self._workers.run(
                lambda chunk, buffer: static_chunk(self._unembedding, rows[chunk], k, self._tallies(buffer)), chunks
            )
        )

    def ranks_of(
        self, rows: Float32[Array, "n d"], token_ids: Int[Array, " T"]
    ) -> tuple[Int32[Array, "n T"], Int32[Array, "n T"]]:
        """Ranks of each token in LL(row) and in LL(-row)."""
        self._check(rows, self._unembedding.d_model, np.full((len(rows), 2), max(token_ids, default=-1)))
        ids = np.asarray(token_ids, np.int64)
        if not len(rows) or not ids.size:
            return np.empty((len(rows), ids.size), np.int32), np.empty((len(rows), ids.size), np.int32)
        from ingest.lens.chunks import ranks_chunk

        parts = self._workers.run(
            lambda chunk, buffer: ranks_chunk(self._unembedding, rows[chunk], ids, self._tallies(buffer)),
            self._chunks(len(rows)),
        )
        up, down = np.concatenate(parts, axis=1)
        return up, down

    def _project(self, jobs: Sequence[Job]) -> list[Projection]:
        from ingest.lens.chunks import project_chunk  # loads numba

        tasks = [
            (number, chunk)
            for number, (part, _) in enumerate(jobs)
            for chunk in self._chunks(len(part.rows), len(jobs))
        ]

        def work(task: tuple[int, slice], buffer: Array) -> Found:
            (part, factor), chunk = jobs[task[0]], task[1]
            tokens = np.ascontiguousarray(part.tokens[chunk], np.int64)
            return project_chunk(self._unembedding, factor, part.rows[chunk], tokens, self.k, self._tallies(buffer))

        found: list[list[Found]] = [[] for _ in jobs]
        for (number, _), chunk in zip(tasks, self._workers.run(work, tasks), strict=True):
            found[number].append(chunk)
        return [_joined(chunks).of(part.row, part.slot) for chunks, (part, _) in zip(found, jobs, strict=True)]

    def _tallies(self, buffer: Array) -> Tallies:
        from ingest.lens.chunks import TiledTallies

        return TiledTallies(self._unembedding, buffer) if self._on_device is None else self._on_device

    def _factors_of(
        self, circuits: Sequence[Array], names: Sequence[str | None]
    ) -> AbstractContextManager[list[Factor]]:
        if self._on_device is None:
            return self._factors.of(circuits, names)
        return nullcontext(self._on_device.factors(circuits))

    def _choose(self, device: Device) -> None:
        """Go to the GPU when it is asked for, or found to be faster on random rows of a head's width."""
        from ingest.lens.on_device import DeviceTallies, choose_device, least_seconds

        draw = np.random.default_rng(0)
        circuit = draw.standard_normal((min(64, self._unembedding.d_model), self._unembedding.d_model), np.float32)
        rows = draw.standard_normal((4 * CHUNK_ROWS, len(circuit)), np.float32)
        tokens = np.zeros((len(rows), 2), np.int64)

        def seconds(candidate: Device) -> float:
            self._on_device = None if candidate == "cpu" else DeviceTallies(self._unembedding, candidate)
            return least_seconds(lambda: self.project_through(rows, circuit, tokens))

        chosen = choose_device(device, seconds)
        if chosen == "cpu":
            self._on_device = None
        elif self._on_device is None:
            self._on_device = DeviceTallies(self._unembedding, chosen)

    def _chunks(self, n: int, jobs: int = 1) -> list[slice]:
        """Slices of n rows: of one job, at least one for every thread."""
        if self._on_device is not None:
            size = self._on_device.chunk_rows
        else:
            size = max(1, min(self._chunk_rows, n if jobs > 1 else -(-n // self._workers.threads)))
        return [slice(start, min(start + size, n)) for start in range(0, max(n, 1), size)]

    def _check_circuit(self, rows: Array, circuit: Array) -> None:
        if circuit.shape != (rows.shape[-1], self._unembedding.d_model) or not np.isfinite(circuit).all():
            raise ModelError(
                f"A circuit of shape {circuit.shape} does not take rows of {rows.shape[-1]} numbers"
                f" to {self._unembedding.d_model}, or has values that are not finite."
            )

    def _check(self, rows: Array, width: int, tokens: Array) -> None:
        if rows.ndim != 2 or rows.shape[1] != width or tokens.shape not in ((len(rows), 2), (len(rows), 3)):
            raise ModelError(
                f"The lens expects rows of {width} numbers and two tokens each (or three); got {rows.shape}, {tokens.shape}."
            )
        if not np.isfinite(rows).all():
            bad = int((~np.isfinite(rows).all(1)).sum())
            raise ModelError(
                f"{bad} of {len(rows)} vectors have values that are not finite (NaN or infinite).",
                next_step="Check the model's weights and its number format: they overflow on this prompt.",
            )
        if tokens.size and tokens.max() >= self._unembedding.vocabulary:
            raise ModelError(f"Token id {tokens.max()} lies outside the vocabulary of {self._unembedding.vocabulary}.")


def _joined(parts: Sequence[Parts]) -> Parts:
    """Chunks of one job, in order, as one."""
    if len(parts) == 1:
        return parts[0]
    kind = type(parts[0])
    return kind(**{part.name: np.concatenate([getattr(p, part.name) for p in parts]) for part in fields(kind)})
