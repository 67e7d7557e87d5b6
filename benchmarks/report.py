"""How a measurement is reported: one line each, with the limit that it is held to.

A module of this folder prints such lines (and whatever else people want to read) to stdout:

    ratio | lens / matrix product, all cores | 1.42 | at most 1.7
"""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self

_LINE: Final = re.compile(r"^ratio \| (?P<name>[^|]+) \| (?P<value>[^|]+) \|(?P<limit>[^|]*)$")
_LIMIT: Final = re.compile(r"^at (?P<side>most|least) (?P<bound>\S+)$")


@dataclass(frozen=True)
class Ratio:
    """A measured number and what it must be, if anything."""

    name: str
    value: float
    side: Literal["most", "least"] | None = None
    bound: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the number keeps its limit."""
        if self.bound is None:
            return True
        return self.value <= self.bound if self.side == "most" else self.value >= self.bound

    def __str__(self) -> str:
        limit = "" if self.bound is None else f"at {self.side} {self.bound:g}"
        return f"ratio | {self.name} | {self.value:.4g} | {limit}"

    @classmethod
    def read(cls, line: str) -> Self | None:
        """The ratio that a line of output says, or None for any other line."""
        found = _LINE.match(line.rstrip())
        if not found:
            return None
        limit = _LIMIT.match(found["limit"].strip())
        side: Literal["most", "least"] | None = None
        if limit:
            side = "most" if limit["side"] == "most" else "least"
        return cls(found["name"].strip(), float(found["value"]), side, float(limit["bound"]) if limit else None)


def ratio(name: str, value: float, *, at_most: float | None = None, at_least: float | None = None) -> Ratio:
    """Print one measured number with its limit, and return it."""
    side: Literal["most", "least"] | None = None
    if at_most is not None:
        side = "most"
    elif at_least is not None:
        side = "least"
    measured = Ratio(name, value, side, at_most if at_most is not None else at_least)
    print(measured, flush=True)
    return measured


def machine() -> str:
    """The machine in one line: processor, cores, memory."""
    import psutil

    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        model = names[0] if names else model
    except OSError:
        pass
    memory = psutil.virtual_memory().total / 1e9
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GB, Python {platform.python_version()}"
