"""`flowatlas query`, `cypher`, `compare`, `paths` and `graph` as their users meet them."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import query
from flowatlas.catalogue import catalogue
from flowatlas.cli.query import described
from flowatlas.cli.tables import as_table
from flowatlas.stores.base import Store
from support.cli import ROOT, flowatlas


def test_query_without_a_name_lists_them_all() -> None:
    result = flowatlas("query", "--format", "json")
    assert result.code == 0
    rows = json.loads(result.stdout)
    assert {row["query"] for row in rows} == set(catalogue().queries)
    assert all(row["answers"] for row in rows)
    table = flowatlas("query").stdout
    assert all(name in table for name in catalogue().queries)
    assert max(map(len, table.splitlines())) <= 100


def test_formats_hold_the_same_rows(store: Store, tmp_path: Path) -> None:
    asked = ["query", "top_memory_values", "-p", "prompt=3", "-p", "values=1", "--store", store.uri]
    wanted = query.run(store, "top_memory_values", prompt=3, values=1).table
    rows = json.loads(flowatlas(*asked, "--format", "json").stdout)
    assert [list(row) for row in rows] == [wanted.column_names] * wanted.num_rows
    for row, other in zip(rows, wanted.to_pylist(), strict=True):
        for name, value in other.items():
            assert row[name] == (pytest.approx(value, rel=1e-6) if isinstance(value, float) else value)
    lines = list(csv.DictReader(io.StringIO(flowatlas(*asked, "--format", "csv").stdout)))
    assert [json.loads(line["top_tokens"]) for line in lines] == [row["top_tokens"] for row in rows]
    assert [float(line["attention"]) for line in lines] == [row["attention"] for row in rows]
    for suffix in ("parquet", "json", "csv", "txt"):
        out = tmp_path / f"rows.{suffix}"
        result = flowatlas(*asked, "--out", out)
        assert (result.code, result.stdout) == (0, "")
        assert out.stat().st_size > 0
    assert pq.read_table(tmp_path / "rows.parquet").equals(wanted)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_parquet_goes_through_a_pipe(ladybug: Store) -> None:
    words = ["query", "models", "--format", "parquet", "--store", ladybug.uri]
    done = subprocess.run([sys.executable, "-m", "flowatlas", *words], cwd=ROOT, capture_output=True, check=True)
    assert pq.read_table(io.BytesIO(done.stdout)).num_rows == 1


@pytest.mark.parametrize("name", sorted(catalogue().queries))
def test_tables_fit_and_start_with_what_identifies_the_row(name: str, ladybug: Store) -> None:
    values = {"prompt": "4", "a": "4", "b": "5", "layer": "1", "head": "2", "source": "1", "neuron": "7", "token": " word50", "token_id": "50", "pair": "pair-1"}
    spec = catalogue().get(name)
    words = [w for p in spec.parameters if p.required for w in ("-p", f"{p.name}={'all' if p.type == 'selection' else values[p.name]}")]
    result = flowatlas("query", name, *words, "--store", ladybug.uri)
    assert result.code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    rule = next(number for number, line in enumerate(lines) if set(line) == {"-", " "} or set(line) == {"-"})
    width = len(lines[rule].split()[0])
    assert "".join(line[:width].strip() for line in lines[:rule]) == spec.columns[0].name
    assert len(lines) > rule + 1 or "Nothing in the store answers" in result.stderr
    assert "Traceback" not in result.stderr


def test_show_prints_the_text_for_the_store(ladybug: Store) -> None:
    shown = flowatlas("query", "slice_edges", "-p", "prompt=3", "-p", "values=all", "--show", "--store", ladybug.uri).stdout
    assert shown.startswith("// $prompt: 3\n")
    assert "label(r) AS type" in shown
    assert "/*" not in shown
    other = flowatlas("query", "slice_edges", "--show", "--store", "neo4j://localhost:7687/neo4j").stdout
    assert "type(r) AS type" in other
    assert "$prompt" in other


def test_describe_says_all_of_it() -> None:
    spec = catalogue().get("heads_always_promoting_target")
    text = flowatlas("query", spec.name, "--describe").stdout
    assert text.strip() == described(spec).strip()
    for part in (spec.title, "int = 10, 1..50", "p_value:", "dataset, group, correct"):
        assert part in text


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["query", "heads_always_promoting_targets"], 2, "Did you mean 'heads_always_promoting_target'?"),
        (["query", "top_neurons"], 2, "needs prompt"),
        (["query", "top_neurons", "-p", "prompt=1", "-p", "neuron=4"], 2, "Did you mean 'neurons'?"),
        (["query", "top_neurons", "-p", "prompt"], 2, "is not a parameter"),
        (["query", "top_neurons", "-p", "prompt=1", "-p", "prompt=2"], 2, "given twice"),
        (["query", "top_neurons", "-p", "prompt=77"], 2, "There is no prompt 77"),
        (["query", "top_neurons", "-p", "prompt=1", "--format", "xml"], 2, "xml"),
        (["query", "models", "--out", "rows.docx"], 2, "does not tell its format"),
        (["query", "models", "--out", "no/such/folder/rows.csv"], 1, "cannot be written"),
        (["query", "-p", "prompt=1"], 2, "Which query?"),
        (["query", "top_heads_by_contribution", "-p", "dataset=nothing"], 2, "No prompt has the dataset 'nothing'"),
        (["cypher", "MATCH (p:Prompt RETURN p"], 1, ""),
        (["cypher", "MATCH (p:Prompt) SET p.text = 'x'"], 1, ""),
        (["cypher", "   "], 2, "There is no query"),
        (["graph"], 2, "Which prompt?"),
        (["graph", "1", "--out", "graph.png"], 2, "cannot be written as '.png'"),
        (["graph", "1", "--layers", "7:9"], 2, "no layers 7:9"),
        (["graph", "1", "--layers", "x"], 2, "not a range of layers"),
        (["graph", "1", "--prune", "mas:0.5"], 2, "Did you mean 'mass'?"),
        (["graph", "1", "--prune", "mass:0"], 2, "above 0"),
        (["graph", "1", "--verify", "x.json"], 2, "nothing else"),
        (["graph", "--verify", "absent.json"], 1, "cannot be read"),
        (["compare", "1", "99"], 2, "There is no prompt 99"),
        (["compare", "1", "2", "--by", "colour"], 2, "no measure 'colour'"),
        (["paths", "1", "50"], 2, "no token at position 50"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_what_is_wrong_is_told_in_one_message(words: list[str], code: int, message: str, ladybug: Store, tmp_path: Path) -> None:
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        result = flowatlas(*words, "--store", ladybug.uri)
    finally:
        os.chdir(before)
    assert result.code == code, result.stderr
    assert message in " ".join(result.stderr.split())
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.rglob("*"))


def test_cypher_reads_with_parameters_from_stdin_and_says_what_is_cut(ladybug: Store) -> None:
    text = "MATCH (p:Prompt) WHERE p.id < $n RETURN p.id AS id, p.target AS target ORDER BY id"
    result = flowatlas("cypher", text, "-p", "n=4", "--format", "json", "--store", ladybug.uri)
    assert [row["id"] for row in json.loads(result.stdout)] == [0, 1, 2, 3]
    cut = flowatlas("cypher", text, "-p", "n=9", "--rows", "2", "--store", ladybug.uri)
    assert "more than these 2 rows" in cut.stderr
    piped = subprocess.run(
        [sys.executable, "-m", "flowatlas", "cypher", "-", "-p", "n=1", "--format", "csv", "--store", ladybug.uri],
        cwd=ROOT, input=text, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert piped.stdout.splitlines()[0] == "id,target"


def test_compare_and_paths_print_rows(store: Store) -> None:
    rows = json.loads(flowatlas("compare", "4", "5", "--layers", "1:3", "--limit", "7", "--format", "json", "--store", store.uri).stdout)
    assert len(rows) == 7
    assert [abs(row["change"]) for row in rows] == sorted((abs(row["change"]) for row in rows), reverse=True)
    nodes = json.loads(flowatlas("compare", "4", "5", "--nodes", "--format", "json", "--store", store.uri).stdout)
    assert {"name", "rank_a", "top_b"} <= set(nodes[0])
    same = flowatlas("compare", "4", "4", "--store", store.uri)
    assert "Nothing differs." in same.stderr
    steps = json.loads(flowatlas("paths", "4", "1", "--count", "2", "--by", "score", "--format", "json", "--store", store.uri).stdout)
    assert {row["path"] for row in steps} == {1, 2}
    assert steps[0]["from"] == "token.1"


def test_graph_prints_json_and_its_report(ladybug: Store) -> None:
    whole = flowatlas("graph", "4", "--layers", "2", "--prune", "none", "--store", ladybug.uri)
    assert len(json.loads(whole.stdout)["nodes"]) == len(query.slice(ladybug, 4, range(2, 3)).nodes)
    report = flowatlas("graph", "4", "--layers", "2", "--prune", "mass:0.5", "--report", "--format", "json", "--store", ladybug.uri)
    parts = {row["part"] for row in json.loads(report.stdout)}
    assert parts == {"neurons", "memories", "heads"}
    assert "pruned" in report.stderr


def test_names_complete_in_the_shell() -> None:
    environment = {
        **os.environ, "_FLOWATLAS_COMPLETE": "complete_bash", "COMP_WORDS": "flowatlas query heads_a", "COMP_CWORD": "2",
    }  # fmt: skip
    script = Path(sys.executable).with_name("flowatlas")
    done = subprocess.run([script], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["heads_always_demoting_target", "heads_always_promoting_target"]


def test_cells_are_readable() -> None:
    rows = [{"a": " Tokyo", "b": "line\nbreak", "c": 0.123456, "d": None, "e": True, "f": [" x", "y\t"]}]
    lines = as_table(list(rows[0]), rows).splitlines()
    for text in ("␣Tokyo", "line\\nbreak", "0.1235", "yes", "␣x y\\t"):
        assert text in lines[2]


def test_wide_tables_are_cut_to_the_width() -> None:
    rows = [{f"column_{i}": "x" * 60 for i in range(12)}]
    assert max(map(len, as_table(list(rows[0]), rows).splitlines())) <= 100
    assert as_table(["only"], [{"only": "東京" * 80}])


def test_headings_go_over_two_lines_before_a_column_is_left_out() -> None:
    names = [f"{word}_number_{i}" for word in ("clean", "corrupted") for i in range(3)]
    row = dict.fromkeys(names, 0.25)
    assert as_table(names, [row], width=120).splitlines()[0].split() == names
    upper, lower, rule, cells = as_table(names, [row], width=70).splitlines()
    assert [top + end for top, end in zip(upper.split(), lower.split(), strict=True)] == names
    assert cells.split() == ["0.25"] * len(names)
    assert [len(part) for part in rule.split()] == [len("number_0")] * 3 + [len("corrupted_")] * 3
    assert max(map(len, (upper, lower, rule, cells))) <= 70
