"""Both stores, loaded with synthetic prompts whose tables the tests hold as well."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.synthetic import TINY, planted, write
from flowatlas.shards import Shard
from flowatlas.stores import open_store
from flowatlas.stores.base import Store
from support.neo4j_server import empty, shared_uri
from support.shard_tables import ShardTables

PROMPTS = 26
FACTS = planted(TINY)


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[Shard]:
    return write(tmp_path_factory.mktemp("shards"), TINY, PROMPTS, seed=5, batch=9)


@pytest.fixture(scope="session")
def data(shards: list[Shard]) -> ShardTables:
    return ShardTables.of(shards)


@pytest.fixture(scope="module", params=["ladybug", "neo4j"])
def store(request: pytest.FixtureRequest, shards: list[Shard], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store that holds `shards`, open for reading."""
    uri = _loaded(request.param, shards, tmp_path_factory.mktemp("store"))
    with open_store(uri) as opened:
        yield opened


@pytest.fixture(scope="module")
def ladybug(shards: list[Shard], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """The same, embedded only: for what does not depend on the store."""
    with open_store(_loaded("ladybug", shards, tmp_path_factory.mktemp("store"))) as opened:
        yield opened


def _loaded(kind: str, shards: list[Shard], folder: Path) -> str:
    uri = str(folder / "store.lbug")
    if kind == "neo4j":
        uri = shared_uri()
        empty(uri)
    with open_store(uri, mode="write") as opened:
        for shard in shards:
            opened.write(shard)
    return uri
