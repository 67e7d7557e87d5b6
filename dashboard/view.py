"""What the page shows, as the address bar holds it: parsed, checked, never trusted.

A bad address never breaks the page: every value that cannot be used falls back to its default and
is named in `problems`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

TABS: Final = ("graph", "prompts", "heads", "neurons", "compare", "queries", "cypher")
SCORES: Final = ("coefficient", "norm", "contribution")
COLOURS: Final = ("target", "foil", "entropy", "contribution")
HEADS: Final = ("all", "norm", "contribution")
PARTS: Final = ("mlp", "attention", "qk")

_RANGE: Final = re.compile(r"^(\d{1,3})-(\d{1,3})$")
_MAXIMUM: Final = {"positive": 40, "negative": 40, "memories": 30, "head_count": 64}


@dataclass(frozen=True)
class GraphView:
    """One graph on the page. `layers` is None for the summary of the whole model."""

    prompt: int | None = None
    layers: tuple[int, int] | None = None
    positive: int = 12
    negative: int = 6
    memories: int = 3
    heads: Literal["all", "norm", "contribution"] = "all"
    head_count: int = 4
    score: Literal["coefficient", "norm", "contribution"] = "coefficient"
    hide: tuple[str, ...] = ()
    expanded: tuple[str, ...] = ()
    problems: tuple[str, ...] = field(default=(), compare=False)

    def clamped(self, n_layer: int) -> GraphView:
        """The same view within a model of `n_layer` layers."""
        if self.layers is None or self.layers[1] < n_layer:
            return self
        first, last = (min(layer, n_layer - 1) for layer in self.layers)
        said = f"This model has layers 0 to {n_layer - 1}; showing {first} to {last}."
        return replace(self, layers=(first, last), problems=(*self.problems, said))


def parse_graph(request: Mapping[str, Any] | None) -> GraphView:
    """A graph view from what the page asks for (keys as in the address: p, l, pos, neg, mem, ...)."""
    given = dict(request or {})
    problems: list[str] = []
    values: dict[str, Any] = {
        "prompt": _whole(given, "p", problems, 0, 2**53),
        "layers": _layers(given.get("l"), problems),
        "hide": tuple(part for part in _words(given.get("hide")) if part in PARTS),
        "expanded": tuple(word for word in _words(given.get("x")) if re.fullmatch(r"[a-z]?\d{1,16}", word))[:40],
    }
    for name, key in (("positive", "pos"), ("negative", "neg"), ("memories", "mem"), ("head_count", "hn")):
        values[name] = _whole(given, key, problems, 0, _MAXIMUM[name])
    for name, key, choices in (("heads", "heads", HEADS), ("score", "score", SCORES)):
        values[name] = _choice(given, key, choices, problems)
    given_values = {name: value for name, value in values.items() if value is not None}
    return replace(GraphView(), **given_values, problems=tuple(problems))


def defaults() -> dict[str, Any]:
    """Every key of the address with its default, for the page's scripts."""
    view = GraphView()
    return {
        "tab": "graph",
        "p": None,
        "l": "all",
        "pos": view.positive,
        "neg": view.negative,
        "mem": view.memories,
        "heads": view.heads,
        "hn": view.head_count,
        "score": view.score,
        "hide": "",
        "x": "",
        "color": "target",
        "keys": "token",
        "theme": "",
        "sel": "",
        "a": None,
        "b": None,
        "cl": "all",
        "cm": "prompts",
        "q": "",
        "qp": "",
        "cy": "",
        "hm": "promotes",
        "hs": "",
        "f": "",
    }


def _words(value: Any) -> list[str]:
    return [word for word in str(value or "").split(",") if word]


def _whole(given: Mapping[str, Any], key: str, problems: list[str], least: int, most: int) -> int | None:
    value = given.get(key)
    if value is None or value == "":
        return None
    try:
        number = int(str(value))
    except ValueError:
        problems.append(f"'{key}={str(value)[:40]}' in the address is not a whole number; ignored.")
        return None
    if not least <= number <= most:
        problems.append(f"'{key}={number}' in the address is outside {least} to {most}; ignored.")
        return None
    return number


def _layers(value: Any, problems: list[str]) -> tuple[int, int] | None:
    if value in (None, "", "all"):
        return None
    match = _RANGE.match(str(value))
    if match is None or int(match[1]) > int(match[2]):
        problems.append(f"'l={str(value)[:40]}' in the address is not a range of layers such as 2-3; showing the summary.")
        return None
    return int(match[1]), int(match[2])


def _choice(given: Mapping[str, Any], key: str, choices: tuple[str, ...], problems: list[str]) -> str | None:
    value = given.get(key)
    if value in (None, ""):
        return None
    if value not in choices:
        problems.append(f"'{key}={str(value)[:40]}' in the address is none of {', '.join(choices)}; ignored.")
        return None
    return str(value)
