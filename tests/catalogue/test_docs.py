"""The pages about queries keep step with the files."""

from __future__ import annotations

import re
from pathlib import Path

from flowatlas.catalogue import catalogue, read_query
from support.cli import ROOT

ANSWERS = (ROOT / "docs/query-answers.md").read_text()
GUIDE = (ROOT / "docs/write-your-own-query.md").read_text()


def test_every_query_is_answered_under_its_line() -> None:
    shown = re.findall(r"^\$ flowatlas query (\w+)", ANSWERS, re.MULTILINE)
    assert sorted(shown) == sorted(catalogue().queries)
    for query in catalogue().queries.values():
        assert f"\n{query.title}\n" in ANSWERS
        assert re.search(rf"^\$ flowatlas query {query.name}\b.*\n(?!```)", ANSWERS, re.MULTILINE)


def test_the_query_of_the_guide_is_one(tmp_path: Path) -> None:
    text = GUIDE.partition("```text\n")[2].partition("```")[0]
    file = tmp_path / "heads_with_token.cypher"
    file.write_text(text)
    query = read_query(file)
    assert [p.name for p in query.parameters] == ["token", "layer", "limit"]
    assert query.selects


def test_the_python_of_the_guide_runs(tmp_path: Path, monkeypatch) -> None:
    from benchmarks.synthetic import TINY, write
    from flowatlas.stores import open_store

    monkeypatch.chdir(tmp_path)
    with open_store("flowatlas.lbug", mode="write") as store:
        for shard in write(tmp_path / "shards", TINY, 3):
            store.write(shard)
    code = GUIDE.partition("```python\n")[2].partition("```")[0]
    exec(code.replace('"relations"', '"facts"'), {})
