"""An ingest of the example prompts into a server, and the same answers as from the embedded store."""

from __future__ import annotations

import json
import os
from pathlib import Path

from flowatlas.cli.demo import ANSWERS
from flowatlas.stores import open_store
from support.cli import flowatlas
from support.neo4j_server import ROOT, neo4j_store
from support.store_content import assert_same, content

EACH = 4


def some_examples(path: Path) -> int:
    """Write a few example prompts of every data set to `path`; how many."""
    by_dataset: dict[str, list[str]] = {}
    for line in (ROOT / "examples" / "prompts.jsonl").read_text("utf-8").splitlines():
        by_dataset.setdefault(json.loads(line)["dataset"], []).append(line)
    chosen = [line for lines in by_dataset.values() for line in lines[:EACH]]
    path.write_text("\n".join(chosen) + "\n", "utf-8")
    return len(chosen)


def test_the_same_ingest_into_both_stores_gives_the_same_three_answers(neo4j_uri: str, tmp_path: Path) -> None:
    embedded = str(tmp_path / "store.lbug")
    cache = {"FLOWATLAS_CACHE": os.environ.get("FLOWATLAS_CACHE", str(tmp_path / "cache"))}
    prompts = tmp_path / "prompts.jsonl"
    number_of_prompts = some_examples(prompts)
    for number, uri in enumerate((embedded, neo4j_uri)):
        arguments = ("--store", uri, "--shards", str(tmp_path / f"shards{number}"))
        done = flowatlas("ingest", prompts, *arguments, **cache)
        assert (done.code, done.stdout) == (0, ""), done.stderr
    with open_store(embedded) as store, neo4j_store(neo4j_uri, "read") as server:
        assert len(server.prompt_keys()) == number_of_prompts
        assert_same(content(server), content(store))
    for words in ANSWERS:
        first, second = (flowatlas(*words, "--store", uri) for uri in (embedded, neo4j_uri))
        assert first.code == 0
        assert first.stdout == second.stdout
        assert len(first.stdout.splitlines()) > 2 or "heads" in words[1]
    again = flowatlas("ingest", prompts, "--store", neo4j_uri, "--shards", tmp_path / "shards1", **cache)
    assert again.code == 0
    with neo4j_store(neo4j_uri, "read") as server:
        assert len(server.prompt_keys()) == number_of_prompts
