"""The Docker files, checked as far as they can be without an engine."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import compose_spec
import pytest
import yaml

from flowatlas.settings import Settings
from flowatlas.stores.neo4j_home import SAFE

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
COMPOSE = ROOT / "docker" / "compose.yaml"
GIVEN = {"FLOWATLAS_NEO4J_PASSWORD": "given", "FLOWATLAS_DASHBOARD_PASSWORD": "given too"}


def instructions(name: str) -> list[str]:
    """Arguments of one kind of instruction, in order."""
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    return [line.split(None, 1)[1] for line in text.splitlines() if line.startswith(f"{name} ")]


def copied() -> list[str]:
    """Paths of the checkout that the Dockerfile copies."""
    lines = [line.split() for line in instructions("COPY") if not line.startswith("--from")]
    return [path for words in lines for path in words[:-1]]


def substituted(text: str, environment: dict[str, str]) -> str:
    """Compose's own ${NAME:-default} and ${NAME:?message}; raises KeyError with the message when one must be given."""

    def value(found: re.Match[str]) -> str:
        name, kind, word = found.groups()
        if name in environment:
            return environment[name]
        if kind == ":?":
            raise KeyError(word)
        return word

    return re.sub(r"(?<!\$)\$\{(\w+)(:-|:\?)([^}]*)\}", value, text)


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, object]]:
    services: dict[str, dict[str, object]] = yaml.safe_load(substituted(COMPOSE.read_text(), GIVEN))["services"]
    return services


def test_the_dockerfile_is_linted() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_is_pinned_slim_and_not_roots() -> None:
    for image in instructions("FROM"):
        assert re.match(r"python:3\.\d+\.\d+-slim-\w+( AS build)?$", image)
    assert instructions("USER") == ["10001"]


def test_everything_that_is_copied_is_there_and_in_the_context() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    ignore = (ROOT / "docker" / "Dockerfile.dockerignore").read_text().splitlines()
    for path in copied():
        assert any(name == path or name.startswith(f"{path}/") for name in tracked), path
        assert f"!{path}" in ignore, path
    assert sorted(line[1:] for line in ignore if line.startswith("!")) == sorted(copied())


def test_the_wheel_is_built_from_what_is_copied_and_its_entry_points_run(tmp_path: Path) -> None:
    context, site = tmp_path / "src", tmp_path / "site"
    for path in copied():
        if (ROOT / path).is_dir():
            shutil.copytree(ROOT / path, context / path, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (context / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, context / path)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=context, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    code = "from flowatlas.cli.main import run; run()"
    commands = [yaml.safe_load(line) for line in instructions("CMD")]
    services = yaml.safe_load(substituted(COMPOSE.read_text(), GIVEN))["services"]
    commands += [
        services["dashboard"]["command"],
        [*services["ingest"]["entrypoint"][1:], *services["ingest"]["command"]],
    ]
    assert yaml.safe_load(instructions("ENTRYPOINT")[0]) == ["flowatlas"] == services["ingest"]["entrypoint"][:1]
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-c", code, *command, "--help"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(site)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, (shlex.join(command), done.stderr)
        for option in (word for word in command if word.startswith("--")):
            assert option in done.stdout, option


def test_the_compose_file_is_one_by_the_specification() -> None:
    options = compose_spec.PyOptions()
    options.apply_merge = True
    text = substituted(COMPOSE.read_text(), GIVEN)
    parsed = options.from_yaml(text)
    parsed.validate()
    assert sorted(parsed.service_names()) == ["dashboard", "ingest", "neo4j"]
    with pytest.raises(ValueError, match="helthcheck"):
        options.from_yaml(text.replace("healthcheck:", "helthcheck:"))


@pytest.mark.parametrize("name", sorted(GIVEN))
def test_passwords_must_be_given(name: str) -> None:
    with pytest.raises(KeyError, match="password"):
        substituted(COMPOSE.read_text(), {key: value for key, value in GIVEN.items() if key != name})


def test_ports_are_on_loopback_and_the_database_is_healthy_first(services: dict[str, dict[str, object]]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert "healthcheck" in services["neo4j"]
    for name in ("dashboard", "ingest"):
        assert services[name]["depends_on"] == {"neo4j": {"condition": "service_healthy"}}
        assert services[name]["cap_drop"] == ["ALL"]


def test_the_server_has_the_safe_settings_and_the_same_version(services: dict[str, dict[str, object]]) -> None:
    environment = services["neo4j"]["environment"]
    assert isinstance(environment, dict)
    settings = {
        name.removeprefix("NEO4J_").replace("__", "\0").replace("_", ".").replace("\0", "_"): str(value)
        for name, value in environment.items()
    }
    for line in SAFE:
        name, _, value = line.partition("=")
        assert settings[name].endswith(value), name
    assert {
        "server.memory.heap.max_size",
        "server.memory.pagecache.size",
        "db.memory.transaction.max",
    } <= settings.keys()
    version = re.search(r"<neo4j.version>([\d.]+)<", (ROOT / "docker" / "neo4j" / "pom.xml").read_text())
    assert version is not None
    assert services["neo4j"]["image"] == f"neo4j:{version[1]}-community"


def test_the_apps_environment_is_of_settings_that_exist(services: dict[str, dict[str, object]]) -> None:
    for name in ("dashboard", "ingest"):
        environment = services[name]["environment"]
        assert isinstance(environment, dict)
        for variable in environment:
            assert variable.removeprefix("FLOWATLAS_").lower() in Settings.model_fields
