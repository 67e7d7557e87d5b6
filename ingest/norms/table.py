"""Effects of norms as a Parquet file: a row for every norm, lens, source and token."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ingest.norms.effects import Effect

SCHEMA: Final = pa.schema(
    [
        pa.field("layer", pa.int32(), nullable=False),
        pa.field("norm", pa.string(), nullable=False),
        pa.field("lens", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("token_id", pa.int32(), nullable=False),
        pa.field("token", pa.string(), nullable=False),
        pa.field("before", pa.float32(), nullable=False),
        pa.field("after", pa.float32(), nullable=False),
        pa.field("mean_state_before", pa.float32(), nullable=False),
        pa.field("mean_state_after", pa.float32(), nullable=False),
        pa.field("n", pa.int32(), nullable=False),
    ]
)
"""`before` and `after` are means of probabilities over `n` vectors, `mean_state_*` probabilities of the mean vector."""


def write(file: Path, effects: Iterable[list[Effect]], labels: Sequence[str], about: Mapping[str, str]) -> int:
    """Write effects as they come; how many rows. The file is there when it is whole. Raises OSError.

    `labels` is the vocabulary as text; `about` goes into the file's metadata.
    """
    temporary = file.with_name(f".{file.name}.part")
    text = pa.array(labels, pa.string())
    rows = 0
    try:
        with pq.ParquetWriter(temporary, SCHEMA.with_metadata(dict(about)), compression="zstd") as writer:
            for group in effects:
                table = pa.concat_tables([_table(effect, text) for effect in group])
                writer.write_table(table)
                rows += table.num_rows
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
    return rows


def _table(effect: Effect, text: pa.Array) -> pa.Table:
    size = len(effect.columns["before"])
    ids = pa.array(np.arange(size), pa.int32())
    same = {
        "layer": effect.layer,
        "norm": str(effect.kind),
        "lens": str(effect.lens),
        "source": effect.source,
        "n": effect.n,
    }
    columns = {name: pa.repeat(pa.scalar(value, SCHEMA.field(name).type), size) for name, value in same.items()}
    columns |= {name: pa.array(values, pa.float32()) for name, values in effect.columns.items()}
    columns |= {"token_id": ids, "token": text.take(ids)}
    return pa.table([columns[name] for name in SCHEMA.names], schema=SCHEMA)
