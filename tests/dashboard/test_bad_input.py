"""What can go wrong under an open page: it says so in words and goes on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from playwright.sync_api import BrowserContext

from benchmarks import synthetic
from flowatlas.shard_writer import write_shard
from flowatlas.shards import Shard
from flowatlas.stores import open_store
from support.screen import Screen, served

HOSTILE = (
    "<script>window.hacked = 1</script>",
    "<img src=x onerror=window.hacked=1>",
    '"quoted" \'twice\' `and` \\',
    "line\nbreak\ttab\r",
    "\u202eright to left \u05e9\u05dc\u05d5\u05dd",
    "x" * 500,
    "</script><b>bold</b>",
    "\x00\x1b[31m",
    "{{constructor}} ${1+1} %s",
)


@pytest.fixture
def copied(demo_uri: str, tmp_path: Path) -> Path:
    """A copy of the demo store that a test may damage."""
    source = Path(demo_uri)
    for file in source.parent.glob("demo.*"):
        if file.is_file():
            shutil.copy(file, tmp_path / file.name)
    return tmp_path / source.name


def hostile_shards(folder: Path) -> list[Shard]:
    """A small store's shards whose every text is an attack."""
    shards = synthetic.write(folder / "plain", synthetic.TINY, 2, seed=3)
    made = []
    for shard in shards:
        tables = {name: shard.table(name) for name in shard.manifest.tables}
        made.append(write_shard(folder / "hostile", shard.manifest.kind, {name: _hostile(table) for name, table in tables.items()}))
    return made


def _hostile(table: pa.Table) -> pa.Table:
    for name in ("text", "top_token", "target", "foil", "predicted", "dataset", "group"):
        if name in table.column_names:
            values = [None if v is None else HOSTILE[i % len(HOSTILE)] for i, v in enumerate(table[name].to_pylist())]
            table = table.set_column(table.column_names.index(name), table.schema.field(name), pa.array(values, pa.string()))
    for name in ("top_tokens", "bottom_tokens", "key_top_tokens", "key_bottom_tokens"):
        if name in table.column_names:
            values = [None if v is None else [HOSTILE[(i + j) % len(HOSTILE)] for j in range(len(v))] for i, v in enumerate(table[name].to_pylist())]
            table = table.set_column(table.column_names.index(name), table.schema.field(name), pa.array(values, table.schema.field(name).type))
    return table


@pytest.fixture
def hostile(tmp_path: Path, window: BrowserContext) -> Iterator[Screen]:
    """A page over a store of attacks."""
    uri = str(tmp_path / "hostile.lbug")
    with open_store(uri, mode="write") as writing:
        for shard in hostile_shards(tmp_path):
            writing.write(shard)
    with open_store(uri) as store, served(store) as address:
        shown = Screen(window.new_page(), address)
        yield shown
        assert shown.problems() == []
        assert shown.page.evaluate("() => window.hacked") is None
        shown.page.close()


def test_hostile_tokens_are_text_everywhere(hostile: Screen) -> None:
    hostile.open(p=0, l="1-1")
    assert "<script>" in hostile.text("#g-title") or "<img" in hostile.text("#g-title")
    labels = hostile.cy("cy.nodes('.n').map(n => n.data('label'))")
    assert any(label.startswith("<script>") for label in labels)
    assert all(len(label) <= 13 and "\n" not in label and "\u202e" not in label for label in labels)
    hostile.hover(".head[head=0]")
    hostile.click(".head[head=0]")
    hostile.wait_text("#fa-inspector", "1) head 0")
    for tab in ("prompts", "heads", "neurons", "compare", "queries"):
        hostile.tab(tab)
    hostile.page.click('[data-query="prompts"]')
    hostile.wait_text("#q-form", "prompts")
    hostile.page.click("#q-run")
    hostile.page.wait_for_selector("#q-grid .ag-cell")
    for kind in ("svg", "html"):
        hostile.tab("graph")
        with hostile.page.expect_download() as waiting:
            hostile.page.click(f"#g-export-{kind}")
        text = Path(waiting.value.path()).read_text("utf-8")
        assert "<script>window" not in text
        assert "<img src" not in text


def test_hostile_prompts_compared(hostile: Screen) -> None:
    hostile.open(tab="compare", a=0, b=1)
    hostile.page.wait_for_selector("#c-right svg .n")
    assert hostile.page.locator("#c-pictures script, #c-pictures img").count() == 0


def test_an_empty_store_says_what_to_do(tmp_path: Path, window: BrowserContext) -> None:
    uri = str(tmp_path / "empty.lbug")
    open_store(uri, mode="write").close()
    with open_store(uri) as store, served(store) as address:
        shown = Screen(window.new_page(), address).open()
        assert "no prompts yet" in shown.text("#g-empty")
        for tab in ("prompts", "heads", "neurons", "compare", "queries", "cypher"):
            shown.tab(tab)
        shown.tab("heads")
        shown.wait_text("#h-note", "No prompt fits")
        assert shown.problems() == []
        shown.page.close()


BAD_ADDRESSES = (
    ("p=-4", "outside"),
    ("l=3-1", "is not a range of layers"),
    ("l=2-90", "This model has layers 0 to 3"),
    ("pos=100000", "outside"),
    ("heads=<b>x</b>", "is none of"),
    ("tab=nowhere", "There is no tab"),
)


def test_a_bad_address_falls_back_and_says_so(screen: Screen) -> None:
    screen.open(p="nobody", tab="queries", q="no_such_query", qp="{broken")
    for words in ("is not a whole number", "cannot be read"):
        screen.wait_text("#fa-says", words)
    screen.wait_text("#q-form", "There is no query 'no_such_query'")
    for address, words in BAD_ADDRESSES:
        screen.page.evaluate("a => { history.pushState(null, '', '/?' + a); dispatchEvent(new PopStateEvent('popstate')); }", address)
        screen.wait_text("#fa-says", words)
        assert screen.cy("cy.nodes('.head').length") > 0


def test_a_prompt_that_is_not_there(screen: Screen) -> None:
    screen.open(p=987654)
    assert "There is no prompt 987654" in screen.text("#g-empty")
    with screen.redrawn():
        screen.page.locator("#g-prompts [col-id=text].ag-cell").nth(1).click()
    assert screen.cy("cy.nodes('.head').length") == 16


def test_a_prompt_deleted_under_an_open_page(copied: Path, window: BrowserContext) -> None:
    with open_store(str(copied)) as store, served(store) as address:
        shown = Screen(window.new_page(), address).open(p=1)
        with open_store(str(copied), mode="write") as writing:
            assert writing.delete([1]) == 1
        with shown.redrawn():
            shown.page.keyboard.press("]")
        assert "There is no prompt 1" in shown.text("#g-empty")
        shown.page.wait_for_function("() => { let n = 0; dash_ag_grid.getApi('p-grid').forEachNode(() => n++); return n === 13; }")
        assert shown.problems() == []
        shown.page.close()


def test_a_lost_database_shows_a_banner_and_comes_back(copied: Path, window: BrowserContext) -> None:
    with open_store(str(copied)) as store, served(store) as address:
        shown = Screen(window.new_page(), address).open(p=0)
        away = copied.with_name("away")
        copied.rename(away)
        shown.wait_text("#fa-banner", "The database cannot be read")
        away.rename(copied)
        shown.page.wait_for_function("() => document.getElementById('fa-banner').textContent === ''")
        shown.wait_text("#fa-says", "The database is back")
        with shown.redrawn():
            shown.page.keyboard.press("]")
        assert shown.cy("cy.nodes('.head').length") == 4
        shown.page.close()


def test_a_typed_prompt_is_ingested_and_opened(copied: Path, window: BrowserContext) -> None:
    with open_store(str(copied)) as store, served(store) as address:
        shown = Screen(window.new_page(), address).open(tab="prompts")
        shown.page.fill("#n-text", "The capital of Japan is the city of")
        shown.page.fill("#n-target", " Tokyo")
        with shown.redrawn():
            shown.page.click("#n-run")
            shown.page.wait_for_selector("#n-progress:not([hidden])")
            shown.page.wait_for_function("() => document.body.dataset.tab === 'graph'", timeout=180_000)
        assert "The capital of Japan is the city of" in shown.text("#g-title")
        assert shown.text(".fa-target") == "Tokyo"
        stored = store.read("MATCH (p:Prompt) WHERE p.dataset = 'typed' RETURN p.id AS id, p.target AS t").to_pylist()
        assert [row["t"] for row in stored] == [" Tokyo"]
        assert shown.problems() == []
        shown.page.close()


@pytest.mark.parametrize(
    ("text", "model", "words"), [("", "demo", "Type a prompt first"), ("Hello", "no/such-model-here", "no/such-model-here")]
)
def test_an_ingest_that_fails_says_why(copied: Path, window: BrowserContext, text: str, model: str, words: str) -> None:
    with open_store(str(copied)) as store, served(store) as address:
        shown = Screen(window.new_page(), address).open(tab="prompts")
        shown.page.fill("#n-text", text)
        shown.page.fill("#n-model", model)
        shown.page.click("#n-run")
        shown.wait_text("#fa-says, #n-words .fa-error", words, timeout=180_000)
        assert store.read("MATCH (p:Prompt) RETURN count(p) AS n")["n"][0].as_py() == 14
        shown.page.close()


def test_too_many_nodes_are_offered_as_a_summary(tmp_path: Path, window: BrowserContext) -> None:
    uri = str(tmp_path / "large.lbug")
    shape = synthetic.Shape(n_layer=12, n_head=12, d_model=96, d_mlp=384, vocabulary=1000, tokens=15)
    with open_store(uri, mode="write") as writing:
        for shard in synthetic.written(tmp_path / "shards", shape, 1):
            writing.write(shard)
    with open_store(uri) as store, served(store) as address:
        shown = Screen(window.new_page(), address).open(l="0-11", mem=12, pos=40, neg=40)
        assert "more than a browser shows well" in shown.text("#g-empty")
        with shown.redrawn():
            shown.page.click("text=See the summary")
        assert shown.cy("cy.nodes('.head').length") == 144
        assert shown.problems() == []
        shown.page.close()
