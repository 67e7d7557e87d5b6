"""One BLAS thread a call while our own threads share the rows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from threadpoolctl import ThreadpoolController


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


class _Limit:
    """The limit is one of the process: the first user sets it, the last of several lifts it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._limiter: Any = None

    def enter(self) -> None:
        with self._lock:
            if self._users == 0:
                self._limiter = _controller().limit(limits=1, user_api="blas")
            self._users += 1

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._limiter.restore_original_limits()


_limit = _Limit()


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Limit numpy's BLAS to one thread (torch has its own)."""
    _limit.enter()
    try:
        yield
    finally:
        _limit.leave()
