"""Memory that was freed goes back to the system.

Graphs of many sizes come and go; the C library keeps the gaps between them (measured: 3.5 MB a view,
without end), unless it is told to give them back.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable


def _trimmer() -> Callable[[], object]:
    if not sys.platform.startswith("linux"):
        return lambda: None
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl does not
    return (lambda: None) if trim is None else (lambda: trim(0))


give_back = _trimmer()
"""Give freed memory back; some milliseconds."""
