"""The one family of errors: what was wrong, what is known, what to do next.

Every error that a person can cause is a `FlowatlasError`. The command line prints its message
without a traceback and leaves with its `exit_code`; everything else is a defect of ours.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class FlowatlasError(Exception):
    """A failure with a message for people.

    `problem` says what was wrong, `known` what would have been right (may be empty) and
    `next_step` what to do about it (may be empty).
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, problem: str, *, known: str = "", next_step: str = "") -> None:
        self.problem = problem
        self.known = known
        self.next_step = next_step
        super().__init__("\n".join(part for part in (problem, known, next_step) if part))


class UsageError(FlowatlasError):
    """A command, option, query name or parameter that does not exist or cannot have that value."""

    exit_code: ClassVar[int] = 2


class InputError(FlowatlasError):
    """A prompts file or one of its lines cannot be read."""


class ModelError(FlowatlasError):
    """A model cannot be loaded, or its description does not fit it."""


class StoreError(FlowatlasError):
    """A store cannot be opened, read or written."""


class StoreBusyError(StoreError):
    """Another process is writing to the store."""


class SchemaVersionError(StoreError):
    """The store or shard was written with another version of the schema."""


class ShardError(FlowatlasError):
    """A shard is incomplete or its bytes have changed."""


class QueryError(FlowatlasError):
    """A query could not be run: syntax, a forbidden operation, a limit, an empty selection."""


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """A sentence naming the closest of `known` to `given`, and all of them when nothing is close."""
    names = sorted(known)
    close = difflib.get_close_matches(given, names, n=1, cutoff=0.55)
    if close:
        return f"Did you mean '{close[0]}'?"
    return f"Known: {', '.join(names)}." if names else ""
