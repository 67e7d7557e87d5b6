"""Every test that takes `store_uri` runs on both stores."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.neo4j_server import empty, neo4j_uri, shared_uri

__all__ = ["neo4j_uri", "store_uri"]


@pytest.fixture(params=["ladybug", "neo4j"])
def store_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URI of a store that is not there yet (a path) or of an empty database."""
    if request.param == "ladybug":
        return str(tmp_path / "store.lbug")
    uri = shared_uri()
    empty(uri)
    return uri
