"""py2neo on a real server: the helper, and the example of the docs as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flowatlas.errors import StoreError
from flowatlas.stores.py2neo_graph import py2neo_graph
from support.neo4j_server import ROOT, neo4j_store
from support.synthetic_shards import tiny_shards


def test_the_example_of_the_docs_runs_and_prints_what_the_store_holds(neo4j_uri: str) -> None:
    with neo4j_store(neo4j_uri) as store:
        for shard in tiny_shards():
            store.write(shard)
        prompt = store.read("MATCH (p:Prompt {id: 0}) RETURN p.text AS text, p.n_state AS n").to_pylist()[0]
        heads = store.read(
            "MATCH (h:Head {prompt: 0}) RETURN h.layer AS layer, h.head AS head, h.target_rank AS rank, "
            "h.top_tokens AS top ORDER BY rank, layer, head LIMIT 5"
        ).to_pylist()
    done = subprocess.run(
        [sys.executable, "docs/py2neo_example.py"],
        cwd=ROOT,
        env={**os.environ, "FLOWATLAS_STORE": neo4j_uri},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    first, *rows = done.stdout.splitlines()
    assert first == f"prompt 0: {prompt['text']!r}, {prompt['n']} vectors"
    assert rows[:5] == [f"{row['layer']} {row['head']} {row['rank']} {row['top'][:3]}" for row in heads]
    assert len(rows) == 8
    assert all(
        row.startswith(f"value {n} of head {heads[0]['layer']}.{heads[0]['head']}: position ")
        for n, row in enumerate(rows[5:], 1)
    )


def test_an_embedded_store_has_no_py2neo_graph(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="embedded store"):
        py2neo_graph(str(tmp_path / "store.lbug"))


def test_errors_come_in_words(neo4j_uri: str) -> None:
    with pytest.raises(StoreError, match="no database 'elsewhere'"):
        py2neo_graph(neo4j_uri.rpartition("/")[0] + "/elsewhere")
