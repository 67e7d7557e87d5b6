"""The logit lens over many vectors at once: LL(x) = softmax(norm_f(x) U + b) (paper, section 2.3).

Exact: ranks and top tokens are those of float64 arithmetic (close calls are decided in float64),
probabilities and entropies agree to float32. Fast: rows go through one GEMM into a reused buffer
and one compiled pass; threads share the rows, each BLAS call on one thread. Memory is bounded by
the chunk and the number of threads, whatever the number of rows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Self

import numpy as np
from jaxtyping import Float, Float32, Int, Int32

from flowatlas.errors import ModelError
from flowatlas.vocabulary import TOP_IDS, TOP_TOKENS
from ingest.architecture.decoder import Decoder, Norm
from ingest.lens.blas import single_threaded_blas
from ingest.lens.projection import Projection, StaticProjection
from ingest.lens.unembedding import Factor, Unembedding

Array = np.ndarray

CHUNK_ROWS = 480
"""Rows that a thread takes at once: enough for BLAS to be at its best."""
TILE = 3840
"""Tokens whose logits a thread holds at once: a tile of 480 rows stays in a core's cache."""
FACTORED_FROM = 70
"""Rows of one head from which making its factor costs less than projecting whole vectors."""


class LogitLens:
    """Projects vectors to the vocabulary. Safe to use from several threads.

    `threads` defaults to the cores this process may use.
    Raises ModelError when weights or rows are not finite or shapes do not fit.
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
    ) -> None:
        self._unembedding = Unembedding(final_norm, unembedding, bias, logit_scale, softcap)
        self.threads = threads or len(os.sched_getaffinity(0))
        self.chunk_rows = max(1, chunk_rows)
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="lens")
        self._buffers: SimpleQueue[Array] = SimpleQueue()
        for _ in range(self.threads):
            self._buffers.put(np.empty(max(self.chunk_rows, 2) * TILE, np.float32))

    @classmethod
    def of(cls, decoder: Decoder, *, threads: int | None = None, chunk_rows: int = CHUNK_ROWS) -> Self:
        """The lens of a decoder: its final norm, unembedding, bias, logit scale and softcap."""
        return cls(
            decoder.final_norm,
            decoder.unembedding,
            decoder.unembedding_bias,
            logit_scale=decoder.logit_scale,
            softcap=decoder.softcap,
            threads=threads,
            chunk_rows=chunk_rows,
        )

    @property
    def k(self) -> int:
        """How many top ids a projection has: 50, or the whole vocabulary when it is smaller."""
        return min(TOP_IDS, self._unembedding.vocabulary)

    def project(self, rows: Float32[Array, "n d"], tokens: Int[Array, "n 2"]) -> Projection:
        """LL(row) for vectors of the residual's width.

        `tokens` are the ids of each row's target and foil, -1 for none.
        """
        self._check(rows, self._unembedding.d_model, tokens)
        return self._projection(rows, tokens, self._unembedding.direct)

    def project_through(
        self,
        rows: Float32[Array, "n d_in"],
        circuit: Float32[Array, "d_in d"],
        tokens: Int[Array, "n 2"],
        *,
        name: str | None = None,
    ) -> Projection:
        """LL(row @ circuit) without ever making row @ circuit (a head's values, queries or keys).

        A constant that is added to row @ circuit goes in as one more row of the circuit, with a
        column of ones in `rows`. `name` identifies the circuit within its model.
        """
        if circuit.shape != (rows.shape[-1], self._unembedding.d_model) or not np.isfinite(circuit).all():
            raise ModelError(
                f"A circuit of shape {circuit.shape} does not take rows of {rows.shape[-1]} numbers"
                f" to {self._unembedding.d_model}, or has values that are not finite."
            )
        self._check(rows, len(circuit), tokens)
        if len(rows) < FACTORED_FROM:
            whole = rows.astype(np.float64) @ circuit.astype(np.float64)
            return self._projection(whole, tokens, self._unembedding.direct)
        return self._projection(rows, tokens, self._unembedding.factor(circuit))

    def project_static(self, rows: Float32[Array, "n d"], k: int = TOP_IDS) -> StaticProjection:
        """LL(row) and the top tokens of LL(-row), for vectors that no prompt changes."""
        none = np.full((len(rows), 2), -1)
        up, down = self.project(rows, none), self.project(-rows, none)
        return StaticProjection(up.entropy, up.top_ids[:, :k], up.top_probs[:, :k], down.top_ids[:, :k])

    def ranks_of(
        self, rows: Float32[Array, "n d"], token_ids: Int[Array, " T"]
    ) -> tuple[Int32[Array, "n T"], Int32[Array, "n T"]]:
        """Ranks of each token in LL(row) and in LL(-row)."""
        up = np.empty((len(rows), len(token_ids)), np.int32)
        down = np.empty_like(up)
        for column, token in enumerate(token_ids):
            tokens = np.tile([token, -1], (len(rows), 1))
            up[:, column] = self.project(rows, tokens).target_rank
            down[:, column] = self.project(-rows, tokens).target_rank
        return up, down

    def _check(self, rows: Array, width: int, tokens: Array) -> None:
        if rows.ndim != 2 or rows.shape[1] != width or tokens.shape != (len(rows), 2):
            raise ModelError(f"The lens expects rows of {width} numbers and two tokens each; got {rows.shape}, {tokens.shape}.")
        if not np.isfinite(rows).all():
            bad = int((~np.isfinite(rows).all(1)).sum())
            raise ModelError(
                f"{bad} of {len(rows)} vectors have values that are not finite (NaN or infinite).",
                next_step="Check the model's weights and its number format: they overflow on this prompt.",
            )
        if tokens.size and tokens.max() >= self._unembedding.vocabulary:
            raise ModelError(f"Token id {tokens.max()} lies outside the vocabulary of {self._unembedding.vocabulary}.")

    def _projection(self, rows: Array, tokens: Array, factor: Factor) -> Projection:
        """Project all rows, chunk by chunk over the threads."""
        n, k, t = len(rows), self.k, min(TOP_TOKENS, self._unembedding.vocabulary)
        tokens = np.ascontiguousarray(tokens, np.int64)
        entropy = np.empty(n, np.float32)
        top_ids, top_probs = np.empty((n, k), np.int32), np.empty((n, t), np.float32)
        ranks, probs = np.empty((n, 2), np.int32), np.empty((n, 2), np.float32)

        def project_chunk(chunk: slice, buffer: Array) -> None:
            from ingest.lens.kernels import finish, new_tally, settle, tally_tile

            unembedding, part = self._unembedding, rows[chunk]
            multiplied = unembedding.normalized(part) if factor.folded is None else unembedding.scaled(part, factor)
            left = _with_ones(multiplied)
            asked = _logits_of(left, factor, tokens[chunk])
            tally = new_tally(asked, unembedding.tolerance(multiplied, factor))
            for start, logits in _tiles(left, factor, buffer):
                tally_tile(tally, logits[: len(part)], start, k, unembedding.softcap)
            out = entropy[chunk], top_ids[chunk], top_probs[chunk], ranks[chunk], probs[chunk]
            finish(tally, asked, unembedding.softcap, *out)
            doubtful = np.flatnonzero((tally.doubt > 0) | (tally.n_near > 1).any(1))
            if doubtful.size:
                exact = unembedding.exact(multiplied[doubtful], factor)
                settle(
                    tally, doubtful, exact, unembedding.vectors, unembedding.bias, tokens[chunk],
                    unembedding.softcap, *out,
                )  # fmt: skip

        self._over_chunks(n, project_chunk)
        if not np.isfinite(entropy).all():
            raise ModelError("Logits overflow float32: a vector or a weight is too large to project.")
        return Projection(entropy, top_ids, top_probs, ranks[:, 0], probs[:, 0], ranks[:, 1], probs[:, 1])

    def _over_chunks(self, n: int, work: Callable[[slice, Array], None]) -> None:
        """Run `work` over slices of n rows, each with a buffer of its own."""
        size = max(1, min(self.chunk_rows, -(-n // self.threads)))
        chunks = [slice(start, min(start + size, n)) for start in range(0, n, size)]

        def run(chunk: slice) -> None:
            buffer = self._buffers.get()
            try:
                work(chunk, buffer)
            finally:
                self._buffers.put(buffer)

        with single_threaded_blas():
            list((map if self.threads == 1 or len(chunks) == 1 else self._pool.map)(run, chunks))


def _with_ones(multiplied: Array) -> Array:
    """[multiplied, 1] in float32, for the constants in a factor's last row.

    A single row becomes two: BLAS takes another way for vectors, with other last digits.
    """
    left = np.ones((max(len(multiplied), 2), multiplied.shape[1] + 1), np.float32)
    left[: len(multiplied), :-1] = multiplied
    return left


def _logits_of(left: Array, factor: Factor, tokens: Array) -> Array:
    """Logits of each row's own tokens (n, 2), NaN for none."""
    ids, index = np.unique(tokens, return_inverse=True)
    columns = factor.matrix[:, ids].T.astype(np.float64)[index.reshape(tokens.shape)]
    logits = np.einsum("nk,nsk->ns", left[: len(tokens)].astype(np.float64), columns)
    return np.where(tokens < 0, np.nan, logits)


def _tiles(left: Array, factor: Factor, buffer: Array) -> Iterator[tuple[int, Array]]:
    """The logits of a chunk, tile by tile of the vocabulary, each written over the last."""
    for start in range(0, factor.matrix.shape[1], TILE):
        matrix = factor.matrix[:, start : start + TILE]
        logits = buffer[: len(left) * matrix.shape[1]].reshape(len(left), -1)
        np.matmul(left, matrix, out=logits)
        yield start, logits
