"""Named queries: the files of `cypher/queries`, read, checked, and resolved for a store.

A file is Cypher that runs as it is, under a header of comments:

    // top_neurons
    // One line that says what the query answers.
    //
    // A longer text.
    //
    // topic: neurons
    // parameters:
    //   prompt: prompt - the prompt
    //   neurons: int = 10, 1..1000 - how many a matrix
    //   layer: layer? = all, 0.. - only this layer
    // columns:
    //   layer - layer of the neuron

Two comments inside the text are filled in by `resolve`: `/* selection of p */` by the conditions of
the selection of prompts (`/* selection a of p */` by those of the parameter `a`), and
`/* if layer: AND n.layer = $layer */` by its own text when that parameter is given. Where a store
needs another text, `cypher/queries/<dialect>/<name>.cypher` holds it, without a header.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final

from flowatlas.errors import FlowatlasError, UsageError, did_you_mean
from flowatlas.resources import resource
from flowatlas.selection import FIELDS, Selection
from flowatlas.stores.base import Dialect, Parameter
from flowatlas.values import TYPES, Value, parse_value

_MARKER: Final = re.compile(
    r"/\*\s*(?:selection(?: (?P<which>\w+))? of (?P<of>\w+)|if (?P<given>\w+): (?P<text>.*?))\s*\*/", re.DOTALL
)
_PARAMETER: Final = re.compile(
    r"^(?P<name>\w+): (?P<type>\w+)(?P<optional>\?)?(?: = (?P<default>.*?))?"
    r"(?:, (?P<low>-?[\d.]+?)?\.\.(?P<high>-?[\d.]+)?)?(?:, one of (?P<choices>[\w |-]+?))? - (?P<doc>.+)$"
)
_USED: Final = re.compile(r"\$(\w+)")


@dataclass(frozen=True)
class ParameterSpec:
    """A parameter of a query: its name, type, default, range and meaning."""

    name: str
    type: str
    doc: str
    required: bool = True
    optional: bool = False
    default: Value = None
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def signature(self) -> str:
        """Type, default and range as a person reads them, such as `int = 10, 1..50`."""
        default = "" if self.required else f" = {'all' if self.default is None else str(self.default)}"
        return f"{self.type}{default}" + (f", {self.range}" if self.range else "")

    @property
    def range(self) -> str:
        """The range as text, such as `1..50`; empty when there is none."""
        if self.choices:
            return " | ".join(self.choices)
        return "" if self.low is None and self.high is None else f"{_number(self.low)}..{_number(self.high)}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


@dataclass(frozen=True)
class ColumnSpec:
    """A column of a query's answer."""

    name: str
    doc: str


@dataclass(frozen=True)
class Resolved:
    """A query's text for one store, and the values of the parameters that the text uses."""

    name: str
    dialect: Dialect
    text: str
    parameters: dict[str, Parameter]


@dataclass(frozen=True)
class Query:
    """A named query."""

    name: str
    title: str
    doc: str
    topic: str
    parameters: tuple[ParameterSpec, ...]
    columns: tuple[ColumnSpec, ...]
    texts: Mapping[str, str] = field(repr=False)
    file: Path = field(repr=False)

    @property
    def selects(self) -> bool:
        """Whether the query takes a selection of prompts (dataset, group, correct, model, text ...)."""
        return any(match["of"] and not match["which"] for match in _MARKER.finditer(self.texts["ladybug"]))

    @property
    def known(self) -> tuple[str, ...]:
        """Names of everything that can be given."""
        return (*(p.name for p in self.parameters), *(FIELDS if self.selects else ()))

    def values(self, given: Mapping[str, object], *, partial: bool = False) -> dict[str, Value]:
        """Every parameter with its value, parsed and checked. Raises UsageError naming what is wrong."""
        for name in given:
            if name not in self.known:
                raise UsageError(
                    f"The query '{self.name}' has no parameter '{name}'.",
                    known=did_you_mean(name, self.known),
                    next_step=f"See `flowatlas query {self.name} --describe`." if self.known else "It has none.",
                )
        missing = [p for p in self.parameters if p.required and given.get(p.name) is None]
        if missing and not partial:
            raise UsageError(
                f"The query '{self.name}' needs {' and '.join(p.name for p in missing)}.",
                known="; ".join(f"{p.name}: {p.doc}" for p in missing),
                next_step=f"Give {' '.join(f'-p {p.name}=...' for p in missing)}.",
            )
        return {p.name: parse_value(p, given[p.name]) if p.name in given else p.default for p in self.parameters}

    def selection(self, given: Mapping[str, object]) -> Selection:
        """The selection of prompts among what was given. Raises UsageError."""
        return Selection.of({name: given[name] for name in FIELDS if name in given}) if self.selects else Selection()

    def resolve(self, dialect: Dialect, given: Mapping[str, object], *, partial: bool = False) -> Resolved:
        """The text for a store with everything filled in; with `partial` required parameters may be missing.

        Raises UsageError.
        """
        values = self.values(given, partial=partial)
        selections = {name: value for name, value in values.items() if isinstance(value, Selection)}
        parameters: dict[str, Parameter] = {
            n: v for n, v in values.items() if not isinstance(v, Selection) and v is not None
        }

        def fill(match: re.Match[str]) -> str:
            if match["given"]:
                return match["text"] if values[match["given"]] is not None else ""
            which = match["which"]
            chosen = selections.get(which, Selection()) if which else self.selection(given)
            conditions, more = chosen.conditions(match["of"], prefix=f"{which}_" if which else "only_")
            parameters.update(more)
            return conditions

        text = _MARKER.sub(fill, self.texts.get(dialect, self.texts["ladybug"]))
        text = "\n".join(line.rstrip() for line in text.splitlines() if line.strip())
        used = set(_USED.findall(text))
        return Resolved(self.name, dialect, text, {n: v for n, v in parameters.items() if n in used})


class Catalogue:
    """All named queries of a folder, by name."""

    def __init__(self, folder: Path) -> None:
        """Read `folder`. Raises FlowatlasError on a file that breaks the rules, naming it."""
        self.queries = {file.stem: read_query(file) for file in sorted(folder.glob("*.cypher"))}
        for other in folder.glob("*/*.cypher"):
            if other.stem not in self.queries:
                raise FlowatlasError(f"{other} is a text for a query that does not exist.")

    def get(self, name: str) -> Query:
        """The query of that name. Raises UsageError with the closest name."""
        if name not in self.queries:
            raise UsageError(
                f"There is no query '{name}'.",
                known=did_you_mean(name, self.queries),
                next_step="`flowatlas query` lists them all.",
            )
        return self.queries[name]


@lru_cache(maxsize=1)
def catalogue() -> Catalogue:
    """The named queries that ship with flowatlas."""
    return Catalogue(resource("cypher") / "queries")


def resolve(name: str, dialect: Dialect, parameters: Mapping[str, object]) -> Resolved:
    """The text of a named query for a store, with its parameters. Raises UsageError."""
    return catalogue().get(name).resolve(dialect, parameters)


def read_query(file: Path) -> Query:
    """One file as a query. Raises FlowatlasError when its header or its text breaks the rules."""
    header, text = _parted(file)
    problem = f"{file} is not a named query"
    if len(header) < 3 or header[0] != file.stem or not header[1] or header[2]:
        raise FlowatlasError(f"{problem}: its header starts with its name, one line, and an empty line.")
    blocks = _blocks(header[3:])
    unknown = set(blocks) - {"doc", "topic", "parameters", "columns"}
    if unknown or "topic" not in blocks or not blocks.get("columns"):
        raise FlowatlasError(f"{problem}: it must have a topic and columns, and nothing but parameters beside them.")
    parameters = tuple(_parameter(line, problem) for line in blocks.get("parameters", []))
    columns = tuple(_column(line, problem) for line in blocks["columns"])
    texts = {"ladybug": text}
    for dialect in ("ladybug", "neo4j"):
        overlay = file.parent / dialect / file.name
        if overlay.is_file():
            texts[dialect] = overlay.read_text("utf-8").strip()
    query = Query(
        file.stem, header[1], "\n".join(blocks["doc"]).strip(), blocks["topic"][0], parameters, columns, texts, file
    )
    _check_names(query, problem)
    return query


def _parted(file: Path) -> tuple[list[str], str]:
    lines = file.read_text("utf-8").splitlines()
    end = next((i for i, line in enumerate(lines) if not line.startswith("//")), len(lines))
    return [line[2:].removeprefix(" ").rstrip() for line in lines[:end]], "\n".join(lines[end:]).strip()


def _blocks(lines: list[str]) -> dict[str, list[str]]:
    """The rest of a header: free text under `doc`, then `topic`, `parameters` and `columns`."""
    blocks: dict[str, list[str]] = {"doc": []}
    current = "doc"
    for line in lines:
        start = re.match(r"^(topic|parameters|columns):\s*(.*)$", line)
        if start:
            current = start[1]
            blocks[current] = [start[2]] if start[2] else []
        elif current == "doc":
            blocks["doc"].append(line)
        elif line.startswith("    ") and blocks[current]:
            blocks[current][-1] += f" {line.strip()}"
        elif line.strip():
            blocks[current].append(line.strip())
    return blocks


def _column(line: str, problem: str) -> ColumnSpec:
    name, dash, doc = line.partition(" - ")
    if not dash or not name.isidentifier():
        raise FlowatlasError(f"{problem}: the column '{line}' is not `name - what it is`.")
    return ColumnSpec(name, doc)


def _parameter(line: str, problem: str) -> ParameterSpec:
    match = _PARAMETER.match(line)
    if match is None or match["type"] not in TYPES:
        raise FlowatlasError(
            f"{problem}: the parameter '{line}' is not `name: type = default, low..high - what it is`.",
            known=f"Types: {', '.join(TYPES)}.",
        )
    spec = ParameterSpec(
        name=match["name"], type=match["type"], doc=match["doc"], required=match["default"] is None,
        optional=bool(match["optional"]), low=float(match["low"]) if match["low"] else None,
        high=float(match["high"]) if match["high"] else None, choices=tuple((match["choices"] or "").split(" | ")) if match["choices"] else (),
    )  # fmt: skip
    if match["default"] is None:
        return spec
    default = None if match["default"] == "all" and spec.optional else parse_value(spec, match["default"])
    return ParameterSpec(**{**spec.__dict__, "default": default})


def _check_names(query: Query, problem: str) -> None:
    """Every parameter is used, and everything used is a parameter."""
    declared = {p.name for p in query.parameters}
    for text in query.texts.values():
        markers = {m["given"] or m["which"] for m in _MARKER.finditer(text)} - {None}
        used = set(_USED.findall(text)) | markers
        if used != declared:
            raise FlowatlasError(
                f"{problem}: parameters used {sorted(used)} are not those declared {sorted(declared)}."
            )
