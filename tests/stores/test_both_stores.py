"""What every store must do, on both: the same bodies, the same answers."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from flowatlas.errors import QueryError, SchemaVersionError, ShardError, StoreError
from flowatlas.shard_writer import write_shard
from flowatlas.shards import Shard, renumber
from flowatlas.stores import open_store
from flowatlas.stores.base import Limits, Store, Written
from flowatlas.stores.load import load_shards
from flowatlas.vocabulary import NODE_TABLES, RELATIONSHIP_TABLES, SCHEMA_VERSION, STATE_STRIDE, NodeTable
from support.store_content import assert_same, content
from support.synthetic_shards import PER_SHARD, PROMPTS, tiny_shards


def load(store: Store, shards: tuple[Shard, ...] | None = None) -> None:
    load_shards(store, shards or tiny_shards())


def stored(store: Store, name: str) -> pl.DataFrame:
    """A table of the schema as the store holds it."""
    node = {table.name: table for table in NODE_TABLES}.get(name)
    if node is not None:
        columns = ", ".join(f"n.`{column.name}` AS `{column.name}`" for column in node.columns)
        return pl.DataFrame(pl.from_arrow(store.read(f"MATCH (n:{name}) RETURN {columns}")))
    rel = {table.name: table for table in RELATIONSHIP_TABLES}[name]
    columns = "".join(f", r.`{column.name}` AS `{column.name}`" for column in rel.columns)
    text = f"MATCH (a:{rel.source})-[r:{rel.type}]->(b:{rel.target}) RETURN a.id AS `from`, b.id AS `to`{columns}"
    return pl.DataFrame(pl.from_arrow(store.read(text)))


def expected(name: str) -> pl.DataFrame:
    """The same table made from the shards with Arrow alone: prompts numbered in the order of the shards."""
    first = 0
    parts = []
    for shard in tiny_shards():
        table = shard.table(name)
        if shard.manifest.kind == "prompts":
            if not table.num_rows:
                continue
            table = renumber({name: table}, {n: first + n for n in range(PER_SHARD)})[name]
            first += PER_SHARD
        if table.num_rows:
            parts.append(pl.DataFrame(pl.from_arrow(table)))
    return pl.concat(parts) if parts else pl.DataFrame()


def test_every_table_comes_back_as_it_was_written(store_uri: str) -> None:
    with open_store(store_uri, mode="write") as store:
        load(store)
        for table in (*NODE_TABLES, *RELATIONSHIP_TABLES):
            wanted = expected(table.name)
            found = stored(store, table.name)
            assert found.height == wanted.height, table.name
            if wanted.height:
                keys = [wanted.columns[0]] if isinstance(table, NodeTable) else ["from", "to"]
                # A server knows one size of numbers; the values must be equal to the last bit.
                found = found.cast(dict(wanted.schema)).sort(keys)
                assert_frame_equal(found, wanted.sort(keys), check_exact=True)


def test_a_second_write_adds_nothing_and_only_limits_the_prompts(store_uri: str) -> None:
    model, first, second, third = tiny_shards()
    with open_store(store_uri, mode="write") as store:
        store.write(model)
        chosen = frozenset(first.manifest.prompts[1:3])
        assert store.write(first, only=chosen).prompts == 2
        assert store.prompt_keys() == chosen
        again = store.write(first)
        assert (again.prompts, again.skipped) == (2, 2)
        assert store.write(first) == Written(0, PER_SHARD, 0, 0)
        done = store.write_all([second, third, second])
        assert (done.prompts, done.skipped) == (2 * PER_SHARD, PER_SHARD)
        rows = store.read(
            "MATCH (p:Prompt) RETURN p.id AS id, p.n_state AS states, p.n_relationship AS edges ORDER BY id"
        )
        assert rows["id"].to_pylist() == list(range(PROMPTS))
        states = store.read("MATCH (s:State|Query|Key|Value|Head) RETURN count(*) AS n")["n"][0].as_py()
        assert states == sum(rows["states"].to_pylist())


def test_the_counts_that_write_returns_are_those_in_the_store(store_uri: str) -> None:
    with open_store(store_uri, mode="write") as store:
        done = sum((store.write(shard) for shard in tiny_shards()), Written(0, 0, 0, 0))
        edges = store.read("MATCH ()-[r]->() RETURN count(r) AS n")["n"][0].as_py()
        states = store.read("MATCH (s:State|Query|Key|Value|Head) RETURN count(*) AS n")["n"][0].as_py()
    assert (done.prompts, done.states, done.relationships) == (PROMPTS, states, edges)


def test_deleting_takes_all_of_a_prompt_and_nothing_else(store_uri: str, tmp_path: Path) -> None:
    model, first, second, third = tiny_shards()
    with open_store(store_uri, mode="write") as store:
        load(store)
        gone = list(range(PER_SHARD, 2 * PER_SHARD))
        assert store.delete([*gone, 99]) == PER_SHARD
        left = content(store)
        assert store.delete(gone) == 0
        counts = store.read(f"MATCH (n) WHERE n.prompt >= {gone[0]} AND n.prompt <= {gone[-1]} RETURN count(*) AS n")
        assert counts["n"][0].as_py() == 0
        assert store.write(second).prompts == PER_SHARD
    with open_store(str(tmp_path / "reference.lbug"), mode="write") as reference:
        load(reference, (model, first, third))
        assert_same(left, content(reference))


def test_prompts_need_their_model(store_uri: str) -> None:
    with open_store(store_uri, mode="write") as store:
        with pytest.raises(StoreError, match="does not have the model"):
            store.write(tiny_shards()[1])
        assert store.prompt_keys() == frozenset()


def test_two_models_in_one_store(store_uri: str) -> None:
    with open_store(store_uri, mode="write") as store:
        load(store)
        load(store, tiny_shards(1))
        assert len(store.model_ids()) == 2
        assert len(store.prompt_keys()) == 2 * PROMPTS
        crossed = store.read(
            "MATCH (s:State)-[:ACTIVATES]->(n:Neuron), (p:Prompt) WHERE p.id = s.prompt "
            "AND p.model <> n.model RETURN count(*) AS n"
        )
        assert crossed["n"][0].as_py() == 0


def test_a_changed_shard_is_refused_whole(store_uri: str, tmp_path: Path) -> None:
    model, first, *_ = tiny_shards()
    copy = Shard(Path(shutil.copytree(first.path, tmp_path / first.path.name)))
    file = copy.path / "SUMS_Value_Head.parquet"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with open_store(store_uri, mode="write") as store:
        store.write(model)
        with pytest.raises(ShardError, match="SUMS_Value_Head"):
            store.write(copy)
        assert store.prompt_keys() == frozenset()


def test_a_failing_write_leaves_nothing_and_the_store_goes_on(store_uri: str, tmp_path: Path) -> None:
    """The last table of a prompt names a node twice: everything before it must be undone."""
    model, first, second, _ = tiny_shards()
    tables = {name: second.table(name) for name in second.manifest.tables}
    doubled = tables["State"].slice(0, 1)
    tables["State"] = type(doubled).from_batches([*tables["State"].to_batches(), *doubled.to_batches()])
    broken = write_shard(tmp_path / "broken", "prompts", tables)
    with open_store(store_uri, mode="write") as store:
        store.write(model)
        store.write(first)
        before = content(store)
        with pytest.raises(StoreError):
            store.write(broken)
        after = content(store)
        if store.dialect == "neo4j":  # a prompt is a transaction there: those without the fault may be in
            assert after["Prompt"].height >= before["Prompt"].height
            whole = store.read("MATCH (p:Prompt) RETURN p.id AS id, p.n_state AS n").to_pylist()
            for row in whole:
                low, high = row["id"] * STATE_STRIDE, (row["id"] + 1) * STATE_STRIDE
                counted = store.read(
                    "MATCH (s:State|Query|Key|Value|Head) WHERE s.id >= $low AND s.id < $high RETURN count(*) AS n",
                    {"low": low, "high": high},
                )
                assert counted["n"][0].as_py() == row["n"]
        else:
            assert_same(before, after)
        store.write(second)
        assert store.prompt_keys() == frozenset([*first.manifest.prompts, *second.manifest.prompts])


def test_another_schema_version_is_refused(store_uri: str) -> None:
    with open_store(store_uri, mode="write") as store:
        load(store)
    for other in (SCHEMA_VERSION - 1, SCHEMA_VERSION + 1):
        _set_version(store_uri, str(other))
        for mode in ("read", "write"):
            with pytest.raises(SchemaVersionError, match=f"version {other}"):
                open_store(store_uri, mode=mode)
    _set_version(store_uri, str(SCHEMA_VERSION))
    with open_store(store_uri) as store:
        assert len(store.prompt_keys()) == PROMPTS


def _set_version(uri: str, version: str) -> None:
    """Behind the store's back."""
    text = "MATCH (m:Meta) WHERE m.key = 'schema_version' SET m.value = $v"
    if "://" in uri:
        from support.neo4j_server import driver_of

        with driver_of(uri) as driver:
            driver.execute_query(text, v=version)
        return
    import ladybug

    with ladybug.Database(uri, buffer_pool_size=1 << 28) as database, ladybug.Connection(database) as connection:
        connection.execute(text, {"v": version}).close()


def test_a_reader_cannot_write(store_uri: str) -> None:
    with open_store(store_uri, mode="write") as store:
        load(store, tiny_shards()[:2])
    with open_store(store_uri) as store:
        for forbidden in (lambda: store.write(tiny_shards()[2]), lambda: store.delete([0])):
            with pytest.raises(StoreError, match="reading only"):
                forbidden()
        assert len(store.prompt_keys()) == PER_SHARD


def test_reads_give_the_types_that_tables_need(store_uri: str) -> None:
    with open_store(store_uri, mode="write") as store:
        load(store)
        table = store.read(
            "MATCH (h:Head) WHERE h.prompt = $prompt AND h.layer >= $low RETURN h.layer AS layer, "
            "count(*) AS n, sum(h.target_rank) AS ranks, max(h.foil_rank) AS foil, collect(h.head) AS heads ORDER BY layer",
            {"prompt": 3, "low": 1, "unused": "x"},
        )
        assert table["layer"].to_pylist() == [1, 2]
        assert table["n"].to_pylist() == [4, 4]
        assert all(isinstance(value, int) for value in table["ranks"].to_pylist())
        assert [sorted(heads) for heads in table["heads"].to_pylist()] == [[0, 1, 2, 3]] * 2
        nothing = store.read("MATCH (p:Prompt) WHERE p.id < 0 RETURN p.id AS id, p.text AS text")
        assert (nothing.num_rows, nothing.column_names) == (0, ["id", "text"])
        mixed = store.read(
            "MATCH (n:Neuron) RETURN n.`index` AS i, n.head AS head, n.matrix AS m ORDER BY n.id LIMIT 30"
        )
        assert [row["head"] is None for row in mixed.to_pylist()] == [row["m"] == "mlp" for row in mixed.to_pylist()]


def test_questions_have_limits_and_tell_what_was_cut(store_uri: str) -> None:
    with open_store(store_uri, mode="write") as store:
        load(store)
    with open_store(store_uri) as store:
        text = "MATCH (k:Key) RETURN k.id AS id, k.top_tokens AS tokens ORDER BY id"
        whole = store.ask(text)
        assert not whole.truncated
        cut = store.ask(text, limits=Limits(rows=10))
        assert cut.truncated
        assert cut.table.to_pylist() == whole.table.to_pylist()[:10]
        exact = store.ask(text, limits=Limits(rows=whole.table.num_rows))
        assert not exact.truncated
        assert store.ask("MATCH (p:Prompt) WHERE p.id = $id RETURN p.id AS id", {"id": 2}).table["id"].to_pylist() == [
            2
        ]
        with pytest.raises(QueryError, match=r"line: ?1|line 1") as wrong:
            store.ask("MATCH (p:Prompt) RETRN p")
        assert "RETRN" in str(wrong.value)
        assert "EXPLAIN" not in str(wrong.value)
