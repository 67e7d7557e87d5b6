"""docs/schema.md is what the vocabulary says."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from flowatlas.vocabulary import NODE_TABLES, RELATIONSHIP_TABLES

ROOT = Path(__file__).parents[2]


def test_the_page_is_what_the_generator_writes():
    done = subprocess.run([sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("table", [*NODE_TABLES, *RELATIONSHIP_TABLES], ids=lambda table: table.name)
def test_the_page_has_every_property_of_every_table(table):
    page = (ROOT / "docs/schema.md").read_text("utf-8")
    heading = table.label if table in NODE_TABLES else table.type
    (section,) = [part for part in page.split("\n### ") if part.startswith(f"{heading}\n")]
    for column in table.columns:
        assert f"| `{column.name}` | `{column.type}`" in section
        assert column.doc in section
    if table in RELATIONSHIP_TABLES:
        assert f"`{table.source}` to `{table.target}`" in section


def test_a_changed_page_is_noticed(tmp_path, monkeypatch):
    module = runpy.run_path(str(ROOT / "docs/generate.py"))
    changed = tmp_path / "schema.md"
    changed.write_text(module["page"]() + "more")
    monkeypatch.setattr(sys, "argv", ["generate.py", "--check"])
    module["main"].__globals__["PAGE"] = changed
    assert module["main"]() == 1
