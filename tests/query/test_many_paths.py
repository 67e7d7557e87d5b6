"""Ways through a deeper model: hundreds of paths at once, where a database may mix up their relationships."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from benchmarks.synthetic import Shape, write
from flowatlas.errors import QueryError
from flowatlas.shards import Shard
from flowatlas.stores import open_store
from flowatlas.stores.base import Store
from query.run import run
from support.shard_tables import ShardTables

DEEP = Shape(n_layer=8, n_head=12, d_model=24, d_mlp=16, vocabulary=300, tokens=5)
STEPS = ("SUMS_Value_Head", "CONCATENATES_Head_State", "PROJECTS_State_State", "ADDS_State_State", "SKIPS_State_State", "NORMALIZES_State_State")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[Shard]:
    return write(tmp_path_factory.mktemp("deep"), DEEP, 2, seed=3)


@pytest.fixture(scope="module")
def deep(shards: list[Shard], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    uri = str(tmp_path_factory.mktemp("store") / "deep.lbug")
    with open_store(uri, mode="write") as store:
        for shard in shards:
            store.write(shard)
        yield store


def ways(data: ShardTables, prompt: int, source: int, minimum: float) -> Counter[tuple[int, int, int]]:
    """How many ways there are by (layer, head, steps), each tried on its own."""
    out: dict[int, list[int]] = {}
    for name in STEPS:
        for start, end, score in data[name].select("from", "to", "score").iter_rows():
            if score >= minimum:
                out.setdefault(start, []).append(end)
    states = data["State"]
    final = set(states.filter(states["kind"] == "final_norm")["id"])
    found: Counter[tuple[int, int, int]] = Counter()
    values = data["Value"].select("id", "prompt", "source", "layer", "head").iter_rows()
    for identity, at, remembered, layer, head in values:
        front = [identity] if (at, remembered) == (prompt, source) else []
        for steps in range(1, 17):
            front = [end for node in front for end in out.get(node, [])]
            if reached := sum(node in final for node in front):
                found[layer, head, steps] += reached
    return found


@pytest.mark.parametrize(("prompt", "source", "minimum", "some"), [(0, 1, 0.0, True), (0, 1, 0.2, True), (1, 0, 0.1, True), (0, 3, 12.0, False)])
def test_every_step_of_every_way_is_as_strong_as_asked(
    prompt: int, source: int, minimum: float, some: bool, deep: Store, shards: list[Shard]
) -> None:  # fmt: skip
    wanted = ways(ShardTables.of(shards), prompt, source, minimum)
    rows = run(deep, "paths_from_token", prompt=prompt, source=source, minimum=minimum, limit=100_000).frame
    assert Counter(rows.select("layer", "head", "steps").iter_rows()) == wanted
    assert (sum(wanted.values()) > 50) is some


def test_a_question_that_would_be_answered_wrongly_is_refused_and_its_right_form_is_right(deep: Store, shards: list[Shard]) -> None:
    asked = (
        "MATCH way = (v:Value)-[:SUMS|CONCATENATES|PROJECTS|ADDS|SKIPS|NORMALIZES*1..16]->(f:State) "
        "WHERE v.prompt = 0 AND v.source = 1 AND f.kind = 'final_norm' AND {0} RETURN count(*) AS n"
    )
    with pytest.raises(QueryError, match="mixes up") as raised:
        deep.ask(asked.format("all(r IN relationships(way) WHERE r.score >= 0.2)"))
    assert "properties(relationships(way), 'score')" in raised.value.next_step
    right = deep.ask(asked.format("all(s IN properties(relationships(way), 'score') WHERE s >= 0.2)"))
    assert right.table["n"].to_pylist() == [sum(ways(ShardTables.of(shards), 0, 1, 0.2).values())]
