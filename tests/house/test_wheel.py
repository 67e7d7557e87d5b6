"""The wheel holds the four packages and their resources, and its command line works away from the checkout."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The wheel's content as `pip install --no-deps --target` leaves it; and how to run its command line there."""
    site = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    elsewhere = tmp_path_factory.mktemp("elsewhere")

    def run(code, *arguments, environment=None):
        command = [sys.executable, "-c", code, *arguments]
        env = {**os.environ, "PYTHONPATH": str(site), **(environment or {})}
        return subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, env=env, timeout=300)

    return run


COMMAND_LINE = "from flowatlas.cli.main import run; run()"


def test_it_holds_the_packages_and_their_resources_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tops = {name.split("/")[0] for name in names}
    assert tops == {"flowatlas", "ingest", "query", "dashboard", "flowatlas-0.1.0.dist-info"}
    tracked = subprocess.run(
        ["git", "ls-files", "flowatlas", "ingest", "query", "dashboard", "cypher", "model_configs"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    moved = ("cypher/", "model_configs/")
    wanted = {f"flowatlas/_resources/{name}" if name.startswith(moved) else name for name in tracked}
    assert wanted <= names, sorted(wanted - names)
    assert "flowatlas/_resources/demo_model/model.safetensors" in names
    assert "flowatlas/_resources/examples/prompts.jsonl" in names
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests")]


def test_it_reads_its_own_files(installed):
    code = (
        "import flowatlas, ingest, query, dashboard, json; from flowatlas.resources import resource;"
        "print(json.dumps([m.__file__ for m in (flowatlas, ingest, query, dashboard)]"
        " + [str(resource(n)) for n in ('cypher', 'model_configs', 'demo_model', 'examples')]))"
    )
    done = installed(code)
    assert done.returncode == 0, done.stderr
    paths = json.loads(done.stdout)
    assert not [path for path in paths if Path(path).is_relative_to(ROOT)]
    assert all("_resources" in path for path in paths[4:])


def test_it_ingests_and_answers(installed, tmp_path):
    (tmp_path / "two.txt").write_text("The capital of Japan is the city of\nThe capital of Peru is the city of\n")
    store = str(tmp_path / "two.lbug")
    cache = {"FLOWATLAS_CACHE": str(tmp_path / "cache")}
    done = installed(COMMAND_LINE, "ingest", str(tmp_path / "two.txt"), "--store", store, environment=cache)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    answer = installed(COMMAND_LINE, "query", "prompts", "--store", store, "--format", "json")
    assert answer.returncode == 0, answer.stderr
    assert [row["text"] for row in json.loads(answer.stdout)] == [
        "The capital of Japan is the city of",
        "The capital of Peru is the city of",
    ]


def test_its_metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read("flowatlas-0.1.0.dist-info/METADATA").decode()
        entry_points = archive.read("flowatlas-0.1.0.dist-info/entry_points.txt").decode()
    assert "Requires-Python: >=3.11" in metadata
    assert "License-Expression: MIT" in metadata
    assert "flowatlas = flowatlas.cli.main:run" in entry_points
