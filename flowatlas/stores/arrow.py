"""Arrow tables as both stores return them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def plain_types(table: pa.Table) -> pa.Table:
    """`table` with lists for arrays and 64-bit integers for whole decimals (how the embedded store sums integers)."""
    for index, field in enumerate(table.schema):
        if pa.types.is_fixed_size_list(field.type):
            table = table.set_column(index, field.name, table.column(index).cast(pa.list_(field.type.value_type)))
        if pa.types.is_decimal(field.type) and field.type.scale == 0:
            try:
                column = table.column(index).cast(pa.int64())
            except pa.ArrowInvalid:  # beyond 64 bits: only a decimal can hold it
                continue
            table = table.set_column(index, field.name, column)
    return table


def fixed_lists(table: pa.Table, values: pa.DataType, length: int) -> pa.Table:
    """`table` with its lists of `values` as arrays of `length`, shorter ones filled with zeros."""
    for index, field in enumerate(table.schema):
        if field.type == pa.list_(values):
            rows = [_fixed(chunk, values, length) for chunk in table.column(index).chunks]
            table = table.set_column(index, field.name, pa.chunked_array(rows, pa.list_(values, length)))
    return table


def _fixed(lists: pa.ListArray, values: pa.DataType, length: int) -> pa.FixedSizeListArray:
    sizes = lists.value_lengths().to_numpy(zero_copy_only=False)
    if (sizes > length).any():
        raise ValueError(f"A list is longer than {length}.")
    filled = np.zeros((len(lists), length), values.to_pandas_dtype())
    filled[np.arange(length) < sizes[:, None]] = lists.flatten().to_numpy(zero_copy_only=False)
    return pa.FixedSizeListArray.from_arrays(pa.array(filled.reshape(-1), values), length)
