"""What must not be in the repository: addresses of package registries, paths of one machine, large files."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN = {
    "the address of a package registry": re.compile(
        r"(--(extra-)?index-url|--find-links)[ =]+[\"']?https?:|https?://[^\s)\"']*(pypi|simple/|artifactory|nexus|/wheels)", re.IGNORECASE
    ),
    "a path of one machine": re.compile(r"(?<![\w.])/(work|home|root|Users)/[\w.]"),
}
ALLOWED = {
    # The documented public address of Maven's and Neo4j's own downloads would match nothing above.
    Path("tests/house/test_tracked_files.py"),
}
LARGEST = 12_000_000


def tracked():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [Path(name) for name in listed.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_holds(what):
    found = []
    for path in tracked():
        if path in ALLOWED:
            continue
        try:
            text = (ROOT / path).read_text("utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path}:{n}: {line[:120]}" for n, line in enumerate(text.splitlines(), 1) if FORBIDDEN[what].search(line)]
    assert not found, "\n".join(found)


def test_the_patterns_find_what_they_are_for():
    registry, machine = FORBIDDEN.values()
    assert registry.search("uv pip install --index-url https://mirror.example/")
    assert registry.search('find-links = "https://mirror.example/simple/"')
    assert machine.search("open('/home/ann/model')")
    assert machine.search("cd /work/main")
    assert not machine.search("see docs/work/notes and https://example.org/home/x")


def test_no_file_is_large():
    large = [f"{path}: {(ROOT / path).stat().st_size:,} bytes" for path in tracked() if (ROOT / path).stat().st_size > LARGEST]
    assert not large, "\n".join(large)


def test_no_module_of_the_packages_is_long():
    """One idea a module; 400 lines are a sure sign of two."""
    long = [
        f"{path}: {lines} lines"
        for path in tracked()
        if path.suffix == ".py"
        and path.parts[0] in ("flowatlas", "ingest", "query", "dashboard")
        and (lines := len((ROOT / path).read_text("utf-8").splitlines())) > 400
    ]
    assert not long, "\n".join(long)


def test_there_is_no_package_marker_under_tests():
    assert not [path for path in tracked() if path.parts[0] == "tests" and path.name == "__init__.py"]


def test_requirements_are_pinned_and_cover_the_project():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert all(re.match(r"^[a-z0-9._-]+(\[[a-z,]+\])?==[^ ]+( ; .+)?$", line) for line in lines)
    pinned = {line.split("==")[0] for line in lines}
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    names = {re.split(r"[\[<>=~]", need)[0].lower().replace("_", "-") for need in wanted}
    assert names <= pinned, names - pinned
