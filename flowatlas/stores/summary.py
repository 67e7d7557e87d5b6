"""What is in a store, in one table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flowatlas.shards import shards
from flowatlas.stores import is_neo4j, store_path
from flowatlas.stores.base import Store
from flowatlas.vocabulary import SCHEMA_VERSION, STATE_LABELS, Label, Type


@dataclass(frozen=True)
class Summary:
    """A store in numbers; `bytes_on_disk` is None on a server."""

    uri: str
    schema_version: int
    models: list[str]
    prompts: int
    nodes: dict[str, int]
    relationships: dict[str, int]
    bytes_on_disk: int | None

    @property
    def states(self) -> int:
        """Nodes of the five state labels."""
        return sum(self.nodes[label] for label in STATE_LABELS)


def summarize(store: Store) -> Summary:
    """Count what `store` holds. Raises QueryError."""
    nodes = {str(label): _count(store, f"MATCH (n:{label}) RETURN count(*) AS n") for label in Label}
    relationships = {str(kind): _count(store, f"MATCH ()-[r:{kind}]->() RETURN count(*) AS n") for kind in Type}
    names = store.read("MATCH (m:Model) RETURN m.name AS name ORDER BY name")["name"].to_pylist()
    size = None if is_neo4j(store.uri) else _size(store_path(store.uri))
    return Summary(store.uri, SCHEMA_VERSION, names, nodes[Label.PROMPT], nodes, relationships, size)


def _count(store: Store, text: str) -> int:
    return int(store.read(text)["n"][0].as_py())


def _size(path: Path) -> int:
    files = [path, path.with_name(path.name + ".wal")]
    return sum(file.stat().st_size for file in files if file.exists())


def shard_bytes(directory: Path) -> int:
    """Bytes of all shards under `directory`."""
    return sum(file.bytes for shard in shards(directory) for file in shard.manifest.tables.values())
