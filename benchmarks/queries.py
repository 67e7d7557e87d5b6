"""Every named query, warm, on synthetic prompts of GPT-2 small's shape: milliseconds beside the floor of its kind.

    python -m benchmarks.queries [--quick] [--prompts 100 1000] [--store URI] [--neo4j]

Floors at 1,000 prompts (97 million relationships) on the embedded store: 0.15 s for questions on one
or two prompts, 2 s for those over all prompts. That size is `make bench BENCH_ARGS="--large queries"`:
it takes half an hour and 8 GB of disk, so `make bench` alone measures at 100. With --store a store that is loaded already is measured as it is.
"""

from __future__ import annotations

import argparse
import math
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import synthetic
from benchmarks.report import machine, ratio
from flowatlas.catalogue import Query, catalogue
from flowatlas.errors import QueryError
from flowatlas.settings import settings
from flowatlas.stores import open_store
from flowatlas.stores.base import Store
from flowatlas.stores.neo4j_home import Memory, password_file
from flowatlas.stores.neo4j_server import Server
from query.slice import slice as slice_of

ROOT: Final = Path(__file__).parents[1]
ONE: Final = 0.15
ALL: Final = 2.0
QUICK: Final = synthetic.Shape(n_layer=4, n_head=4, d_model=64, d_mlp=256, vocabulary=2000, tokens=9)
_VALUES: Final[dict[str, Any]] = {
    "prompt": 3, "a": 4, "b": 5, "layer": 2, "head": 1, "source": 1, "neuron": 7, "token": " word50", "token_id": 50, "pair": "pair-1",
}  # fmt: skip
_GROUPS: Final = {"a": "group=first", "b": "group=second"}


@dataclass(frozen=True)
class Measured:
    """A query's warm median, its rows and its floor, seconds."""

    name: str
    seconds: float
    rows: int
    floor: float

    @property
    def keeps(self) -> bool:
        """Whether it keeps its floor."""
        return self.seconds <= self.floor


def floor_of(query: Query) -> float:
    """The floor of a query's kind: it asks for one or two prompts, or for all of them."""
    return ONE if any(p.type == "prompt" for p in query.parameters) or query.name == "minimal_pair" else ALL


def required(query: Query) -> dict[str, Any]:
    """Values for the parameters that a query cannot do without."""
    return {
        p.name: _GROUPS[p.name] if p.type == "selection" else _VALUES[p.name] for p in query.parameters if p.required
    }


def measure(store: Store, rounds: int) -> list[Measured]:
    """Every named query: one run to warm up, then the median of `rounds`; infinite where the store refuses."""
    found = []
    for name, query in catalogue().queries.items():
        resolved = query.resolve(store.dialect, required(query))
        try:
            rows = store.read(resolved.text, resolved.parameters).num_rows
            seconds = _median(lambda r=resolved: store.read(r.text, r.parameters), rounds)
        except QueryError as error:
            print(f"{name} was refused: {error.problem}")
            rows, seconds = 0, math.inf
        found.append(Measured(name, seconds, rows, floor_of(query)))
    layers = range(1, 3)
    graph = slice_of(store, 3, layers, policy="paper")
    found.append(
        Measured(
            "slice, two layers, pruned",
            _median(lambda: slice_of(store, 3, layers, policy="paper"), rounds),
            len(graph.edges),
            ONE,
        )
    )
    return found


def _median(action: Any, rounds: int) -> float:
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def load(uri: str, shape: synthetic.Shape, prompts: int) -> None:
    """Fill a store with synthetic prompts."""
    with tempfile.TemporaryDirectory() as folder, open_store(uri, mode="write") as store:
        start = time.perf_counter()
        for shard in synthetic.written(Path(folder), shape, prompts, batch=100):
            store.write(shard)
        print(f"loaded {prompts} prompts in {time.perf_counter() - start:.0f} s", flush=True)


def report(store: Store, prompts: int, rounds: int) -> None:
    """Measure one store and print a line a query, slowest against its floor first."""
    found = measure(store, rounds)
    print(f"\n{store.dialect}, {prompts} prompts (warm median of {rounds})")
    for m in sorted(found, key=lambda m: -m.seconds / m.floor):
        short = "" if m.keeps else "  short of the floor"
        print(f"{m.seconds * 1000:8.0f} ms  floor {m.floor * 1000:5.0f}  {m.rows:6d} rows  {m.name}{short}")
    where = f"{store.dialect}, {prompts} prompts"
    ratio(f"named queries that keep their floor, {where}", sum(m.keeps for m in found) / len(found))
    held = store.dialect == "ladybug" and prompts >= 1000
    for floor, kind in ((ONE, "one or two prompts"), (ALL, "all prompts")):
        slowest = max(m.seconds for m in found if m.floor == floor)
        ratio(f"slowest query on {kind}, seconds, {where}", slowest, at_most=floor if held else None)


def main(arguments: Sequence[str] | None = None) -> None:
    """Load what is asked for, measure and print."""
    parser = argparse.ArgumentParser(description="Measure every named query.")
    parser.add_argument("--quick", action="store_true", help="a small shape and few prompts")
    parser.add_argument("--prompts", type=int, nargs="+", default=[100], help="numbers of prompts to measure at")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--store", help="a loaded store, measured as it is")
    parser.add_argument("--neo4j", action="store_true", help="on a Neo4j server of its own as well")
    options = parser.parse_args(arguments)
    print(machine())
    shape, sizes = (QUICK, [20]) if options.quick else (synthetic.GPT2_SMALL, options.prompts)
    if options.store:
        with open_store(options.store) as store:
            report(store, store.read("MATCH (p:Prompt) RETURN count(p) AS n")["n"][0].as_py(), options.rounds)
        return
    for prompts in sizes:
        with tempfile.TemporaryDirectory() as folder:
            uri = str(Path(folder) / "queries.lbug")
            load(uri, shape, prompts)
            with open_store(uri) as store:
                report(store, prompts, options.rounds)
    if options.neo4j:
        _on_neo4j(shape, min(sizes), options.rounds)


def _on_neo4j(shape: synthetic.Shape, prompts: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "server", ROOT / ".neo4j" / "lib", _free_port(), Memory(3072, 1024, 2048))
        try:
            server.start()
            os.environ |= {
                "FLOWATLAS_NEO4J_PASSWORD_FILE": str(password_file(server.home)),
                "FLOWATLAS_NEO4J_USER": "neo4j",
            }
            settings.cache_clear()
            load(server.uri, shape, prompts)
            with open_store(server.uri) as store:
                report(store, prompts, rounds)
        finally:
            server.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
