"""Cypher as text: pieces, numbers in place of parameters, words that may not be there, positions in messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowatlas.errors import QueryError
from flowatlas.stores.cypher_text import forbid_words, parameters_in, pieces, with_numbers, without_quotes
from flowatlas.stores.neo4j_driver import _without_explain
from flowatlas.stores.neo4j_guard import check_text

PARTS = st.sampled_from(
    ["'", '"', "`", "//", "/*", "*/", "\\", "$a", "$", "\n", "x", " ", "1", "/", "''", "é", "$long_name1"]
)


@given(st.lists(PARTS, max_size=30).map("".join))
def test_the_pieces_are_the_text(text: str) -> None:
    assert "".join(part for _, part in pieces(text)) == text


@pytest.mark.parametrize(
    ("text", "wanted", "left"),
    [
        ("RETURN $a, $ab", "RETURN 1, $ab", {"ab": "text"}),
        ("RETURN '$a', \"$a\", `$a` // $a\n, $a", "RETURN '$a', \"$a\", `$a` // $a\n, 1", {}),
        ("RETURN 'it\\'s $a' /* $a */ + $a", "RETURN 'it\\'s $a' /* $a */ + 1", {}),
        ("RETURN x-$negative", "RETURN x-(-3)", {}),
        ("RETURN $small, $yes, $none, $list", "RETURN 1e-05, true, $none, $list", {"none": None, "list": [1, 2]}),
        ("RETURN $infinite", "RETURN $infinite", {"infinite": float("inf")}),
    ],
)
def test_numbers_take_the_place_of_their_parameters_in_code_only(
    text: str, wanted: str, left: dict[str, object]
) -> None:
    given = {
        "a": 1, "ab": "text", "negative": -3, "small": 1e-5, "yes": True, "none": None, "list": [1, 2],
        "infinite": float("inf"),
    }  # fmt: skip
    assert with_numbers(text, given) == (wanted, left)


def test_parameters_are_those_of_the_code() -> None:
    assert parameters_in("MATCH (n {id: $id}) // $comment\nWHERE n.x = '$text' RETURN n.`$name`, $other") == {
        "id",
        "other",
    }


@pytest.mark.parametrize(
    "text", ["LOAD x", "(LOAD)", "1.LOAD", "x load y", "a\nLoad\tb", "{LOAD", "LOAD/**/CSV", "é LOAD"]
)
def test_words_are_found_however_they_stand(text: str) -> None:
    with pytest.raises(QueryError, match="LOAD is not allowed"):
        forbid_words(text, ["LOAD"], "")


@pytest.mark.parametrize(
    "text", ["n.load", "(n:Load)", "`LOAD`", "'LOAD'", "x // LOAD", "/* LOAD */ x", "payload", "load2", "loaded"]
)
def test_names_and_texts_are_not_words(text: str) -> None:
    forbid_words(text, ["LOAD"], "")


def test_names_lose_their_backticks_only() -> None:
    assert without_quotes("RETURN `apoc`.`load`('x') // y") == "RETURN apoc.load('')  "


@pytest.mark.parametrize(
    "text", ["RETURN date.truncate('day', $d)", "RETURN point . distance(a, b)", "RETURN size(n.list)"]
)
def test_functions_of_the_database_itself_are_allowed(text: str) -> None:
    check_text(text)


def test_positions_of_a_message_are_those_of_the_text() -> None:
    message = "Invalid input 'RETRN' (line 1, column 26 (offset: 25))\n\"EXPLAIN MATCH (p:Prompt) RETRN p\"\n                          ^"
    wanted = "Invalid input 'RETRN' (line 1, column 18 (offset: 17))\n\"MATCH (p:Prompt) RETRN p\"\n                  ^"
    assert _without_explain(message) == wanted
    assert _without_explain("Unknown function 'x'") == "Unknown function 'x'"
