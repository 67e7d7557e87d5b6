"""The same tallies on a GPU, through torch: same folding, same tolerance, same decisions in float64.

Only products, exponentials, counts and the choice of candidates run there; what is in doubt comes
back and is settled as on the CPU, so that ranks and top ids do not depend on the device.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int

from flowatlas.errors import UsageError
from ingest.lens.kernels.ranks import Windows
from ingest.lens.kernels.tally import CANDIDATES, FULL, NEAR, ROUNDING, Tally, new_tally
from ingest.lens.unembedding import Factor, Unembedding

Array = np.ndarray
Device = Literal["auto", "cpu", "cuda"]

SPARE = 14  # candidates beside the top k, for those within the tolerance of the last
BLOCK = 64  # tokens whose greatest logit is found first
CHUNK_LOGITS = 2**26  # logits at once: 0.27 GB, and each step's result takes about as much again
RESULTS = 8
LANES = 2  # threads that use the device at once: one copies and settles while the other's kernels run


def check_device(device: Device) -> None:
    """Raise UsageError when `cuda` is asked for and there is none."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            "There is no CUDA device.",
            known="torch.cuda.is_available() says no: no GPU, no driver, or a torch built for CPUs only.",
            next_step="Use --device cpu, or auto.",
        )


def choose_device(device: Device, seconds: Callable[[Device], float]) -> Device:
    """`cpu` or `cuda`; `auto` takes the one that is faster by `seconds`, measured on the spot.

    A GPU whose memory is too small for the work is not taken. Raises UsageError when `cuda` is asked
    for and there is none.
    """
    check_device(device)
    if device != "auto" or not torch.cuda.is_available():
        return "cuda" if device == "cuda" else "cpu"
    try:
        on_gpu = seconds("cuda")
    except torch.OutOfMemoryError:
        return "cpu"
    return "cuda" if on_gpu < seconds("cpu") else "cpu"


def fits(size: int) -> bool:
    """Whether the GPU has room for `size` bytes beside what the lens needs."""
    free, _ = torch.cuda.mem_get_info()
    return size + 4 * CHUNK_LOGITS * RESULTS * LANES < free


def least_seconds(work: Callable[[], object], rounds: int = 3) -> float:
    """Least seconds of some runs after one that warms up."""
    work()
    found = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return min(found)


class DeviceTallies:
    """Tallies made on a torch device."""

    def __init__(self, unembedding: Unembedding, device: str) -> None:
        self._unembedding = unembedding
        self._device = torch.device(device)
        self._direct = self._move(unembedding.direct.matrix)
        self._lanes = threading.Semaphore(LANES)
        logits = CHUNK_LOGITS
        if self._device.type == "cuda":
            logits = min(logits, torch.cuda.mem_get_info()[0] // (4 * RESULTS * LANES))
        self.chunk_rows = int(np.clip(logits // unembedding.vocabulary, 16, 4096))

    def factors(self, circuits: Sequence[Float[Array, "d_in d"]]) -> list[Factor]:
        """Factors whose matrices lie on the device: made so quickly there that none is kept."""
        made = []
        for circuit in circuits:
            matrix = self._move(self._unembedding.folded_rows(circuit)) @ self._direct[:-1]
            matrix[-1] += self._direct[-1]
            made.append(self._unembedding.fold(circuit, matrix))
        return made

    def of(
        self,
        left: Float[Array, "m d_1"],
        factor: Factor,
        tokens: Int[Array, "n s"],
        tolerance: Float[Array, " n"],
        k: int,
    ) -> tuple[Float[Array, "n s"], Tally]:
        """Logits of each row's tokens, and the tally of left @ matrix."""
        matrix: torch.Tensor = self._direct if factor.folded is None else factor.matrix
        asked = np.full(tokens.shape, np.nan)
        with self._lanes:
            rows = self._move(left[: len(tokens)])
            for slot, column in enumerate(tokens.T):
                there = np.flatnonzero(column >= 0)
                vectors = matrix.T[self._move(column[there])].double()
                asked[there, slot] = (rows[self._move(there)].double() * vectors).sum(dim=1).cpu().numpy()
            return asked, self._tally(rows @ matrix, asked, tolerance, k)

    def both_signs(self, linear: Float[Array, "n d"], tolerance: Float[Array, " n"], k: int) -> tuple[Tally, Tally]:
        """The tallies of constant + linear part and of constant - linear part, no token asked for."""
        none = np.empty((len(linear), 0))
        with self._lanes:
            logits, constant = self._linear(linear)
            up = self._tally(constant + logits, none, tolerance, k)
            return up, self._tally(constant - logits, none, tolerance, k)

    def count(self, linear: Float[Array, "n d"], up: Windows, down: Windows) -> None:
        """Count the logits of constant + linear part and of constant - linear part in windows of tokens."""
        with self._lanes:
            logits, constant = self._linear(linear)
            self._count_windows(up, constant + logits)
            self._count_windows(down, constant - logits)

    def _linear(self, linear: Float[Array, "n d"]) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self._move(linear.astype(np.float32)) @ self._direct[:-1]
        return logits, self._move(self._unembedding.constant_logits)

    def _move(self, array: Array) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)

    def _tally(self, logits: torch.Tensor, asked: Float[Array, "n s"], tolerance: Float[Array, " n"], k: int) -> Tally:
        tally = new_tally(asked, tolerance)
        self._choose(tally, logits, k)
        self._weigh(tally, logits)
        for slot in range(asked.shape[1]):
            self._count(tally, logits, slot)
        return tally

    def _choose(self, tally: Tally, logits: torch.Tensor, k: int) -> None:
        """Candidates for the top k; rows with more equals than fit are left to float64."""
        wanted = min(logits.shape[1], k + SPARE, CANDIDATES)
        values, ids = (found.cpu().numpy() for found in _greatest(logits, wanted))
        tally.values[:, :wanted], tally.ids[:, :wanted], tally.n_candidates[:] = values, ids, wanted
        if wanted < logits.shape[1]:
            tally.floor[:] = values[:, -1]
            last = values[:, k - 1]
            tally.doubt[values[:, -1] >= last - tally.tolerance - ROUNDING * np.abs(last)] = FULL
        else:
            tally.floor[:] = values.min(axis=1)

    def _weigh(self, tally: Tally, logits: torch.Tensor) -> None:
        cap = self._unembedding.softcap
        capped = cap * torch.tanh(logits / cap) if cap else logits
        shift = capped.amax(dim=1, keepdim=True)
        y = (capped - shift) * math.log2(math.e)
        powers = torch.exp2(y)
        tally.shift[:] = shift[:, 0].cpu().numpy()
        tally.total[:] = powers.sum(dim=1, dtype=torch.float64).cpu().numpy()
        tally.weighted[:] = (powers * y).sum(dim=1, dtype=torch.float64).cpu().numpy()

    def _count(self, tally: Tally, logits: torch.Tensor, slot: int) -> None:
        low, high = self._move(tally.low[:, [slot]]), self._move(tally.high[:, [slot]])
        above = (logits > high).sum(dim=1)
        close = (logits >= low).sum(dim=1) - above
        tally.above[:, slot], tally.n_near[:, slot] = above.cpu().numpy(), close.cpu().numpy()
        n_near = tally.n_near[:, slot]
        doubtful = np.flatnonzero((n_near > 1) & (n_near <= NEAR))
        if not doubtful.size:
            return
        at = self._move(doubtful)
        inside = (logits[at] >= low[at]) & (logits[at] <= high[at])
        row, token = (found.cpu().numpy() for found in inside.nonzero(as_tuple=True))
        place = np.arange(len(row)) - np.searchsorted(row, row)
        tally.near[doubtful[row], slot, place] = token

    def _count_windows(self, windows: Windows, logits: torch.Tensor) -> None:
        """Each logit belongs to the segment after the ends that it has reached; see `kernels.ranks`."""
        segment = torch.searchsorted(self._move(windows.ends), logits, right=True)
        counts = torch.zeros(windows.counts.shape, dtype=torch.int32, device=self._device)
        counts.scatter_add_(1, segment, torch.ones_like(segment, dtype=torch.int32))
        windows.counts[:] = counts.cpu().numpy()
        inside = self._move(windows.cover).gather(1, segment) > 0
        at = inside.nonzero(as_tuple=True)
        row, token, where = (found.cpu().numpy() for found in (*at, segment[at]))
        windows.n_near[:] = np.bincount(row, minlength=len(logits))
        place = np.arange(len(row)) - np.searchsorted(row, row)
        noted = place < windows.near.shape[1]  # rows with more are done wholly in float64
        windows.near[row[noted], place[noted]] = token[noted]
        windows.segment[row[noted], place[noted]] = where[noted]


def _greatest(logits: torch.Tensor, wanted: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The `wanted` greatest of each row and their columns, the greatest first.

    They lie in the `wanted` blocks with the greatest maxima: any other block's logits are exceeded
    (or equalled) by that many maxima. So only a small part of a large vocabulary is searched.
    """
    n, vocabulary = logits.shape
    blocks = vocabulary // BLOCK
    if blocks < 4 * wanted:
        found = torch.topk(logits, wanted, dim=1)
        return found.values, found.indices
    whole = logits[:, : blocks * BLOCK].unflatten(1, (blocks, BLOCK))
    chosen = torch.topk(whole.amax(dim=2), wanted, dim=1).indices
    inside = torch.arange(BLOCK, device=logits.device)
    rest = torch.arange(blocks * BLOCK, vocabulary, device=logits.device).expand(n, -1)
    columns = torch.cat([(chosen[:, :, None] * BLOCK + inside).flatten(1), rest], dim=1)
    found = torch.topk(logits.gather(1, columns), wanted, dim=1)
    return found.values, columns.gather(1, found.indices)
