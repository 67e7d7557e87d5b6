"""Every test that takes `store_uri` runs on both stores."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flowatlas.settings import settings
from support.neo4j_server import neo4j_uri, store_uri

__all__ = ["environment", "neo4j_uri", "store_uri"]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Environment variables that are as before when the test ends, and read again at each change."""
    settings.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    settings.cache_clear()
