"""What importing costs: help and queries load neither torch nor dash, `import flowatlas` no driver."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer

from flowatlas.cli.main import create_app

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "numba", "dash", "plotly", "ladybug", "neo4j")


def loaded_by(code):
    """Which of HEAVY are loaded after running `code` in a process of its own."""
    probe = f"""
import sys
try:
    exec({code!r})
except SystemExit as left:
    assert not left.code, left.code
print("LOADED", *[name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split("LOADED")[1].split())


def run_cli(*arguments):
    return f"import sys; sys.argv = ['flowatlas', *{arguments!r}]; from flowatlas.cli.main import run; run()"


def commands():
    return sorted(typer.main.get_command(create_app()).commands)


def test_the_commands_of_the_design_are_there():
    assert {"ingest", "query", "cypher", "graph", "dashboard", "store", "demo"} <= set(commands())


@pytest.mark.parametrize("command", commands())
def test_help_loads_nothing_heavy(command):
    assert loaded_by(run_cli(command, "--help")) == set()


def test_the_list_of_queries_loads_nothing_heavy():
    assert loaded_by(run_cli("query")) == set()


def test_import_flowatlas_loads_no_driver():
    assert loaded_by("import flowatlas") == set()


def test_query_loads_no_torch_and_no_dash():
    assert loaded_by("import query").isdisjoint({"torch", "transformers", "dash", "plotly"})


def test_the_dashboard_loads_no_torch():
    assert loaded_by("import dashboard").isdisjoint({"torch", "transformers", "numba"})


def test_import_contracts():
    lint_imports = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint_imports, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout
