"""The same tallies on a GPU, through torch: same folding, same tolerance, same decisions in float64.

Only products, exponentials, counts and the choice of candidates run there; what is in doubt comes
back and is settled as on the CPU, so that ranks and top ids do not depend on the device.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int

from flowatlas.errors import UsageError
from ingest.lens.kernels.tally import CANDIDATES, FULL, NEAR, ROUNDING, Tally, new_tally
from ingest.lens.unembedding import Factor, Unembedding

Array = np.ndarray
Device = Literal["auto", "cpu", "cuda"]

SPARE = 14  # candidates beside the top k, for those within the tolerance of the last
CHUNK_LOGITS = 2**27  # logits at once: 0.5 GB, and as much again for each step's result


def choose_device(device: Device, seconds: Callable[[Device], float]) -> Device:
    """`cpu` or `cuda`; `auto` takes the one that is faster by `seconds`, measured on the spot.

    Raises UsageError when `cuda` is asked for and there is none.
    """
    if torch.cuda.is_available():
        return min(("cpu", "cuda"), key=seconds) if device == "auto" else device
    if device == "cuda":
        raise UsageError(
            "There is no CUDA device for the lens.",
            known="torch.cuda.is_available() says no: no GPU, no driver, or a torch built for CPUs only.",
            next_step="Use --device cpu, or auto.",
        )
    return "cpu"


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
        self.chunk_rows = int(np.clip(CHUNK_LOGITS // unembedding.vocabulary, 16, 4096))

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
        rows = self._move(left[: len(tokens)])
        asked = np.full(tokens.shape, np.nan)
        for slot, column in enumerate(tokens.T):
            there = np.flatnonzero(column >= 0)
            vectors = matrix.T[self._move(column[there])].double()
            asked[there, slot] = (rows[self._move(there)].double() * vectors).sum(dim=1).cpu().numpy()
        return asked, self._tally(rows @ matrix, asked, tolerance, k)

    def both_signs(self, linear: Float[Array, "n d"], tolerance: Float[Array, " n"], k: int) -> tuple[Tally, Tally]:
        """The tallies of constant + linear part and of constant - linear part, no token asked for."""
        none = np.empty((len(linear), 0))
        logits = self._move(linear.astype(np.float32)) @ self._direct[:-1]
        constant = self._move(self._unembedding.constant_logits)
        return self._tally(constant + logits, none, tolerance, k), self._tally(constant - logits, none, tolerance, k)

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
        values, ids = (found.cpu().numpy() for found in torch.topk(logits, wanted, dim=1))
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
