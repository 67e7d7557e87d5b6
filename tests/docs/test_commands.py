"""Every command that the documentation shows runs, and prints what is shown below it."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from flowatlas.settings import Settings

ROOT = Path(__file__).parents[2]
CONSOLE = runpy.run_path(str(ROOT / "docs/console.py"))
PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if "```console" in page.read_text()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of(page):
    assert CONSOLE["check"](page, write=False) == []


def test_steps_and_their_output():
    step, other = CONSOLE["steps"]("$ one <<X\n> two\n> X\nshown\n\n$ three\n")
    assert (step.command, step.shown) == ("one <<X\ntwo\nX", ("shown", ""))
    assert (other.command, other.shown) == ("three", ())


@pytest.mark.parametrize(
    ("shown", "printed", "alike"),
    [
        (["a 1.234 b"], ["a 1.233 b"], True),
        (["a 1.234 b"], ["a 1.3 b"], False),
        (["took 12 s"], ["took 3,456.7 s"], True),
        (["1.5 s (lens 1.0, neuron ranks 0.5) into x"], ["9.5 s (lens 3.0, neuron ranks 6.5)", "into x"], True),
        (["2 prompts"], ["3 prompts"], False),
        (["one", "..."], ["one", "two", "three"], True),
        (["one", "..."], ["two", "one"], False),
        (["one"], ["one", "two"], False),
        (["│ layer │ 3 │", "├───┤"], ["│ layer │ 3 │", "├─────┤"], True),
    ],
)
def test_what_counts_as_the_same_output(shown, printed, alike):
    assert (CONSOLE["differences"](tuple(shown), printed) == []) is alike


@pytest.mark.parametrize(
    ("command", "plain"),
    [
        ("flowatlas query models", (["query", "models"], None)),
        ("flowatlas query token_search -p token=' a'", (["query", "token_search", "-p", "token= a"], None)),
        ("flowatlas query models | head -n 8", (["query", "models"], 8)),
        ('flowatlas cypher "MATCH (p:Prompt) RETURN p.id"', (["cypher", "MATCH (p:Prompt) RETURN p.id"], None)),
        ("flowatlas query models | wc -l", None),
        ("flowatlas ingest x > log 2>&1", None),
        ("flowatlas query x; echo $?", None),
        ("flowatlas query $NAME", None),
        ("cat flowatlas", None),
    ],
)
def test_which_commands_need_no_shell(command, plain):
    assert CONSOLE["plain_words"](command) == plain


def test_the_warm_process_prints_what_a_shell_does(tmp_path):
    with CONSOLE["console"](tmp_path) as here:
        for command in ("flowatlas query --format csv | head -n 3", "flowatlas query no_such_query"):
            lines = here._in_shell(command).splitlines()
            assert sorted(here.run(command)) == sorted(line.rstrip() for line in lines)


def test_a_page_that_lies_is_found_and_put_right(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("Before\n\n```console\n$ echo hello\nbye\n```\n\nAfter\n")
    command = [sys.executable, "docs/console.py", str(page)]
    lies = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert lies.returncode == 1
    assert "'bye' where 'hello' was printed" in lies.stderr
    subprocess.run([*command, "--write"], cwd=ROOT, check=True)
    assert page.read_text() == "Before\n\n```console\n$ echo hello\nhello\n```\n\nAfter\n"


def test_every_setting_is_documented():
    page = (ROOT / "docs/install.md").read_text()
    for name, field in Settings.model_fields.items():
        assert f"| `FLOWATLAS_{name.upper()}` | {field.description} |" in page


def test_every_page_is_linked_from_the_readme_and_every_link_leads_somewhere():
    import re

    readme = (ROOT / "README.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{page.name})" in readme, f"{page.name} is not linked"
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
