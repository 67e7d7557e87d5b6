"""`flowatlas ingest` as its users meet it: again, interrupted, killed, and with everything that can be wrong."""

from __future__ import annotations

import json
import random
import shutil
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import tokenizers

from flowatlas import open_store
from flowatlas.shards import Shard
from flowatlas.stores.base import Written
from flowatlas.stores.ladybug import LadybugStore
from support.cli import Result, flowatlas, start
from support.models import random_model, save_tokenizer
from support.store_content import assert_same, content

WORDS = "the a capital city of Japan France is when Mary John went to store gave drink and language in".split()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model("gpt2", tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty different prompts of several lengths."""
    draw = random.Random(0)
    lines = {" ".join(draw.choices(WORDS, k=draw.randint(1, 7))) for _ in range(60)}
    rows = [
        {"prompt": line, "target": " the", "foil": " of", "group": str(n % 3)}
        for n, line in enumerate(sorted(lines)[:40])
    ]
    file = tmp_path_factory.mktemp("prompts") / "prompts.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"FLOWATLAS_CACHE": str(tmp_path / "cache"), "FLOWATLAS_SHARD_PROMPTS": "8"}


@pytest.fixture(scope="module")
def whole(model: Path, prompts: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The content of a store after an undisturbed ingest."""
    folder = tmp_path_factory.mktemp("whole")
    cache = {"FLOWATLAS_CACHE": str(folder / "cache"), "FLOWATLAS_SHARD_PROMPTS": "8"}
    done = flowatlas("ingest", prompts, "--model", model, "--store", folder / "a.lbug", **cache)
    assert done.code == 0, done.stderr
    with open_store(str(folder / "a.lbug")) as store:
        return content(store)


def ingest(prompts: Path | str, model: Path | str, store: Path, environment: dict[str, str], *more: str) -> Result:
    return flowatlas("ingest", prompts, "--model", model, "--store", store, *more, **environment)


def prompt_count(store: Path) -> int:
    with open_store(str(store)) as opened:
        return int(opened.read("MATCH (p:Prompt) RETURN count(p) AS n")["n"][0].as_py())


def test_the_summary_says_what_was_done(
    model: Path, prompts: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    report = tmp_path / "report.json"
    done = ingest(prompts, model, tmp_path / "s.lbug", environment, "--report", str(report))
    assert done.code == 0
    assert done.stdout == ""
    assert "40 prompts ingested" in done.stderr
    found = json.loads(report.read_text())
    with open_store(str(tmp_path / "s.lbug")) as store:
        row = store.read(
            "MATCH (p:Prompt) RETURN sum(1.0 * p.n_state) AS states, sum(1.0 * p.n_relationship) AS relationships"
        ).to_pylist()[0]
        counted = sum(
            store.read(f"MATCH (s:{label}) RETURN count(s) AS n")["n"][0].as_py()
            for label in ("State", "Query", "Key", "Value", "Head")
        )
    assert found["prompts"] == 40
    assert found["states"] == row["states"] == counted
    assert found["relationships"] == row["relationships"]
    assert found["seconds"]["lens"] > 0


def test_a_second_ingest_adds_nothing(
    model: Path, prompts: Path, tmp_path: Path, environment: dict[str, str], whole: dict
) -> None:
    store = tmp_path / "s.lbug"
    assert ingest(prompts, model, store, environment).code == 0
    again = ingest(prompts, model, store, environment)
    assert again.code == 0
    assert "0 prompts ingested, 40 already there" in again.stderr
    with open_store(str(store)) as opened:
        assert_same(content(opened), whole)


def test_prompts_are_numbered_in_the_order_of_the_file(
    model: Path, prompts: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    store = tmp_path / "s.lbug"
    assert ingest(prompts, model, store, environment).code == 0
    with open_store(str(store)) as opened:
        texts = opened.read("MATCH (p:Prompt) RETURN p.text AS text ORDER BY p.id")["text"].to_pylist()
    assert texts == [json.loads(line)["prompt"] for line in prompts.read_text().splitlines()]


def test_a_lost_store_comes_back_from_its_shards(
    model: Path, prompts: Path, tmp_path: Path, environment: dict[str, str], whole: dict
) -> None:
    """Shards are the source of truth: nothing is computed a second time."""
    store = tmp_path / "s.lbug"
    assert ingest(prompts, model, store, environment).code == 0
    for file in tmp_path.glob("s.lbug*"):
        file.unlink()
    report = tmp_path / "report.json"
    assert ingest(prompts, model, store, environment, "--report", str(report)).code == 0
    assert "lens" not in json.loads(report.read_text())["seconds"]
    with open_store(str(store)) as opened:
        assert_same(content(opened), whole)


def test_a_killed_process_is_started_again(
    model: Path, prompts: Path, tmp_path: Path, environment: dict[str, str], whole: dict
) -> None:
    """kill -9 in the middle, then the same command: what an undisturbed run gives (see test_killed.py for more)."""
    store = tmp_path / "s.lbug"
    process = start("ingest", prompts, "--model", model, "--store", store, **environment)
    while process.poll() is None and not list((tmp_path / "s.shards").glob("prompts-*")):
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    done = ingest(prompts, model, store, environment)
    assert done.code == 0, done.stderr
    with open_store(str(store)) as opened:
        assert_same(content(opened), whole)
    assert not list((tmp_path / "s.shards").glob(".writing-*"))


def test_the_order_of_prompts_does_not_matter(
    model: Path, prompts: Path, tmp_path: Path, environment: dict[str, str], whole: dict
) -> None:
    # The data set's name is the file's: it stays that of the undisturbed run.
    file = tmp_path / prompts.name
    file.write_text("".join(reversed(prompts.read_text().splitlines(keepends=True))))
    assert ingest(file, model, tmp_path / "s.lbug", environment | {"FLOWATLAS_SHARD_PROMPTS": "64"}).code == 0
    with open_store(str(tmp_path / "s.lbug")) as opened:
        assert_same(content(opened), whole)


def shards_a_write(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many shards each write to the embedded store brings, as they come."""
    writes: list[int] = []
    write = LadybugStore._write_prompts

    def counted(store: LadybugStore, shards: Sequence[Shard], only: frozenset[str] | None) -> Written:
        writes.append(len(shards))
        return write(store, shards, only)

    monkeypatch.setattr(LadybugStore, "_write_prompts", counted)
    return writes


def test_a_store_written_one_prompt_at_a_time_has_the_same_numbers(
    model: Path, prompts: Path, tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many small writes: the embedded database's compression of appended float lists once lost numbers."""
    file = tmp_path / prompts.name
    file.write_text("".join(prompts.read_text().splitlines(keepends=True)[:15]))
    contents = []
    monkeypatch.setattr(LadybugStore, "relationships_a_write", 0)
    writes = shards_a_write(monkeypatch)
    for size in ("1", "15"):
        store = tmp_path / f"{size}.lbug"
        assert ingest(file, model, store, environment | {"FLOWATLAS_SHARD_PROMPTS": size}).code == 0
        with open_store(str(store)) as opened:
            contents.append(content(opened))
    assert writes == [1] * 16
    assert_same(*contents)


def test_shards_are_written_together_where_that_is_cheaper(
    model: Path,
    prompts: Path,
    tmp_path: Path,
    environment: dict[str, str],
    whole: dict,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(LadybugStore, "relationships_a_write", 8000)
    writes = shards_a_write(monkeypatch)
    assert ingest(prompts, model, tmp_path / "s.lbug", environment).code == 0
    assert len(writes) > 1
    assert sum(writes) == 5
    with open_store(str(tmp_path / "s.lbug")) as opened:
        assert_same(content(opened), whole)


# Bad input: one clear error each, the right exit code, nothing half-written.


def refused(done: Result, *words: str, code: int = 1) -> None:
    assert done.code == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    flat = " ".join(done.stderr.split())
    for word in words:
        assert word in flat, flat


@pytest.fixture
def nothing_written(tmp_path: Path) -> Iterator[Path]:
    store = tmp_path / "none.lbug"
    yield store
    if store.exists():
        assert prompt_count(store) == 0
    assert not list((tmp_path / "none.shards").glob("prompts-*"))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("empty.txt", "", ["empty"]),
        ("broken.jsonl", '{"prompt": "a b"\n', ["line 1", "JSON"]),
        ("blank.jsonl", '{"prompt": "  "}\n', ["line 1", "empty"]),
        ("long.jsonl", json.dumps({"prompt": "the " * 400}) + "\n", ["line 1", "tokens", "at most"]),
        ("field.jsonl", '{"text": "a b"}\n', ["line 1", "prompt"]),
    ],
)
def test_unusable_files(
    name: str,
    text: str,
    words: list[str],
    model: Path,
    tmp_path: Path,
    environment: dict[str, str],
    nothing_written: Path,
) -> None:
    file = tmp_path / name
    file.write_text(text)
    refused(ingest(file, model, nothing_written, environment), *words)


def test_a_missing_file(model: Path, environment: dict[str, str], nothing_written: Path, tmp_path: Path) -> None:
    refused(ingest(tmp_path / "no.jsonl", model, nothing_written, environment), "no.jsonl")


def test_a_bad_line_does_not_stop_the_others_unless_strict(
    model: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    file = tmp_path / "mixed.jsonl"
    file.write_text('{"prompt": "the city of"}\nnot json\n{"prompt": ""}\n{"prompt": "the store"}\n')
    done = ingest(file, model, tmp_path / "s.lbug", environment)
    assert done.code == 0
    assert "2 prompts ingested" in done.stderr
    assert "line 2" in done.stderr
    assert "line 3" in done.stderr
    strict = ingest(file, model, tmp_path / "t.lbug", environment, "--strict")
    refused(strict, "line 2")


def test_a_target_of_several_tokens_is_cut_and_noted(model: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text(json.dumps({"prompt": "the city of", "target": " Qxzjqqk"}) + "\n")
    done = ingest(file, model, tmp_path / "s.lbug", environment)
    assert done.code == 0
    assert "the first, stands for it" in " ".join(done.stderr.split())
    with open_store(str(tmp_path / "s.lbug")) as store:
        row = store.read("MATCH (p:Prompt) RETURN p.note AS note, p.target AS target").to_pylist()[0]
    assert "tokens" in row["note"]
    assert " Qxzjqqk".startswith(row["target"])


def test_a_target_that_cannot_be_made(
    model: Path, tmp_path: Path, environment: dict[str, str], nothing_written: Path
) -> None:
    """A tokenizer of whole words has no token for a word that it does not know."""
    folder = tmp_path / "words"
    shutil.copytree(model, folder)
    vocabulary = {"[UNK]": 0, **{word: n for n, word in enumerate(WORDS, 1)}}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    save_tokenizer(folder, tokenizer, unk_token="[UNK]")
    file = tmp_path / "p.jsonl"
    file.write_text(json.dumps({"prompt": "the city of", "target": "Atlantis"}) + "\n")
    refused(ingest(file, folder, nothing_written, environment), "line 1", "target", "Atlantis")


def test_a_model_folder_without_safetensors(
    model: Path, prompts: Path, tmp_path: Path, environment: dict[str, str], nothing_written: Path
) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(model, folder)
    for file in folder.glob("*.safetensors"):
        file.rename(folder / "pytorch_model.bin")
    refused(ingest(prompts, folder, nothing_written, environment), "safetensors")


def test_an_unknown_family(
    model: Path, prompts: Path, tmp_path: Path, environment: dict[str, str], nothing_written: Path
) -> None:
    folder = tmp_path / "strange"
    shutil.copytree(model, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(config | {"model_type": "ctrl", "architectures": ["CTRLLMHeadModel"]})
    )
    refused(ingest(prompts, folder, nothing_written, environment), "ctrl", "gpt2", "llama")


def test_a_model_that_is_not_there(prompts: Path, environment: dict[str, str], nothing_written: Path) -> None:
    refused(ingest(prompts, "/no/such/folder", nothing_written, environment), "/no/such/folder")


def test_a_store_that_another_process_writes(
    model: Path, prompts: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    with open_store(str(tmp_path / "s.lbug"), mode="write"):
        refused(ingest(prompts, model, tmp_path / "s.lbug", environment), "writ")


@pytest.mark.parametrize(
    "option", [("--positions", "first"), ("--keep", "best"), ("--keep", "top:0"), ("--keep", "mass:2")]
)
def test_choices_that_do_not_exist(
    option: tuple[str, str], model: Path, prompts: Path, environment: dict[str, str], nothing_written: Path
) -> None:
    refused(ingest(prompts, model, nothing_written, environment, *option), option[1], code=2)


def test_the_port_in_use_is_said(tmp_path: Path, model: Path, environment: dict[str, str]) -> None:
    file = tmp_path / "p.txt"
    file.write_text("the city of\n")
    store = tmp_path / "s.lbug"
    assert ingest(file, model, store, environment).code == 0
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = flowatlas("dashboard", "--store", store, "--port", str(port))
    refused(done, str(port))
