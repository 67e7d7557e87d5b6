"""Rows on stdout or in a file: a table for people (at most 100 columns wide), csv, json or parquet."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
import uuid
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from flowatlas.cli.console import people
from flowatlas.errors import FlowatlasError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

WIDTH: Final = 100
_CELL: Final = 44
_LEAST: Final = 10


class Format(StrEnum):
    """How rows are written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


def chosen_format(given: Format | None, out: Path | None) -> Format:
    """The format asked for, or the one that the file's name tells. Raises UsageError."""
    if given is not None:
        return given
    if out is None:
        return Format.TABLE
    suffix = out.suffix.removeprefix(".").lower()
    if suffix in (Format.CSV, Format.JSON, Format.PARQUET):
        return Format(suffix)
    if suffix == "txt":
        return Format.TABLE
    raise UsageError(
        f"The name of {out} does not tell its format.",
        known="Known: .csv, .json, .parquet, .txt.",
        next_step="Give --format.",
    )


def write(table: pa.Table, format_: Format, out: Path | None) -> None:
    """Write rows to stdout, or to a file that exists whole or not at all. Raises UsageError, FlowatlasError."""
    if out is None and format_ is Format.PARQUET and sys.stdout.isatty():
        raise UsageError(
            "Parquet is not for a terminal.", next_step="Give --out FILE.parquet, or send stdout to a file."
        )
    data = encoded(table, format_)
    if out is not None:
        write_file(out, data)
        people.print(f"{table.num_rows} rows in {out}")
        return
    if format_ is Format.PARQUET:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    sys.stdout.write(data.decode())
    sys.stdout.flush()


def write_file(out: Path, data: bytes) -> None:
    """Write a file whole: under another name first. Raises FlowatlasError when that cannot be done."""
    temporary = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}")
    try:
        temporary.write_bytes(data)
        temporary.replace(out)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise FlowatlasError(f"{out} cannot be written: {error.strerror or error}.") from error


def encoded(table: pa.Table, format_: Format) -> bytes:
    """Rows as bytes of a format."""
    if format_ is Format.PARQUET:
        import pyarrow.parquet as pq

        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        return buffer.getvalue()
    rows = plain_rows(table)
    if format_ is Format.JSON:
        lines = ",\n ".join(json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows)
        return f"[{lines}]\n".encode()
    if format_ is Format.CSV:
        return _csv(table.column_names, rows).encode()
    return as_table(table.column_names, rows).encode()


def plain_rows(table: pa.Table) -> list[dict[str, Any]]:
    """Rows as plain values: 32-bit floats in their shortest form, what is not a number as None."""
    import pyarrow as pa

    short = {
        field.name
        for field in table.schema
        if field.type == pa.float32() or (pa.types.is_list(field.type) and field.type.value_type == pa.float32())
    }
    return [{name: _plain(value, name in short) for name, value in row.items()} for row in table.to_pylist()]


def _plain(value: Any, single: bool) -> Any:
    if isinstance(value, list):
        return [_plain(item, single) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item, single) for key, item in value.items()}
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return _shortest(value) if single else value
    if value is None or isinstance(value, (str, int, bool)):
        return value
    return str(value)


def _shortest(value: float) -> float:
    import numpy as np

    return float(np.format_float_positional(np.float32(value), unique=True)) if value else 0.0


def _csv(names: Sequence[str], rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        values = (row[name] for name in names)
        writer.writerow(
            [json.dumps(v, ensure_ascii=False) if isinstance(v, (list, dict)) else _csv_cell(v) for v in values]
        )
    return text.getvalue()


def _csv_cell(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def as_table(names: Sequence[str], rows: list[dict[str, Any]], width: int = WIDTH) -> str:
    """Rows under aligned headings, at most `width` wide: long cells are cut, columns that do not fit left out."""
    if not names:
        return ""
    cells = {name: [_cell(row[name]) for row in rows] for name in names}
    number = {n: all(isinstance(r[n], (int, float)) or r[n] is None for r in rows) and bool(rows) for n in names}
    headings = _headings(cells, width)
    widths = _fitted(cells, headings, number, width)
    left_out = [name for name in names if name not in widths]
    if left_out:
        people.print(f"Not shown: {', '.join(left_out)}. All columns: --format csv, or json.", style="dim")

    def line(texts: Mapping[str, str]) -> str:
        return "  ".join(_padded(texts[name], w, number[name]) for name, w in widths.items()).rstrip()

    lines = [line({name: heading[n] for name, heading in headings.items()}) for n in (0, 1)]
    lines.append("  ".join("-" * w for w in widths.values()))
    lines += [line({name: cells[name][i] for name in widths}) for i in range(len(rows))]
    return "\n".join(lines if lines[0] else lines[1:]) + "\n"


def _headings(cells: dict[str, list[str]], width: int) -> dict[str, tuple[str, str]]:
    """Names of the columns in one line, or over two where the table would be too wide and the cells are narrower."""
    longest = {name: max(map(_length, column), default=0) for name, column in cells.items()}
    if sum(max(_length(name), longest[name]) + 2 for name in cells) - 2 <= width:
        return {name: ("", name) for name in cells}
    return {name: _in_two(name) if _length(name) > longest[name] else ("", name) for name in cells}


def _in_two(name: str) -> tuple[str, str]:
    """A name in two parts, cut after the underscore that leaves the narrowest."""
    parts = [("", name), *((name[: i + 1], name[i + 1 :]) for i, sign in enumerate(name) if sign == "_")]
    return min(parts, key=lambda part: max(map(_length, part)))


def _fitted(
    cells: dict[str, list[str]], headings: dict[str, tuple[str, str]], number: dict[str, bool], width: int
) -> dict[str, int]:
    """Widths of the columns that are shown: texts shrink first, then the last columns go."""
    heading = {name: max(map(_length, lines)) for name, lines in headings.items()}
    natural = {name: max([heading[name], *(_length(c) for c in column)]) for name, column in cells.items()}

    def most(name: str) -> int:
        return natural[name] if number[name] else min(natural[name], max(_CELL, heading[name]))

    widths = {name: most(name) for name in natural}

    def total() -> int:
        return sum(widths.values()) + 2 * (len(widths) - 1)

    def floor(name: str) -> int:
        return min(natural[name], max(_LEAST, heading[name]))

    while total() > width:
        texts = [name for name in widths if not number[name] and widths[name] > floor(name)]
        if texts:
            widths[max(texts, key=lambda name: widths[name])] -= 1
        elif len(widths) > 1:
            widths.popitem()
            widths = {name: most(name) for name in widths}
        else:
            widths = dict.fromkeys(widths, width)
    return widths


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return " ".join(_cell(item) for item in value)
    text = str(value)
    text = "".join(_VISIBLE.get(c, c) if c.isprintable() or c in _VISIBLE else f"\\u{ord(c):04x}" for c in text)
    return f"␣{text[1:]}" if text.startswith(" ") else text


_VISIBLE: Final = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def _length(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def _padded(text: str, width: int, right: bool) -> str:
    from rich.cells import set_cell_size

    if _length(text) > width:
        text = set_cell_size(text, width - 1).rstrip() + "…"
    space = " " * (width - _length(text))
    return space + text if right else text + space
