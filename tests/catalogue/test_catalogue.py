"""Reading query files, and filling in what is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowatlas.catalogue import Catalogue, catalogue, read_query, resolve
from flowatlas.errors import FlowatlasError, UsageError
from flowatlas.selection import Selection

GOOD = """// few
// Answers something.
//
// More about it.
//
// topic: heads
// parameters:
//   prompt: prompt - the prompt
//   rank: int = 10, 1..50 - among how many
//   share: float = 0.5, 0..1 - least share
//   layer: layer? = all, 0.. - only this layer
//   matrix: string = mlp, one of mlp | attention_output - which
//   a: selection = all - a group
// columns:
//   layer - the layer
//     of the head
MATCH (p:Prompt) WHERE p.complete /* selection of p */ /* selection a of p */
MATCH (h:Head) WHERE h.prompt = $prompt AND h.rank < $rank AND 1.0 > $share AND $matrix = 'mlp'
  /* if layer: AND h.layer = $layer */
RETURN h.layer AS layer
"""


def written(folder: Path, text: str, name: str = "few") -> Path:
    file = folder / f"{name}.cypher"
    file.write_text(text)
    return file


def test_a_file_is_read(tmp_path: Path) -> None:
    query = read_query(written(tmp_path, GOOD))
    assert (query.name, query.title, query.doc, query.topic) == ("few", "Answers something.", "More about it.", "heads")
    assert [p.name for p in query.parameters] == ["prompt", "rank", "share", "layer", "matrix", "a"]
    rank, share, layer, matrix = query.parameters[1:5]
    assert (rank.default, rank.low, rank.high, rank.required, rank.signature) == (10, 1, 50, False, "int = 10, 1..50")
    assert (share.default, share.low, share.high) == (0.5, 0, 1)
    assert (layer.default, layer.optional, layer.high, layer.signature) == (None, True, None, "layer = all, 0..")
    assert matrix.choices == ("mlp", "attention_output")
    assert query.columns[0].doc == "the layer of the head"
    assert query.selects


def test_text_is_resolved(tmp_path: Path) -> None:
    query = read_query(written(tmp_path, GOOD))
    plain = query.resolve("ladybug", {"prompt": "3"})
    assert "/*" not in plain.text
    assert "$layer" not in plain.text
    assert plain.parameters == {"prompt": 3, "rank": 10, "share": 0.5, "matrix": "mlp"}
    full = query.resolve("ladybug", {"prompt": 3, "layer": "2", "group": "x", "correct": "true", "a": "dataset=y,text=z"})
    assert "AND h.layer = $layer" in full.text
    assert "AND p.`group` = $only_group AND p.`correct` = $only_correct" in " ".join(full.text.split()).replace("AND p.`correct` = $only_correct AND p.`group` = $only_group", "AND p.`group` = $only_group AND p.`correct` = $only_correct")
    assert "AND p.`dataset` = $a_dataset AND p.text CONTAINS $a_text" in " ".join(full.text.split())
    assert full.parameters["only_correct"] is True
    assert full.parameters["a_text"] == "z"
    assert query.resolve("ladybug", {"prompt": 1, "layer": "all"}).text == plain.text


def test_another_store_has_another_text_only_where_it_differs(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    (tmp_path / "neo4j").mkdir()
    body = GOOD[GOOD.index("MATCH") :].replace("1.0 >", "2.0 >")
    written(tmp_path / "neo4j", body)
    query = Catalogue(tmp_path).get("few")
    assert "2.0 >" in query.resolve("neo4j", {"prompt": 1}).text
    assert "1.0 >" in query.resolve("ladybug", {"prompt": 1}).text
    written(tmp_path / "neo4j", body, "other")
    with pytest.raises(FlowatlasError, match="does not exist"):
        Catalogue(tmp_path)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("// few\n", "// fewer\n", "starts with its name"),
        ("// Answers something.\n//\n", "// Answers something.\n", "starts with its name"),
        ("// topic: heads\n", "", "topic and columns"),
        ("//   layer - the layer\n//     of the head\n", "", "topic and columns"),
        ("rank: int = 10", "rank: number = 10", "the parameter 'rank"),
        ("rank: int = 10", "rank: int = ten", "rank must be a whole number"),
        ("rank: int = 10", "rank: int = 99", "rank must be in 1..50"),
        ("AND h.rank < $rank", "", "parameters used"),
        ("h.rank < $rank", "h.rank < $rank AND 1 = $more", "parameters used"),
        ("- the layer\n", "the layer\n", "the column"),
    ],
)
def test_files_that_break_the_rules(before: str, after: str, message: str, tmp_path: Path) -> None:
    assert before in GOOD
    with pytest.raises(FlowatlasError, match=message):
        read_query(written(tmp_path, GOOD.replace(before, after, 1)))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "needs prompt"),
        ({"prompt": "x"}, "prompt must be the id of a prompt"),
        ({"prompt": "1.5"}, "prompt must be"),
        ({"prompt": True}, "prompt must be"),
        ({"prompt": str(2**70)}, "prompt must be"),
        ({"prompt": 1, "rank": 0}, "rank must be in 1..50, not 0"),
        ({"prompt": 1, "rank": "51"}, "rank must be in 1..50"),
        ({"prompt": 1, "rank": "all"}, "rank must be a whole number"),
        ({"prompt": 1, "share": "1.01"}, "share must be in 0..1"),
        ({"prompt": 1, "share": "nan"}, "share must be a number"),
        ({"prompt": 1, "matrix": "mlb"}, "matrix cannot be 'mlb'"),
        ({"prompt": 1, "rnak": 3}, "no parameter 'rnak'"),
        ({"prompt": 1, "correct": "maybe"}, "correct must be true or false"),
        ({"prompt": 1, "a": "colour=red"}, "cannot be chosen by 'colour'"),
        ({"prompt": 1, "a": "group"}, "not a selection"),
    ],
)
def test_values_that_are_wrong(given: dict[str, object], message: str, tmp_path: Path) -> None:
    query = read_query(written(tmp_path, GOOD))
    with pytest.raises(UsageError, match=message):
        query.resolve("ladybug", given)


def test_close_names_are_offered() -> None:
    with pytest.raises(UsageError) as raised:
        catalogue().get("heads_always_promoting_targets")
    assert "heads_always_promoting_target" in raised.value.known
    with pytest.raises(UsageError) as raised:
        resolve("top_neurons", "ladybug", {"prompt": 1, "neuron": 3})
    assert "'neurons'" in raised.value.known


def test_a_selection_reads_what_it_writes() -> None:
    for text in ("all", "group=first", "dataset=a b,correct=true,text=x", "correct=false,role=clean"):
        selection = Selection.parse(text)
        assert Selection.parse(str(selection)) == selection
    assert Selection.parse("all") == Selection()
