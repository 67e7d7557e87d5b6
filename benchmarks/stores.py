"""The ways into a store, for prompts of GPT-2 small's shape: over Bolt, by import, into the embedded store.

    python -m benchmarks.stores [--quick]

A Neo4j server of its own is started on a free port (jars in .neo4j/lib, as make neo4j has them) and
stopped at the end. Bolt is measured warm and against its own floor: the same relationships created
with the bare driver from parameters that are ready, nodes there already. Rounds are interleaved and
the median counts, since other programs may be using the machine.
"""

from __future__ import annotations

import argparse
import itertools
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import neo4j
import pyarrow as pa

from benchmarks import synthetic
from benchmarks.report import ratio
from flowatlas.settings import settings
from flowatlas.shards import Shard, renumber
from flowatlas.stores import open_store
from flowatlas.stores.neo4j_home import Memory, password_file
from flowatlas.stores.neo4j_import import import_shards
from flowatlas.stores.neo4j_rows import row_lists
from flowatlas.stores.neo4j_schema import create_nodes, create_relationships
from flowatlas.stores.neo4j_server import Server
from flowatlas.stores.summary import shard_bytes
from flowatlas.vocabulary import NODE_TABLES, RELATIONSHIP_TABLES, Label, RelationshipTable

ROOT: Final = Path(__file__).parents[1]
SMALL: Final = synthetic.Shape(n_layer=6, n_head=6, d_model=192, d_mlp=768, vocabulary=2000, tokens=9)


@dataclass(frozen=True)
class Sizes:
    """What is measured: shape, prompts over Bolt (the first are for warming up), prompts by the bulk ways."""

    shape: synthetic.Shape
    warm_up: int
    rounds: int
    bulk: int


FULL: Final = Sizes(synthetic.GPT2_SMALL, warm_up=6, rounds=4, bulk=100)
QUICK: Final = Sizes(SMALL, warm_up=3, rounds=3, bulk=30)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure the ways into a store.")
    parser.add_argument("--quick", action="store_true", help="a smaller model and fewer prompts")
    sizes = QUICK if parser.parse_args().quick else FULL
    with tempfile.TemporaryDirectory(prefix="flowatlas-bench-") as folder:
        measure(sizes, Path(folder), floors=sizes is FULL)


def measure(sizes: Sizes, folder: Path, *, floors: bool) -> None:
    """All three ways, in `folder`."""
    singles = synthetic.write(folder / "singles", sizes.shape, sizes.warm_up + 2 * sizes.rounds, batch=1)
    bulk = synthetic.write(folder / "bulk", sizes.shape, sizes.bulk, batch=min(sizes.bulk, 100))
    edges = sum(table.num_rows for table in _edges(singles[1]).values())
    print(
        f"a prompt has {edges} relationships; {sizes.bulk} prompts are {shard_bytes(folder / 'bulk') / 1e6:.0f} MB of shards"
    )
    _embedded(bulk, folder / "bench.lbug", sizes, edges)
    server = Server(folder / "server", ROOT / ".neo4j" / "lib", _free_port(), Memory(3072, 1024, 2048))
    try:
        server.start()
        (server.home / "lib").symlink_to(server.lib)
        os.environ["FLOWATLAS_NEO4J_PASSWORD_FILE"] = str(password_file(server.home))
        os.environ["FLOWATLAS_NEO4J_USER"] = "neo4j"
        os.environ.pop("FLOWATLAS_NEO4J_PASSWORD", None)
        settings.cache_clear()
        _over_bolt(server, singles, sizes, floors=floors)
        server.stop()
        _by_import(server, bulk, sizes, floors=floors)
    finally:
        server.kill()


def _embedded(shards: Sequence[Shard], path: Path, sizes: Sizes, edges: int) -> None:
    with open_store(str(path), mode="write") as store:
        store.write(shards[0])
        start = time.perf_counter()
        store.write_all(shards[1:])
        seconds = time.perf_counter() - start
    ratio("embedded store: seconds a prompt", seconds / sizes.bulk)
    ratio("embedded store: relationships a second", sizes.bulk * edges / seconds)
    ratio("embedded store: MB on disk a prompt", path.stat().st_size / 1e6 / sizes.bulk)


def _over_bolt(server: Server, shards: Sequence[Shard], sizes: Sizes, *, floors: bool) -> None:
    model, *prompts = shards
    ours: list[float] = []
    bare: list[float] = []
    # Downwards, since the store numbers its own prompts from the highest there is.
    ids = itertools.count(1 << 20, -1)
    with open_store(server.uri, mode="write") as store:
        start = time.perf_counter()
        store.write(model)
        ratio("Bolt: seconds for the model's neurons", time.perf_counter() - start)
        for shard in prompts[: sizes.warm_up]:
            store.write(shard)
            _bare(server, shard, next(ids))
        rest = prompts[sizes.warm_up :]
        for number in range(sizes.rounds):
            start = time.perf_counter()
            store.write(rest[2 * number])
            ours.append(time.perf_counter() - start)
            bare.append(_bare(server, rest[2 * number + 1], next(ids)))
    ratio("Bolt: seconds a prompt, warm", statistics.median(ours))
    ratio("Bolt: seconds for the bare relationships", statistics.median(bare))
    compared = statistics.median(ours) / statistics.median(bare)
    ratio("Bolt / bare CREATE of the same relationships", compared, at_most=1.3 if floors else None)


def _bare(server: Server, shard: Shard, prompt: int) -> float:
    """Seconds to create the relationships of a shard of one prompt with the driver alone, its nodes being there."""
    tables = renumber({name: shard.table(name) for name in shard.manifest.tables}, {0: prompt})
    nodes = {
        node: row_lists(tables[node.name]) for node in NODE_TABLES if node.name in tables and node.label != Label.PROMPT
    }
    edges: Mapping[RelationshipTable, list[list[object]]] = {
        table: row_lists(rows) for table, rows in _edges(shard, tables).items()
    }
    password = password_file(server.home).read_text()
    address = f"bolt://127.0.0.1:{server.port}"
    driver = neo4j.GraphDatabase.driver(address, auth=("neo4j", password))
    with driver, driver.session() as session:
        with session.begin_transaction() as transaction:
            transaction.run("CREATE (:Prompt {id: $id, key: toString($id)})", id=prompt).consume()
            for node, rows in nodes.items():
                transaction.run(create_nodes(node), rows=rows).consume()
            transaction.commit()
        start = time.perf_counter()
        with session.begin_transaction() as transaction:
            for table, rows in edges.items():
                transaction.run(create_relationships(table), rows=rows).consume()
            transaction.commit()
        return time.perf_counter() - start


def _edges(shard: Shard, tables: Mapping[str, pa.Table] | None = None) -> dict[RelationshipTable, pa.Table]:
    """The relationship tables of a shard that have rows."""
    found = {t: (tables or {}).get(t.name, shard.table(t.name)) for t in RELATIONSHIP_TABLES}
    return {table: rows for table, rows in found.items() if rows.num_rows}


def _by_import(server: Server, shards: Sequence[Shard], sizes: Sizes, *, floors: bool) -> None:
    start = time.perf_counter()
    done = import_shards(shards, server.home, overwrite=True, heap_mb=2048)
    seconds = time.perf_counter() - start
    size = sum(
        file.stat().st_size for file in (server.home / "data" / "databases" / "neo4j").rglob("*") if file.is_file()
    )
    ratio("import: seconds a prompt", seconds / sizes.bulk)
    rate = done.relationships / seconds
    ratio("import: relationships a second", rate, at_least=250_000 if floors else None)
    ratio("import: MB on disk a prompt", size / 1e6 / sizes.bulk)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
