"""From a file's name to prompts: records, expanded, limited or sampled, in the file's order."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from flowatlas.errors import InputError, UsageError
from ingest.prompts.files import STDIN, Record, read_records
from ingest.prompts.records import Broken, PromptInput, ReadOptions
from ingest.prompts.shapes import expand, prompts_of

Read = list[PromptInput] | Broken


def read_prompts(source: str, options: ReadOptions | None = None) -> Iterator[PromptInput | Broken]:
    """The prompts of a file (`-`: stdin) in its order, and its broken records where they stand.

    Streams: one record is held at a time (a .json file and a sample are held whole). Raises
    InputError at once when the file is missing, of an unknown format or without any record;
    UsageError for a sample or limit below 1.
    """
    options = options or ReadOptions()
    for name, value in (("--sample", options.sample), ("--limit", options.limit)):
        if value is not None and value < 1:
            raise UsageError(f"{name} is {value}; it must be at least 1.")
    read = _read(source, options)
    first = next(read, None)
    if first is None:
        raise InputError(f"{_name(source)} holds no prompts.", next_step="Give a file with one prompt or more.")
    return _flat(_chosen(chain([first], read), options))


def _name(source: str) -> str:
    return "stdin" if source == STDIN else source


def _read(source: str, options: ReadOptions) -> Iterator[Read]:
    dataset = None if source == STDIN else Path(source).stem
    for record in read_records(source, options.format):
        if isinstance(record, Record):
            yield from (prompts_of(part, dataset, options) for part in expand(record, options))
        else:
            yield record


def _chosen(read: Iterator[Read], options: ReadOptions) -> Iterator[Read]:
    if options.sample is not None:
        read = _sampled(read, options.sample, options.seed)
    return read if options.limit is None else _first(read, options.limit)


def _first(read: Iterator[Read], limit: int) -> Iterator[Read]:
    good = 0
    for entry in read:
        yield entry
        good += not isinstance(entry, Broken)
        if good == limit:
            return


def _sampled(read: Iterator[Read], size: int, seed: int) -> Iterator[Read]:
    """A uniform sample of the good records (reservoir sampling) with every broken one, in their order."""
    choose = random.Random(seed)
    kept: list[tuple[int, Read]] = []
    broken: list[tuple[int, Read]] = []
    good = 0
    for place, entry in enumerate(read):
        if isinstance(entry, Broken):
            broken.append((place, entry))
            continue
        good += 1
        if len(kept) < size:
            kept.append((place, entry))
        elif (slot := choose.randrange(good)) < size:
            kept[slot] = (place, entry)
    for _, entry in sorted(kept + broken, key=lambda placed: placed[0]):
        yield entry


def _flat(read: Iterable[Read]) -> Iterator[PromptInput | Broken]:
    for entry in read:
        if isinstance(entry, Broken):
            yield entry
        else:
            yield from entry
