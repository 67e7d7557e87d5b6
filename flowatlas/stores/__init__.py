"""Stores: graph databases that hold flow graphs. `open_store` opens the right one for a URI."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Literal

from flowatlas.errors import StoreError
from flowatlas.stores.base import Store
from flowatlas.stores.questions import Questions

Mode = Literal["read", "write"]

_SCHEME: Final = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+)://")
NEO4J_SCHEMES: Final = ("neo4j", "bolt", "neo4j+s", "bolt+s", "neo4j+ssc", "bolt+ssc")


def is_neo4j(uri: str) -> bool:
    """Whether `uri` names a Neo4j server (otherwise it is a path). Raises StoreError on other schemes."""
    scheme = _SCHEME.match(uri)
    if scheme is None or scheme[1] == "file":
        return False
    if scheme[1] not in NEO4J_SCHEMES:
        raise StoreError(
            f"'{uri}' is not a store: nothing here speaks '{scheme[1]}'.",
            known="A store is a path (the embedded database) or neo4j://host:7687/database.",
            next_step="Give --store or FLOWATLAS_STORE one of these.",
        )
    return True


def store_path(uri: str) -> Path:
    """The file of an embedded store."""
    return Path(uri.removeprefix("file://")).expanduser()


def shards_path(uri: str) -> Path:
    """Where the shards of a store lie unless told otherwise: `<stem>.shards` beside the embedded
    store, `flowatlas.shards` in the working directory for a server."""
    return Path("flowatlas.shards") if is_neo4j(uri) else store_path(uri).with_suffix(".shards")


def open_store(uri: str, *, mode: Mode = "read") -> Store:
    """Open the store at `uri`: a path (embedded, Ladybug) or `neo4j://host:7687/database`.

    With `mode="write"` a store that is not there is created, and the embedded store is locked
    against other writers until it is closed; reading goes on beside a writer.

    Raises StoreError (nothing there, not a store), StoreBusyError (another writer),
    SchemaVersionError (written with another version of the schema).
    """
    if is_neo4j(uri):
        from flowatlas.stores.neo4j import Neo4jStore

        return Neo4jStore(uri, mode=mode)
    from flowatlas.stores.ladybug import LadybugStore

    return LadybugStore(store_path(uri), mode=mode)


def questions_to(uri: str) -> Questions:
    """A process of its own for people's questions to the store at `uri`, as `Store.ask` has one; close it.

    Raises StoreError on a URI that names no store.
    """
    if is_neo4j(uri):
        return Questions("flowatlas.stores.neo4j_worker", uri)
    return Questions("flowatlas.stores.ladybug_worker", str(store_path(uri).resolve()))
