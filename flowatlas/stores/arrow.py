"""Arrow tables as both stores return them."""

from __future__ import annotations

import pyarrow as pa


def plain_types(table: pa.Table) -> pa.Table:
    """`table` with whole decimals (how the embedded store sums integers) as 64-bit integers."""
    for index, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type) and field.type.scale == 0:
            try:
                column = table.column(index).cast(pa.int64())
            except pa.ArrowInvalid:  # beyond 64 bits: only a decimal can hold it
                continue
            table = table.set_column(index, field.name, column)
    return table
