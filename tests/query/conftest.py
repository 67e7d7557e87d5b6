"""Both stores, loaded with synthetic prompts whose tables the tests hold as well."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.synthetic import TINY, planted, write
from flowatlas.shards import Shard
from flowatlas.stores import open_store
from flowatlas.stores.base import Store
from flowatlas.stores.load import load_shards
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
def store(request: pytest.FixtureRequest, shards: list[Shard], ladybug: Store) -> Iterator[Store]:
    """A store that holds `shards`, open for reading."""
    if request.param == "ladybug":
        yield ladybug
        return
    with open_store(_server_with(shards)) as opened:
        yield opened


@pytest.fixture(scope="session")
def ladybug(shards: list[Shard], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """The embedded store alone: for what does not depend on the store."""
    uri = str(tmp_path_factory.mktemp("store") / "store.lbug")
    _load(uri, shards)
    with open_store(uri) as opened:
        yield opened


def _server_with(shards: list[Shard]) -> str:
    """The shared server with exactly `shards`, loaded again only where another test changed it."""
    uri = shared_uri()
    keys = {key for shard in shards for key in shard.manifest.prompts}
    with open_store(uri, mode="write") as opened:
        ready = opened.prompt_keys() == keys and len(opened.model_ids()) == 1
    if not ready:
        empty(uri)
        _load(uri, shards)
    return uri


def _load(uri: str, shards: list[Shard]) -> None:
    with open_store(uri, mode="write") as opened:
        load_shards(opened, shards)
