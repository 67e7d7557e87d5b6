"""Every test that takes `store_uri` runs on both stores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flowatlas.settings import settings
from support.neo4j_server import empty, neo4j_uri, shared_uri

__all__ = ["environment", "neo4j_uri", "store_uri"]


@pytest.fixture(params=["ladybug", "neo4j"])
def store_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URI of a store that is not there yet (a path) or of an empty database."""
    if request.param == "ladybug":
        return str(tmp_path / "store.lbug")
    uri = shared_uri()
    empty(uri)
    return uri


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Environment variables that are as before when the test ends, and read again at each change."""
    settings.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    settings.cache_clear()
