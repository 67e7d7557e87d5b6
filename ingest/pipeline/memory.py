"""What an ingest takes of memory: watched while it runs, so that lens and store take turns where it is short."""

from __future__ import annotations

from threading import Event, Thread
from types import TracebackType
from typing import Final, Self

import psutil

_SECONDS: Final = 0.2


class MemoryWatch:
    """The most memory that this process has taken beyond what it held when the watch began.

    Files that are mapped (a model's weights, libraries) are left out: the system takes them back when it needs to.
    """

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._end = Event()
        self._thread = Thread(target=self._watch, name="memory", daemon=True)
        self._before = self._held()
        self.most = 0

    def _held(self) -> int:
        memory = self._process.memory_info()
        return int(memory.rss) - int(getattr(memory, "shared", 0))  # what is shared is told on Linux alone

    def _watch(self) -> None:
        while not self._end.wait(_SECONDS):
            self.most = max(self.most, self._held() - self._before)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
