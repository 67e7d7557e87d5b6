"""A relationship whose end is not there: its prompts are refused whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from flowatlas.errors import StoreError
from flowatlas.shard_writer import write_shard
from flowatlas.stores import open_store
from flowatlas.stores.load import load_shards
from flowatlas.stores.verify import verify
from flowatlas.vocabulary import STATE_STRIDE
from support.synthetic_shards import tiny_shards


@pytest.mark.parametrize("end", ["from", "to"])
@pytest.mark.parametrize("name", ["CREATES_Token_Key", "SUMS_Value_Head", "WRITES_Neuron_State"])
def test_a_relationship_to_nowhere_is_refused_with_its_prompts(
    name: str, end: str, store_uri: str, tmp_path: Path
) -> None:
    """Whatever the store: an end that is not there must not let a relationship vanish in silence."""
    model, first, second, _ = tiny_shards()
    tables = {table: second.table(table) for table in second.manifest.tables}
    # The number of a prompt says whose a relationship is: there it stays, but no node has the number within it.
    nowhere = np.array(tables[name][end].to_numpy())
    nowhere[-1] += STATE_STRIDE // 2
    tables[name] = tables[name].set_column(tables[name].schema.get_field_index(end), end, pa.array(nowhere))
    with open_store(store_uri, mode="write") as store:
        load_shards(store, [model, first])
        with pytest.raises(StoreError):
            store.write(write_shard(tmp_path / "odd", "prompts", tables))
        there = store.prompt_keys() - set(first.manifest.prompts)
        # On a server a prompt is a transaction: those before the fault are in, whole.
        assert there <= (set(second.manifest.prompts[:-1]) if store.dialect == "neo4j" else set())
        store.write(second)
        assert verify(store, [model, first, second]).differences == []
