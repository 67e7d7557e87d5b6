"""The command: a whole report on disk, two sides beside each other, and what it says when it cannot."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import polars as pl
import pytest

from benchmarks.synthetic import TINY, planted, write
from flowatlas.stores import open_store
from query.analyses import ANALYSES
from support.cli import flowatlas

FACTS = planted(TINY)
EVERY_KIND = ["heads_without_wo", "heads_with_wo", "heads_by_index", "head_effects", "always_on_neurons", "neuron_weights", "graph_attention"]
"""Figures with every kind of panel, and two that this store cannot give: drawing all of them takes long."""


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    path = str(folder / "store.lbug")
    with open_store(path, mode="write") as store:
        for shard in write(folder / "shards", TINY, 12, seed=2):
            store.write(shard)
    return path


def analyze(uri, *arguments, **environment):
    return flowatlas("analyze", *arguments, "--store", uri, "--resamples", "20", **environment)


class Page(HTMLParser):
    """Sections of a page and every address that it names."""

    def __init__(self, text):
        super().__init__()
        self.sections, self.addresses, self.images = [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.sections += [given["id"]] if tag == "section" else []
        self.addresses += [value for name, value in attrs if name in ("src", "href")]


@pytest.fixture(scope="module")
def report(uri, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "report"
    done = analyze(uri, *EVERY_KIND, "--out", out)
    assert done.code == 0, done.stderr
    return out, done.stderr


def test_a_report_is_a_page_with_pictures_and_data(report):
    out, said = report
    text = (out / "index.html").read_text()
    page = Page(text)
    assert page.sections == [name for name in ANALYSES if name in EVERY_KIND]
    for address in page.addresses:
        assert address.startswith("#") or (out / address).is_file(), address
    missing = re.findall(r'<section id="(\w+)"><h2>[^/]*?</small></h2><p class=reason>', text)
    assert missing == ["heads_without_wo", "neuron_weights"]
    for name in EVERY_KIND:
        files = {path.suffix for path in out.rglob(f"{name}.*")}
        assert files == (set() if name in missing else {".svg", ".png", ".parquet", ".csv"}), name
    assert f"{len(EVERY_KIND) - len(missing)} figures from 12 prompts" in said
    # One copy of the library, and nothing from elsewhere.
    assert text.count("plotly.js v") == 1
    assert not re.search(r'<(?:script|link|img)[^>]+(?:src|href)="http', text)


def test_the_data_is_the_same_in_both_formats(report):
    out, _ = report
    for file in sorted((out / "data").glob("*.parquet")):
        whole, text = pl.read_parquet(file), pl.read_csv(file.with_suffix(".csv"), infer_schema_length=None)
        assert text.columns == whole.columns
        assert len(text) == len(whole) > 0


def test_pictures_are_pictures(report):
    out, _ = report
    from PIL import Image

    for file in sorted((out / "figures").glob("*.png")):
        with Image.open(file) as image:
            assert min(image.size) > 200
            assert len(image.convert("RGB").getcolors(2**24)) > 20, file.name
        assert file.with_suffix(".svg").read_text().rstrip().endswith("</svg>")


def test_planted_facts_are_found(report):
    out, _ = report
    effects = pl.read_csv(out / "data/head_effects.csv").filter(pl.col("effect_on") == "target").sort("effect")
    assert (effects["layer"][-1], effects["head"][-1]) == FACTS.promoting
    assert (effects["layer"][0], effects["head"][0]) == FACTS.demoting
    neurons = pl.read_csv(out / "data/always_on_neurons.csv").filter(pl.col("group") == "always on")
    row = neurons.filter((pl.col("layer") == FACTS.always_on[0]) & (pl.col("neuron") == FACTS.always_on[1]))
    assert row["share"].to_list() == [1.0]
    assert row["norm"][0] == pytest.approx(8.0)
    assert row["entropy"][0] == pytest.approx(14.0)


def test_two_models_side_by_side(uri, tmp_path):
    """Models are named by their names; each side is what its model gives alone."""
    both = tmp_path / "both.lbug"
    with open_store(str(both), mode="write") as store:
        for seed in (2, 3):
            for shard in write(tmp_path / f"shards{seed}", TINY, 6, seed=seed):
                store.write(shard)
    done = analyze(both, "head_effects", "-p", "model=synthetic-2", "--against", "model=synthetic-3", "--out", tmp_path / "r")
    assert done.code == 0, done.stderr
    data = pl.read_csv(tmp_path / "r/data/head_effects.csv")
    assert data["side"].n_unique() == 2
    assert data.group_by("side").len()["len"].unique().to_list() == [len(data) // 2]
    sides = [part["effect"].to_list() for _, part in data.group_by("side", maintain_order=True)]
    assert sides[0] != sides[1]
    mixed = analyze(both, "head_effects", "--out", tmp_path / "m")
    assert mixed.code == 1
    assert "several models" in " ".join(mixed.stderr.split())


def test_two_selections_side_by_side(uri, tmp_path):
    done = analyze(uri, "head_effects", "top_head", "--out", tmp_path / "r", "-p", "group=first", "--against", "group=second,correct=true")
    assert done.code == 0, done.stderr
    data = pl.read_csv(tmp_path / "r/data/top_head.csv")
    sides = ["A: group=first", "B: group=second,correct=true"]
    assert data["side"].unique(maintain_order=True).to_list() == sides
    alone = analyze(uri, "top_head", "--out", tmp_path / "alone", "-p", "group=second", "-p", "correct=true")
    assert alone.code == 0, alone.stderr
    assert data.filter(pl.col("side") == sides[1]).drop("side").equals(pl.read_csv(tmp_path / "alone/data/top_head.csv"))
    text = (tmp_path / "r/index.html").read_text()
    assert all(side in text for side in sides)


def test_the_same_report_twice_is_the_same(uri, tmp_path):
    for name in ("one", "two"):
        assert analyze(uri, "top_head", "--out", tmp_path / name).code == 0
    for file in ("figures/top_head.svg", "figures/top_head.png", "data/top_head.csv"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["top_heads"], 2, "Did you mean 'top_head'?"),
        (["top_head", "--k", "51"], 2, "50 top tokens are stored"),
        (["top_head", "-p", "dataset=nothing"], 2, "No prompt has the dataset 'nothing'"),
        (["top_head", "-p", "text=no such text"], 1, "No prompt is selected"),
        (["top_head", "-p", "colour=red"], 2, "cannot be chosen by 'colour'"),
        (["top_head", "--against", "group"], 2, "not a selection"),
        (["graph_block", "--layer", "9"], 1, "There is no layer 9"),
        (["graph_block", "--prompt", "99"], 1, "There is no prompt 99"),
        (["neuron_weights"], 1, "A store holds no weights"),
    ],
)
def test_what_cannot_be_is_said(uri, tmp_path, arguments, code, message):
    done = analyze(uri, *arguments, "--out", tmp_path / "r")
    assert done.code == code
    assert message in " ".join(done.stderr.split())
    assert not (tmp_path / "r").exists()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there(uri, tmp_path):
    out = tmp_path / "r"
    assert analyze(uri, "top_head", "--out", out).code == 0
    (out / "old.txt").write_text("old")
    again = analyze(uri, "top_head", "--out", out)
    assert again.code == 2
    assert "not empty" in again.stderr
    assert (out / "old.txt").exists()
    assert analyze(uri, "top_head", "--out", out, "--force").code == 0
    assert not (out / "old.txt").exists()
    other = tmp_path / "mine"
    other.mkdir()
    (other / "thesis.tex").write_text("x")
    assert "no report" in " ".join(analyze(uri, "top_head", "--out", other, "--force").stderr.split())
    assert (other / "thesis.tex").exists()


def test_prompts_that_are_all_answered_right(uri, tmp_path):
    assert analyze(uri, "prediction_by_layer", "-p", "correct=true", "--out", tmp_path / "r").code == 0
    assert "there are no wrong answers to set against them" in (tmp_path / "r/index.html").read_text()
    data = pl.read_csv(tmp_path / "r/data/prediction_by_layer.csv")
    assert data["subset"].unique().to_list() == ["all prompts"]


def test_one_prompt(uri, tmp_path):
    """No other prompt to compare with: no control, bands of no width, and still a figure."""
    with open_store(uri) as store:
        text = store.read("MATCH (p:Prompt) RETURN p.text AS text ORDER BY p.id LIMIT 1")["text"][0].as_py()
    names = ["heads_with_wo", "head_effects", "prediction_by_layer"]
    done = analyze(uri, *names, "-p", f"text={text}", "--out", tmp_path / "r")
    assert done.code == 0, done.stderr
    data = pl.read_csv(tmp_path / "r/data/heads_with_wo.csv")
    assert not data["line"].str.contains("shuffled").any()
    assert data["low"].to_list() == pytest.approx(data["high"].to_list())


def test_no_out_and_the_list(uri):
    assert "--out" in analyze(uri, "top_head").stderr
    listed = flowatlas("analyze", "--list", "--format", "csv").stdout
    assert [line.split(",")[0] for line in listed.splitlines()[1:]] == list(ANALYSES)


def test_tokens_of_any_script_are_drawn_as_text():
    from dashboard.report.interactive import interactive
    from dashboard.report.pictures import pictures
    from query.analyses.records import Cloud, Points, Words

    tokens = ["\u6771\u4eac", "$x_1$", "<b>&", "\u202etrick", "\n"]
    panels = [Points("t", "x", "y", [Cloud("c", range(5), range(5), tokens)]), Words("w", ("token",), [(t,) for t in tokens])]
    drawn = pictures("title", panels)
    text = drawn["svg"].decode()
    assert "\u6771\u4eac" in text
    assert "$x_1$" in text
    assert "<b>" not in text
    assert "\u202e" not in text
    page = interactive(panels).to_json()
    assert "<b>" not in page
    assert "\u202e" not in page
