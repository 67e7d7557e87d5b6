"""A lint of all query texts: what is silently wrong on a store, and names that the schema does not have."""

from __future__ import annotations

import re

import pytest

from flowatlas.catalogue import catalogue
from flowatlas.stores.base import Dialect
from flowatlas.vocabulary import NODE_TABLES, RELATIONSHIP_TABLES

PROPERTIES = {c.name for t in (*NODE_TABLES, *RELATIONSHIP_TABLES) for c in t.columns}
LABELS = {t.name for t in NODE_TABLES}
TYPES = {str(t.type) for t in RELATIONSHIP_TABLES}
BOTH: list[tuple[str, Dialect]] = [(name, dialect) for name in catalogue().queries for dialect in ("ladybug", "neo4j")]
AGGREGATES = r"\b(?:collect|sum|avg|count|min|max)\s*\("


def text_of(name: str, dialect: Dialect) -> str:
    """The text with every optional part filled in, on one line, without strings."""
    query = catalogue().get(name)
    given = {p.name: f"{p.high or 1:g}" for p in query.parameters if p.type not in ("selection", "string", "bool")}
    given |= {p.name: "group=x,text=y" for p in query.parameters if p.type == "selection"}
    given |= {p.name: "true" for p in query.parameters if p.type == "bool"}
    given |= {p.name: (p.choices or ("x",))[0] for p in query.parameters if p.type == "string"}
    if query.selects:
        given |= {"dataset": "x", "group": "y", "correct": "true", "model": "z", "text": "t", "role": "clean"}
    return " ".join(re.sub(r"'[^']*'", "''", query.resolve(dialect, given).text).split())


@pytest.mark.parametrize(("name", "dialect"), BOTH)
def test_names_are_those_of_the_vocabulary(name: str, dialect: Dialect) -> None:
    text = text_of(name, dialect)
    variables = set(re.findall(r"[(\[](\w+):", text)) | set(re.findall(r"MATCH \((\w+)\)", text)) | {"x"}
    used = {(a, b.strip("`")) for a, b in re.findall(r"\b([a-z]\w*)\.(`?\w+`?)", text) if a in variables}
    assert {b for _, b in used} <= PROPERTIES
    assert set(re.findall(r"\(\w*:([A-Z][\w|]*)", text)) <= {"|".join(c) for c in _unions(text)} | LABELS
    for types in re.findall(r"\[\w*:([A-Z_|]+)", text):
        assert set(types.split("|")) <= TYPES


def _unions(text: str) -> list[list[str]]:
    found = [union.split("|") for union in re.findall(r"\(\w*:([A-Z]\w*(?:\|[A-Z]\w*)+)", text)]
    assert all(set(union) <= LABELS for union in found)
    return found


@pytest.mark.parametrize(("name", "dialect"), BOTH)
def test_nothing_is_silently_wrong_on_a_store(name: str, dialect: Dialect) -> None:
    text = text_of(name, dialect)
    # Lists start at 0 on one store and at 1 on the other; only "the first k" means the same.
    assert not re.search(r"[\w)]\[(?!\.\.)[^\]:|]*\](?!-)", re.sub(r"\[\w+ IN [^\]]*\]|IN \[[^\]]*\]", "", text)), text
    # `x IN l[..k]` is `(x IN l)[..k]` on the embedded store.
    assert not re.search(r"IN [\w.]+\[\.\.", text)
    # WITH ... ORDER BY ... LIMIT and then an aggregate without a key loses the order on the embedded store.
    assert not re.search(r"WITH (?:(?!MATCH|RETURN).)*ORDER BY(?:(?!RETURN).)*RETURN " + AGGREGATES, text)
    # The logarithm's base and the start of a substring differ; labels(n) is a text on the embedded store.
    assert not re.search(r"\b(?:log|substring|labels|head|last|split|isEmpty|toFloat|toInteger|toString|stdev|elementId)\s*\(", text)
    if dialect == "ladybug":
        assert not re.search(r"\btype\s*\(", text)
        # A property of x in `all(x IN relationships(way) WHERE ...)` is that of another step: 70 ways instead of 8.
        # `all(s IN properties(relationships(way), 'score') WHERE ...)` is right.
        assert not re.search(r"\w+ IN (?:relationships|rels|nodes)\(|list_\w+\((?:relationships|rels|nodes)\(", text), text
    else:
        assert not re.search(r"\b(?:label|list_\w+)\s*\(", text)
    # Two labels with a colon mean OR on one store and AND on the other.
    assert not re.search(r"\(\w+:[A-Z]\w*:", text)


@pytest.mark.parametrize(("name", "dialect"), BOTH)
def test_no_pattern_takes_two_steps(name: str, dialect: Dialect) -> None:
    """The embedded store drops rows from (a)-[r]->(b)-[s]->(c) under conditions on r and c.

    Measured: 1,276 rows instead of 1,651. One relationship a MATCH, and a WITH before the next one on
    the same node, gives all of them; so does a join on properties.
    """
    text = text_of(name, dialect)
    for part in re.split(r"\b(?:WITH|UNION ALL)\b", text):
        linked: set[str] = set()
        for pattern in re.findall(r"MATCH (.*?)(?= WHERE | MATCH | RETURN | UNWIND | OPTIONAL |$)", part):
            if "*" in pattern:  # found whole: tests/query/test_many_paths.py
                continue
            assert len(re.findall(r"-\[|-->|<--", pattern)) <= 1, pattern
            if "-[" in pattern:
                ends = set(re.findall(r"\((\w+)", pattern))
                assert not ends & linked, pattern
                linked |= ends


@pytest.mark.parametrize("name", list(catalogue().queries))
def test_headers_read_well(name: str) -> None:
    query = catalogue().get(name)
    assert query.title.endswith(".")
    assert len(query.title) < 120
    assert all(p.doc and not p.doc.endswith(".") for p in query.parameters)
    assert all(c.doc and not c.doc.endswith(".") for c in query.columns)
    assert len({c.name for c in query.columns}) == len(query.columns)
    assert max(len(line) for line in query.file.read_text().splitlines()) <= 160
