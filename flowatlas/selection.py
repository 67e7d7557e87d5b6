"""A selection of prompts: by dataset, group, correctness, model, role, pair, or a part of the text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

from flowatlas.errors import UsageError, did_you_mean
from flowatlas.stores.base import Parameter


@dataclass(frozen=True)
class Selection:
    """Which prompts; what is None does not restrict. An empty selection is every complete prompt."""

    dataset: str | None = None
    group: str | None = None
    correct: bool | None = None
    model: str | None = None
    text: str | None = None
    role: str | None = None

    @classmethod
    def of(cls, given: Mapping[str, object]) -> Self:
        """From values as a person writes them. Raises UsageError."""
        for name in given:
            if name not in FIELDS:
                raise UsageError(f"Prompts cannot be chosen by '{name}'.", known=did_you_mean(name, FIELDS))
        values: dict[str, object] = {name: value for name, value in given.items() if value is not None}
        if "correct" in values:
            values["correct"] = _boolean("correct", values["correct"])
        return cls(**{name: value if name == "correct" else str(value) for name, value in values.items()})  # type: ignore[arg-type]

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `field=value,field=value`; `all` chooses every prompt. Raises UsageError."""
        if text.strip() in ("", "all"):
            return cls()
        given: dict[str, object] = {}
        for part in text.split(","):
            name, equals, value = part.partition("=")
            if not equals:
                raise UsageError(
                    f"'{part}' is not a selection of prompts.",
                    known=f"It is field=value, several with commas; fields: {', '.join(FIELDS)}.",
                )
            given[name.strip()] = value.strip()
        return cls.of(given)

    @property
    def given(self) -> dict[str, str | bool]:
        """What restricts."""
        return {name: getattr(self, name) for name in FIELDS if getattr(self, name) is not None}

    def __str__(self) -> str:
        shown = {n: str(v).lower() if isinstance(v, bool) else v for n, v in self.given.items()}
        return ",".join(f"{name}={value}" for name, value in shown.items()) or "all"

    def conditions(self, variable: str, *, prefix: str = "only_") -> tuple[str, dict[str, Parameter]]:
        """Cypher that goes on after a condition on the Prompt `variable`, and its parameters.

        Parameters get a prefix: some names of fields are words of Cypher.
        """
        texts = {
            "text": f"{variable}.text CONTAINS $",
            **{name: f"{variable}.`{name}` = $" for name in FIELDS if name != "text"},
        }
        text = " ".join(f"AND {texts[name]}{prefix}{name}" for name in self.given)
        return text, {f"{prefix}{name}": value for name, value in self.given.items()}


FIELDS: tuple[str, ...] = tuple(f.name for f in fields(Selection))


def _boolean(name: str, value: object) -> bool:
    text = str(value).lower()
    if text not in ("true", "false", "yes", "no", "1", "0"):
        raise UsageError(f"{name} must be true or false, not '{value}'.")
    return text in ("true", "yes", "1")
