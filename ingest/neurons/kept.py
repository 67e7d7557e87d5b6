"""The static neurons' projections, kept from one store to the next: they depend on the model alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from flowatlas.schema import SCHEMAS
from flowatlas.vocabulary import SCHEMA_VERSION
from ingest.cache_files import keep


def kept(cache: Path | None, fingerprint: str, neurons: int, make: Callable[[], pa.Table]) -> pa.Table:
    """The Neuron table of the model with `fingerprint`, from `cache` or made and kept there.

    A file that cannot be read, or lacks neurons, is made again.
    """
    if cache is None:
        return make()
    file = cache / fingerprint / f"neurons-{SCHEMA_VERSION}.parquet"
    found = _read(file, neurons)
    if found is None:
        found = make()
        keep(file, lambda stream: pq.write_table(found, stream, compression="zstd", compression_level=1))
    return found


def _read(file: Path, neurons: int) -> pa.Table | None:
    try:
        table = pq.read_table(file, memory_map=False)
    except (OSError, pa.ArrowException):
        return None
    return table if table.schema.equals(SCHEMAS["Neuron"]) and table.num_rows == neurons else None
