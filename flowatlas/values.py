"""Values of query parameters: from what a person wrote to a number, a text or a list, with clear errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from flowatlas.errors import UsageError, did_you_mean
from flowatlas.selection import Selection

Value = str | int | float | bool | None | list[str] | list[int] | Selection


class Spec(Protocol):
    """What a value is checked against."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def optional(self) -> bool: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...
    @property
    def choices(self) -> tuple[str, ...]: ...
    @property
    def range(self) -> str: ...


def parse_value(spec: Spec, given: object) -> Value:
    """The value of a parameter. Raises UsageError saying what it must be."""
    if given is None or (spec.optional and given == "all"):
        if spec.optional:
            return None
        raise UsageError(f"{spec.name} needs a value: {TYPES[spec.type][0]}.")
    described, parse = TYPES[spec.type]
    try:
        value = parse(given)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{spec.name} must be {described}, not '{given}'.") from error
    if spec.choices and value not in spec.choices:
        raise UsageError(f"{spec.name} cannot be '{value}'.", known=did_you_mean(str(value), spec.choices))
    for number in value if isinstance(value, list) else [value]:
        if isinstance(number, (int, float)) and not isinstance(number, bool):
            _check_range(spec, number)
    return value


def _check_range(spec: Spec, number: float) -> None:
    if (spec.low is not None and number < spec.low) or (spec.high is not None and number > spec.high):
        allowed = f"{spec.low:g} or more" if spec.high is None else f"in {spec.range}"
        raise UsageError(f"{spec.name} must be {allowed}, not {number:g}.")


def _integer(given: object) -> int:
    if isinstance(given, bool) or (isinstance(given, float) and not given.is_integer()):
        raise ValueError
    number = int(given)  # type: ignore[call-overload]
    if not -(2**63) <= number < 2**63:
        raise ValueError
    return int(number)


def _real(given: object) -> float:
    number = float(given)  # type: ignore[arg-type]
    if isinstance(given, bool) or not math.isfinite(number):
        raise ValueError
    return number


def _boolean(given: object) -> bool:
    text = str(given).lower()
    if text not in ("true", "false", "yes", "no"):
        raise ValueError
    return text in ("true", "yes")


def _text(given: object) -> str:
    if not isinstance(given, str):
        raise TypeError
    return given


def _integers(given: object) -> list[int]:
    parts = given.split(",") if isinstance(given, str) else given
    if not isinstance(parts, Sequence) or not parts:
        raise ValueError
    return [_integer(part) for part in parts]


def _selection(given: object) -> Selection:
    return given if isinstance(given, Selection) else Selection.parse(_text(given))


TYPES: Final[dict[str, tuple[str, Callable[[object], Value]]]] = {
    "int": ("a whole number", _integer),
    "float": ("a number", _real),
    "string": ("a text", _text),
    "bool": ("true or false", _boolean),
    "prompt": ("the id of a prompt (a whole number; `flowatlas query prompts` lists them)", _integer),
    "prompts": ("ids of prompts with commas between them", _integers),
    "layer": ("the number of a layer", _integer),
    "head": ("the number of a head", _integer),
    "position": ("the position of a token, from 0", _integer),
    "selection": ("a selection of prompts such as group=first,correct=true", _selection),
}
"""Types of parameters: what to call them, and how to read them."""
