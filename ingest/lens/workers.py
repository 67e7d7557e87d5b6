"""Threads that share chunks of rows, each with one reused buffer and BLAS on one thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

import numpy as np

from ingest.lens.blas import single_threaded_blas

Array = np.ndarray
Task = TypeVar("Task")
Result = TypeVar("Result")


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Workers:
    """At most `threads` tasks at once over all callers; memory is that many buffers of `size` float32."""

    def __init__(self, threads: int, size: int) -> None:
        self.threads = threads
        self._size = size
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="lens")
        self._buffers: SimpleQueue[Array] = SimpleQueue()
        for _ in range(threads):
            self._buffers.put(np.empty(0, np.float32))

    def run(self, work: Callable[[Task, Array], Result], tasks: Iterable[Task]) -> list[Result]:
        """`work(task, buffer)` of every task, in order."""

        def one(task: Task) -> Result:
            buffer = self._buffers.get()
            try:
                if not buffer.size:
                    buffer = np.empty(self._size, np.float32)
                return work(task, buffer)
            finally:
                self._buffers.put(buffer)

        waiting = list(tasks)
        with single_threaded_blas():
            if self.threads == 1 or len(waiting) == 1:
                return [one(task) for task in waiting]
            return list(self._pool.map(one, waiting))
