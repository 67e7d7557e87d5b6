"""The pages that the program writes about itself: schema, commands, queries."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flowatlas.catalogue import catalogue
from flowatlas.vocabulary import NODE_TABLES, RELATIONSHIP_TABLES

ROOT = Path(__file__).parents[2]


def generate(*arguments, folder=ROOT / "docs"):
    command = [sys.executable, str(folder / "generate.py"), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_the_pages_are_what_the_generator_writes():
    done = generate("--check")
    assert done.returncode == 0, done.stderr


def test_a_changed_page_is_noticed_and_written_anew(tmp_path):
    for script in ("generate.py", "reference.py"):
        shutil.copy(ROOT / "docs" / script, tmp_path)
    assert generate(folder=tmp_path).returncode == 0
    assert generate("--check", folder=tmp_path).returncode == 0
    (tmp_path / "schema.md").write_text("changed")
    stale = generate("--check", folder=tmp_path)
    assert stale.returncode == 1
    assert stale.stderr == "docs/schema.md is not what the program says. Run: python docs/generate.py\n"


def section(page, heading):
    parts = (ROOT / "docs" / page).read_text("utf-8").split("\n### ")
    (found,) = [part for part in parts if part.startswith(f"{heading}\n")]
    return found


@pytest.mark.parametrize("table", [*NODE_TABLES, *RELATIONSHIP_TABLES], ids=lambda table: table.name)
def test_the_schema_has_every_property_of_every_table(table):
    found = section("schema.md", table.label if table in NODE_TABLES else table.type)
    for column in table.columns:
        assert f"| `{column.name}` | `{column.type}`" in found
        assert column.doc in found
    if table in RELATIONSHIP_TABLES:
        assert f"`{table.source}` to `{table.target}`" in found


@pytest.mark.parametrize("query", catalogue().queries.values(), ids=lambda query: query.name)
def test_every_query_is_there_with_its_parameters_and_columns(query):
    found = section("queries.md", query.name)
    assert query.title in found
    assert all(f"* `{parameter.name}`: {parameter.doc}" in found for parameter in query.parameters)
    assert all(f"`{column.name}` {column.doc}" in found for column in query.columns)
