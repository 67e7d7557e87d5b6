"""Factors of circuits: made for many heads by one GEMM, kept where the user allows the space.

A factor of a head of 64 numbers and 50,257 tokens takes 13 MB; the circuits of GPT-2 small 3.7 GB.
Small models' factors stay in memory, larger ones go to a folder (memory-mapped) when one is given,
under the model's fingerprint; what fits neither is made again for every batch.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ingest.cache_files import keep
from ingest.lens.tiles import TILE
from ingest.lens.unembedding import Factor, Unembedding
from ingest.lens.workers import Workers

Array = np.ndarray

MEMORY_BYTES = 64 * 2**20
"""Matrices kept in memory, all circuits together: those of a small model. Where they do not all fit none is kept."""


class Factors:
    """Makes factors, and keeps those with a name. `folder` holds up to `disk_bytes`."""

    def __init__(self, unembedding: Unembedding, workers: Workers, folder: Path | None, disk_bytes: int) -> None:
        self._unembedding = unembedding
        self._workers = workers
        self._folder = folder
        there = [] if folder is None else [file.stat().st_size for file in folder.glob("*.npy")]
        self._disk_left = disk_bytes - sum(there)
        self._memory_left = MEMORY_BYTES
        self._kept: dict[str, Array] = {}
        self._spaces: deque[Array] = deque(maxlen=2)
        self._lock = threading.Lock()

    @contextmanager
    def of(self, circuits: Sequence[Float[Array, "d_in d"]], names: Sequence[str | None]) -> Iterator[list[Factor]]:
        """The factors of circuits, those that are not kept by one GEMM together. Not to be used afterwards."""
        matrices = [self._find(name) for name in names]
        missing = [number for number, matrix in enumerate(matrices) if matrix is None]
        size = sum(len(circuits[number]) + 1 for number in missing) * self._unembedding.vocabulary
        space = self._space(size)
        try:
            made = self._make([circuits[number] for number in missing], space)
            for number, matrix in zip(missing, made, strict=True):
                matrices[number] = self._keep(names[number], matrix)
            yield [
                self._unembedding.fold(circuit, matrix)
                for circuit, matrix in zip(circuits, matrices, strict=True)
                if matrix is not None
            ]
        finally:
            if space.size:
                self._spaces.append(space)

    def _space(self, size: int) -> Array:
        """Memory for matrices, that of the last ones if it is large enough: fresh memory is slow to touch."""
        try:
            space = self._spaces.pop() if size else np.empty(0, np.float32)
        except IndexError:
            space = np.empty(0, np.float32)
        return space if space.size >= size else np.empty(size, np.float32)

    def _make(self, circuits: Sequence[Array], space: Array) -> list[Array]:
        if not circuits:
            return []
        rows = [self._unembedding.folded_rows(circuit) for circuit in circuits]
        left, vocabulary = np.vstack(rows), self._unembedding.vocabulary
        direct = self._unembedding.direct.matrix
        matrices = space[: len(left) * vocabulary].reshape(len(left), vocabulary)

        def multiply(columns: slice, _: Array) -> None:
            np.matmul(left, direct[:-1, columns], out=matrices[:, columns])

        self._workers.run(multiply, [slice(start, start + TILE) for start in range(0, vocabulary, TILE)])
        ends = np.cumsum([len(part) for part in rows])
        matrices[ends - 1] += direct[-1]
        return np.split(matrices, ends[:-1])

    def _find(self, name: str | None) -> Array | None:
        if name is None:
            return None
        with self._lock:
            if name in self._kept:
                return self._kept[name]
        file = None if self._folder is None else self._folder / f"{name}.npy"
        if file is None or not file.exists():
            return None
        try:
            matrix: Array = np.load(file, mmap_mode="r")
        except (OSError, ValueError, EOFError):  # damaged by a machine that stopped: it is made again
            return None
        if matrix.dtype != np.float32 or matrix.shape[1] != self._unembedding.vocabulary:
            return None
        with self._lock:
            self._kept[name] = matrix
        return matrix

    def _keep(self, name: str | None, matrix: Array) -> Array:
        if name is None:
            return matrix
        with self._lock:
            if matrix.nbytes <= self._memory_left:
                self._memory_left -= matrix.nbytes
                self._kept[name] = matrix.copy()
                return self._kept[name]
            self._let_go()
            if self._folder is None:
                return matrix
            damaged = self._folder / f"{name}.npy"  # or it would have been found
            if damaged.exists():
                self._disk_left += damaged.stat().st_size
            if matrix.nbytes > self._disk_left:
                return matrix
            self._disk_left -= matrix.nbytes
        keep(self._folder / f"{name}.npy", lambda stream: np.save(stream, matrix))
        return matrix

    def _let_go(self) -> None:
        """Keep nothing in memory from here on: the few that fitted would save next to nothing."""
        self._memory_left = 0
        self._kept = {name: matrix for name, matrix in self._kept.items() if isinstance(matrix, np.memmap)}
