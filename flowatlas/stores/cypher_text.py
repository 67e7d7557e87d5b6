"""Cypher as text: where its strings and comments are, words it may not have, numbers in place of parameters."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from flowatlas.errors import QueryError
from flowatlas.stores.base import Parameter

_PIECES: Final = re.compile(
    r"""(?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
    r"""|(?P<name>`(?:[^`]|``)*`)"""
    r"""|(?P<comment>//[^\n\r]*|/\*.*?\*/)"""
    r"""|(?P<parameter>\$[A-Za-z_][A-Za-z0-9_]*)"""
    r"""|(?P<code>[^'"`/$]+|.)""",
    re.DOTALL,
)


_CODE: Final = {"string": "''", "name": "``", "comment": " "}
"""What stands for a piece where only the code around it matters."""


def pieces(text: str) -> Iterator[tuple[str, str]]:
    """The text cut into ('string' | 'name' | 'comment' | 'parameter' | 'code', part), in order."""
    for match in _PIECES.finditer(text):
        yield str(match.lastgroup), match[0]


def parameters_in(text: str) -> set[str]:
    """Names of the parameters that the text uses."""
    return {part[1:] for kind, part in pieces(text) if kind == "parameter"}


def forbid_words(text: str, words: Sequence[str], known: str) -> str:
    """The code of `text`: strings empty, names in backticks empty, no comments. Raises QueryError.

    Refused are more than one statement, no statement at all, and any of `words` unless it is
    the name of a property (after the dot of a name) or of a label (after a colon).
    """
    code = "".join(_CODE.get(kind, part) for kind, part in pieces(text))
    if not code.strip():
        raise QueryError("The query is empty.")
    if ";" in code.rstrip().removesuffix(";"):
        raise QueryError("One statement at a time: there is a ';' inside the query.")
    found = re.search(rf"(?<![A-Za-z_:])(?<![A-Za-z_)\]`]\.)({'|'.join(words)})(?![A-Za-z0-9_])", code, re.IGNORECASE)
    if found:
        raise QueryError(
            f"{found[1].upper()} is not allowed in a question.",
            known=known,
            next_step=f"A name of yours that reads like it goes into backticks: `{found[1]}`.",
        )
    return code


def without_quotes(text: str) -> str:
    """`text` with empty strings, no comments, and names without their backticks."""
    return "".join(part.strip("`") if kind == "name" else _CODE.get(kind, part) for kind, part in pieces(text))


def with_numbers(text: str, parameters: Mapping[str, Parameter]) -> tuple[str, dict[str, Parameter]]:
    """`text` with numbers and booleans in place of their `$name`, and the parameters that are left.

    The embedded store skips whole blocks of rows on a comparison with a literal but not with a
    parameter (32 ms versus 2.4 s), and fails on parameters inside all(...).
    """
    used: set[str] = set()
    out = []
    for kind, part in pieces(text):
        literal = _literal(parameters.get(part[1:])) if kind == "parameter" else None
        if kind == "parameter" and literal is None:
            used.add(part[1:])
        out.append(part if literal is None else literal)
    return "".join(out), {name: value for name, value in parameters.items() if name in used}


def _literal(value: Parameter) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value) if value >= 0 else f"({value})"
    if isinstance(value, float) and math.isfinite(value):
        return repr(value) if value >= 0 else f"({value!r})"
    return None
