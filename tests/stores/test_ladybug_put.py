"""Rows reach the embedded store in two ways: what is there in the end is the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from flowatlas.errors import StoreError
from flowatlas.shard_writer import write_shard
from flowatlas.stores import ladybug_put, open_store
from flowatlas.stores.load import load_shards
from flowatlas.stores.verify import verify
from flowatlas.vocabulary import STATE_STRIDE
from support.store_content import assert_same, content
from support.synthetic_shards import tiny_shards

COPIED, CREATED = 0, 1 << 40


def test_relationships_that_are_created_are_those_that_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for rows in (COPIED, CREATED):
        monkeypatch.setattr(ladybug_put, "ROWS_CREATED", rows)
        with open_store(str(tmp_path / f"{rows}.lbug"), mode="write") as store:
            load_shards(store, tiny_shards())
            assert verify(store, tiny_shards()).differences == []
            found.append(content(store))
    assert_same(*found, tolerance=0.0)
    foils = found[0]["SUMS_Value_Head"]["foil_contribution"]
    assert 0 < foils.null_count() < len(foils)  # numbers and nulls alike


@pytest.mark.parametrize("rows", [COPIED, CREATED])
@pytest.mark.parametrize("end", ["from", "to"])
@pytest.mark.parametrize("name", ["CREATES_Token_Key", "SUMS_Value_Head", "WRITES_Neuron_State"])
def test_a_relationship_to_nowhere_is_refused_with_its_prompts(
    name: str, end: str, rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ladybug_put, "ROWS_CREATED", rows)
    model, first, second, _ = tiny_shards()
    tables = {table: second.table(table) for table in second.manifest.tables}
    # The number of a prompt says whose a relationship is: there it stays, but no node has the number within it.
    nowhere = np.array(tables[name][end].to_numpy())
    nowhere[-1] += STATE_STRIDE // 2
    tables[name] = tables[name].set_column(tables[name].schema.get_field_index(end), end, pa.array(nowhere))
    with open_store(str(tmp_path / "a.lbug"), mode="write") as store:
        load_shards(store, [model, first])
        before = content(store)
        with pytest.raises(StoreError):
            store.write(write_shard(tmp_path / "odd", "prompts", tables))
        assert_same(content(store), before, tolerance=0.0)
        assert store.write(second).prompts == len(second.manifest.prompts)
