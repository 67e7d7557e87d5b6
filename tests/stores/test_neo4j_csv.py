"""The files of an import, read back: every value as it was, whatever the texts hold."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

from flowatlas.errors import StoreError
from flowatlas.shard_writer import write_shard
from flowatlas.shards import Shard
from flowatlas.stores.neo4j_csv import DELIMITERS, write_csv
from support.synthetic_shards import PROMPTS, tiny_shards


def with_texts(folder: Path, texts: list[str]) -> list[Shard]:
    """The model and its first prompts, some tokens of whose states are `texts`."""
    model, first, *_ = tiny_shards()
    tables = {name: first.table(name) for name in first.manifest.tables}
    tokens = tables["State"]["top_tokens"].to_pylist()
    tokens[3] = (texts + tokens[3])[:10]
    place = tables["State"].schema.get_field_index("top_tokens")
    field = tables["State"].schema.field(place)
    tables["State"] = tables["State"].set_column(place, field, pa.array(tokens, field.type))
    return [model, write_shard(folder / "odd", "prompts", tables)]


def test_every_value_is_in_the_files(tmp_path: Path) -> None:
    shards = with_texts(tmp_path, ["", '"', ",", "a\nb", DELIMITERS[0], f"x{DELIMITERS[1]}"])
    files = write_csv(shards, tmp_path)
    assert files.delimiter == DELIMITERS[2]
    assert files.prompts == PROMPTS / 3
    parts = dict(part for tables in files.relationships.values() for part in tables)
    for name in shards[1].manifest.tables:
        table = shards[1].table(name)
        (path,) = (files.nodes.get(name) or parts[name])[1:]
        wanted = pl.DataFrame(pl.from_arrow(table))
        lists = [column for column, kind in wanted.schema.items() if isinstance(kind, pl.List)]
        types = {column: pl.String if column in lists else kind for column, kind in wanted.schema.items()}
        found = pl.read_csv(path, has_header=False, schema=types)
        split = [pl.col(column).str.split(files.delimiter).cast(wanted.schema[column]) for column in lists]
        assert_frame_equal(found.with_columns(split), wanted, check_exact=True)


def test_when_every_delimiter_is_taken_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="Every character"):
        write_csv(with_texts(tmp_path, ["".join(DELIMITERS)]), tmp_path / "none")
