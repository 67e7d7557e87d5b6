"""Files to raw records: one dictionary of fields each, or what is wrong with it. Streams, where the format can."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, get_args

from flowatlas.errors import InputError, UsageError, did_you_mean
from ingest.prompts.records import Broken, Format

FORMATS: Final[tuple[Format, ...]] = get_args(Format)
STDIN: Final = "-"
_LONGEST_FIELD: Final = 1 << 30


@dataclass(frozen=True)
class Record:
    """The fields of one record and its place in the file."""

    where: str
    fields: Mapping[str, object]


Records = Iterator[Record | Broken]


def read_records(source: str, chosen: str | None = None) -> Records:
    """The records of a file, or of stdin where `source` is `-`.

    Raises InputError when there is no such file, its extension is unknown, or it is not at all of its format;
    UsageError for an unknown format.
    """
    format_ = None if chosen is None else _checked(chosen)
    if source == STDIN:
        return _READERS[format_ or "txt"](sys.stdin.buffer, "stdin")
    path = Path(source)
    _check_exists(path)
    return _read_and_close(path, format_ or _format_of(path))


def _checked(chosen: str) -> Format:
    for format_ in FORMATS:
        if chosen.lower() == format_:
            return format_
    raise UsageError(f"There is no format '{chosen}'.", known=did_you_mean(chosen, FORMATS))


def _read_and_close(path: Path, format_: Format) -> Records:
    try:
        with path.open("rb") as file:
            yield from _READERS[format_](file, path.name)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error


def _check_exists(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a file of prompts.", next_step="Name one file in it.")
    if not path.exists():
        siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        near = did_you_mean(path.name, siblings) if siblings else ""
        raise InputError(
            f"There is no file {path}.", known=near if near.startswith("Did") else "", next_step="Check the path."
        )


def _format_of(path: Path) -> Format:
    extension = path.suffix.lower().removeprefix(".")
    for format_ in FORMATS:
        if extension == format_:
            return format_
    raise InputError(
        f"{path} has the extension '{path.suffix}', which says nothing about its format.",
        known=f"Known: {', '.join('.' + name for name in FORMATS)}.",
        next_step="Give the format with --format.",
    )


def _lines(file: BinaryIO, name: str) -> Iterator[str]:
    """Lines without their ends. Bytes that are not UTF-8 become lone surrogates, found per record."""
    start = file.read(4)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise InputError(f"{name} is UTF-16 text.", next_step="Save it as UTF-8.")
    rest = _Prefixed(start.removeprefix(b"\xef\xbb\xbf"), file)
    text = io.TextIOWrapper(io.BufferedReader(rest), encoding="utf-8", errors="surrogateescape", newline="")
    yield from text


class _Prefixed(io.RawIOBase):
    """A stream with some bytes put back before it: pipes cannot be rewound."""

    def __init__(self, start: bytes, rest: BinaryIO) -> None:
        self._start, self._rest = start, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        taken, self._start = self._start[: len(buffer)], self._start[len(buffer) :]
        chunk = taken or self._rest.read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)


def not_utf8(text: str) -> str | None:
    """What is wrong with text whose bytes were not all UTF-8."""
    for column, character in enumerate(text, start=1):
        if "\udc80" <= character <= "\udcff":
            return f"it is not UTF-8: byte 0x{ord(character) - 0xDC00:02x} at character {column}"
    return None


def _txt(file: BinaryIO, name: str) -> Records:
    for number, line in enumerate(_lines(file, name), start=1):
        text = line.rstrip("\r\n")
        if not text.strip():
            continue
        where = f"{name}, line {number}"
        wrong = not_utf8(text)
        yield Broken(where, wrong) if wrong else Record(where, {"prompt": text})


def _jsonl(file: BinaryIO, name: str) -> Records:
    for number, line in enumerate(_lines(file, name), start=1):
        if not line.strip():
            continue
        where = f"{name}, line {number}"
        wrong = not_utf8(line)
        yield Broken(where, wrong) if wrong else _json_object(line, where)


def _json_object(line: str, where: str) -> Record | Broken:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        return Broken(where, f"it is not JSON: {error.msg} at character {error.colno}")
    except RecursionError:
        return Broken(where, "its JSON is nested too deeply")
    return _record(value, where)


def _record(value: object, where: str) -> Record | Broken:
    if isinstance(value, dict):
        return Record(where, value)
    if isinstance(value, str):
        return Record(where, {"prompt": value})
    return Broken(where, f"it is {_named(value)}, not an object with fields")


def _named(value: object) -> str:
    names = {list: "a list", bool: "true or false", int: "a number", float: "a number", type(None): "null"}
    return names.get(type(value), f"a {type(value).__name__}")


def _json(file: BinaryIO, name: str) -> Records:
    content = file.read()
    try:
        value = json.loads(content.decode("utf-8-sig")) if content.strip() else []
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name} is not UTF-8: byte 0x{content[error.start]:02x} at offset {error.start:,}.",
            next_step="Save it as UTF-8.",
        ) from error
    except json.JSONDecodeError as error:
        raise InputError(
            f"{name} is not JSON: {error.msg} at line {error.lineno}, character {error.colno}.",
            next_step="One JSON object a line is the format jsonl." if error.msg == "Extra data" else "",
        ) from error
    except RecursionError as error:
        raise InputError(f"{name} is JSON that is nested too deeply.") from error
    for number, entry in enumerate(value if isinstance(value, list) else [value], start=1):
        yield _record(entry, f"{name}, record {number}")


def _csv(file: BinaryIO, name: str, delimiter: str = ",") -> Records:
    # Python's limit of 131,072 characters a field is for no reader of prompts.
    csv.field_size_limit(_LONGEST_FIELD)
    rows = csv.reader(_lines(file, name), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        where = f"{name}, line {rows.line_num + 1}"
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield Broken(where, f"it is not CSV: {error}")
            continue
        if not any(cell.strip() for cell in row):
            continue
        if header is None:
            header = _header(row, name)
            continue
        yield _csv_record(header, row, where)


def _header(row: list[str], name: str) -> list[str]:
    header = [cell.strip() for cell in row]
    twice = sorted({cell for cell in header if header.count(cell) > 1})
    if twice:
        raise InputError(f"{name} has two columns named '{twice[0]}'.", next_step="Rename one of them.")
    return header


def _csv_record(header: list[str], row: list[str], where: str) -> Record | Broken:
    wrong = not_utf8("".join(row))
    if wrong:
        return Broken(where, wrong)
    if len(row) != len(header):
        return Broken(where, f"it has {len(row)} cells, the header has {len(header)}")
    return Record(where, dict(zip(header, row, strict=True)))


def _tsv(file: BinaryIO, name: str) -> Records:
    return _csv(file, name, delimiter="\t")


def _parquet(file: BinaryIO, name: str) -> Records:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        content = pa.PythonFile(file) if file.seekable() else pa.BufferReader(file.read())
        number = 0
        for batch in pq.ParquetFile(content).iter_batches(batch_size=1024):
            for row in batch.to_pylist():
                number += 1
                yield Record(f"{name}, row {number}", row)
    except pa.ArrowException as error:
        raise InputError(f"{name} is not Parquet: {str(error).splitlines()[0]}") from error


_READERS: Final[Mapping[Format, Callable[[BinaryIO, str], Records]]] = {
    "txt": _txt, "jsonl": _jsonl, "json": _json, "csv": _csv, "tsv": _tsv, "parquet": _parquet,
}  # fmt: skip
