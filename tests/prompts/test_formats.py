"""Every format reads back what was written, in its order, and names the place of what is broken."""

import csv
import io
import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowatlas.errors import InputError, UsageError
from ingest.prompts import Broken, PromptInput, ReadOptions, read_prompts

words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=20)
prompts = words.filter(lambda text: text.strip())
rows = st.lists(
    st.fixed_dictionaries(
        {"prompt": prompts},
        optional=dict.fromkeys(("target", "foil", "dataset", "group", "pair"), words),
    ),
    min_size=1,
    max_size=8,
)
lines = st.lists(prompts.filter(lambda text: "\n" not in text and "\r" not in text), min_size=1, max_size=8)


def read(path, **options):
    return list(read_prompts(str(path), ReadOptions(**options)))


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("prompts")


def fields_of(read_rows):
    names = ("target", "foil", "dataset", "group", "pair")
    return [{"prompt": row.text, **{name: getattr(row, name) for name in names}} for row in read_rows]


def expected(written, dataset):
    """What was written, absent fields as None and the file's name for an absent data set."""
    names = ("prompt", "target", "foil", "dataset", "group", "pair")
    return [{name: row.get(name) or (dataset if name == "dataset" else None) for name in names} for row in written]


@given(rows)
def test_jsonl_round_trip(folder, written):
    path = write(folder, "round.jsonl", "\n".join(json.dumps(row, ensure_ascii=False) for row in written))
    assert fields_of(read(path)) == expected(written, "round")


@given(rows)
def test_json_round_trip(folder, written):
    assert fields_of(read(write(folder, "round.json", json.dumps(written)))) == expected(written, "round")


@given(rows)
def test_parquet_round_trip(folder, written):
    names = ("prompt", "target", "foil", "dataset", "group", "pair")
    columns = {name: pa.array([row.get(name) for row in written], pa.string()) for name in names}
    pq.write_table(pa.table(columns), folder / "round.parquet")
    assert fields_of(read(folder / "round.parquet")) == expected(written, "round")


@given(rows, st.sampled_from(["csv", "tsv"]))
def test_csv_round_trip(folder, written, extension):
    out = io.StringIO(newline="")
    names = ("prompt", "target", "foil", "dataset", "group", "pair")
    writer = csv.DictWriter(out, names, delimiter="," if extension == "csv" else "\t", quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(written)
    found = read(write(folder, f"round.{extension}", out.getvalue()))
    assert fields_of(found) == expected(written, "round")


@given(lines, st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_text_lines_round_trip(folder, written, end, mark):
    content = ("\ufeff" if mark else "") + end.join(written) + end
    assert [prompt.text for prompt in read(write(folder, "round.txt", content))] == [
        line.removeprefix("\ufeff") if place == 0 and not mark else line for place, line in enumerate(written)
    ]


def test_places_in_a_text_file_count_blank_lines_that_hold_no_prompt(folder):
    found = read(write(folder, "places.txt", "one\n\n  \nfour\n"))
    assert found == [
        PromptInput("one", dataset="places", where="places.txt, line 1"),
        PromptInput("four", dataset="places", where="places.txt, line 4"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "where", "reason"),
    [
        ("a.jsonl", '{"prompt": "x"}\n{"prompt": \n', "a.jsonl, line 2", "it is not JSON: Expecting value"),
        ("a.jsonl", '{"prompt": "x"}\n[1]\n', "a.jsonl, line 2", "it is a list, not an object"),
        ("a.jsonl", "[" * 100_000, "a.jsonl, line 1", "nested too deeply"),
        ("a.jsonl", '{"promt": "x", "n": 1}', "a.jsonl, line 1", "no field 'prompt'. It has promt, n. Did you mean 'promt'"),
        ("a.jsonl", "{}", "a.jsonl, line 1", "no field 'prompt'. It has no fields."),
        ("a.jsonl", '{"prompt": "  "}', "a.jsonl, line 1", "its prompt is empty"),
        ("a.jsonl", '{"prompt": ["x"]}', "a.jsonl, line 1", "its field 'prompt' is list, not text"),
        ("a.jsonl", '{"prompt": "x", "target": true}', "a.jsonl, line 1", "its field 'target' is bool, not text"),
        ("a.jsonl", '{"prompt": "x", "role": "dirty"}', "a.jsonl, line 1", "its role is 'dirty'"),
        ("a.jsonl", '{"prompt": "\\ud83d"}', "a.jsonl, line 1", "half a surrogate pair"),
        ("a.jsonl", b'{"prompt": "caf\xe9"}', "a.jsonl, line 1", "not UTF-8: byte 0xe9 at character 16"),
        ("a.txt", b"one\ntw\xff\n", "a.txt, line 2", "not UTF-8: byte 0xff at character 3"),
        ("a.csv", b"prompt\nx\ncaf\xe9\n", "a.csv, line 3", "not UTF-8: byte 0xe9"),
        ("a.csv", "prompt,target\nx\n", "a.csv, line 2", "it has 1 cells, the header has 2"),
        ("a.csv", 'prompt\n"x"y\n', "a.csv, line 2", "it is not CSV"),
        ("a.json", '["x", 3]', "a.json, record 2", "it is a number, not an object"),
    ],
)
def test_a_broken_record_is_named_and_the_others_are_read(folder, name, content, where, reason):
    found = read(write(folder, name, content))
    broken = [entry for entry in found if isinstance(entry, Broken)]
    assert [entry.where for entry in broken] == [where]
    assert reason in broken[0].reason
    assert all(entry.text in ("x", "one") for entry in found if isinstance(entry, PromptInput))


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("e.txt", "", "e.txt holds no prompts"),
        ("e.jsonl", "\n\n", "e.jsonl holds no prompts"),
        ("e.json", "", "e.json holds no prompts"),
        ("e.json", "[]", "e.json holds no prompts"),
        ("e.csv", "prompt,target\n", "e.csv holds no prompts"),
        ("e.json", '[{"prompt": "x"},', "e.json is not JSON: Expecting value at line 1, character 18"),
        ("e.json", '{"prompt": "x"}\n{"prompt": "y"}', "One JSON object a line is the format jsonl"),
        ("e.json", b'["caf\xe9"]', "e.json is not UTF-8: byte 0xe9 at offset 5"),
        ("e.json", "[" * 100_000, "nested too deeply"),
        ("e.txt", "text".encode("utf-16"), "e.txt is UTF-16 text"),
        ("e.csv", "prompt,prompt\nx,y\n", "two columns named 'prompt'"),
        ("e.parquet", "no parquet at all", "e.parquet is not Parquet"),
        ("e.docx", "x", "Known: .txt, .jsonl, .json, .csv, .tsv, .parquet"),
        ("e", "x", "says nothing about its format"),
    ],
)
def test_a_file_that_cannot_be_read_at_all_is_one_error(folder, name, content, problem):
    path = write(folder, name, content)
    with pytest.raises(InputError) as error:
        list(read_prompts(str(path)))
    assert problem in str(error.value)


def test_a_missing_file_suggests_its_neighbour_and_fails_before_the_first_prompt(tmp_path):
    write(tmp_path, "prompts.txt", "x")
    with pytest.raises(InputError, match=r"There is no file .*prompt\.txt[.]\nDid you mean 'prompts.txt'"):
        read_prompts(str(tmp_path / "prompt.txt"))
    with pytest.raises(InputError, match="is a folder"):
        read_prompts(str(tmp_path))


def test_stdin_is_text_or_what_the_format_says(monkeypatch):
    def feed(content):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.encode())))

    feed("one\ntwo\n")
    assert read("-") == [PromptInput("one", where="stdin, line 1"), PromptInput("two", where="stdin, line 2")]
    feed('{"prompt": "x", "target": "y"}')
    assert read("-", format="jsonl") == [PromptInput("x", target="y", where="stdin, line 1")]


def test_the_format_option_wins_over_the_extension(folder):
    assert read(write(folder, "f.data", '{"prompt": "x"}'), format="jsonl")[0].text == "x"
    assert read(write(folder, "f.jsonl", '{"prompt": "x"}'), format="txt")[0].text == '{"prompt": "x"}'


@pytest.mark.parametrize("option", ["sample", "limit"])
def test_a_sample_or_limit_below_one_is_refused(folder, option):
    with pytest.raises(UsageError, match=f"--{option} is 0"):
        read(write(folder, "s.txt", "x"), **{option: 0})


def test_an_unknown_format_is_refused(folder):
    with pytest.raises(UsageError, match=r"There is no format 'jsonlines'[.]\nDid you mean 'jsonl'"):
        read(write(folder, "u.txt", "x"), format="jsonlines")


def test_the_data_set_is_the_option_the_record_or_the_file(folder):
    path = write(folder, "name.jsonl", '{"prompt": "x", "dataset": "mine"}\n{"prompt": "x"}')
    assert [p.dataset for p in read(path)] == ["mine", "name"]
    assert [p.dataset for p in read(path, dataset="all")] == ["all", "all"]
