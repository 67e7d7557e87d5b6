"""The tables of shards as Polars frames, numbered as a store numbers them: what queries are checked against."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from flowatlas.shards import Shard
from flowatlas.vocabulary import NODE_TABLE, RELATIONSHIP_TABLE, STATE_STRIDE, TABLE_NAMES, Label

VECTORS = ("Query", "Key", "Value", "Head", "State")


@dataclass(frozen=True)
class ShardTables:
    """Every table by its name, prompts numbered 0, 1, ... in the order of the shards."""

    tables: dict[str, pl.DataFrame]

    @classmethod
    def of(cls, shards: Iterable[Shard]) -> ShardTables:
        parts: dict[str, list[pl.DataFrame]] = {}
        first = 0
        for shard in shards:
            for name in TABLE_NAMES:
                frame = pl.DataFrame(pl.from_arrow(shard.table(name)))
                if frame.height:
                    parts.setdefault(name, []).append(_moved(name, frame, first))
            first += len(shard.manifest.prompts)
        return cls({name: pl.concat(frames) for name, frames in parts.items()})

    def __getitem__(self, name: str) -> pl.DataFrame:
        return self.tables[name]

    @property
    def vectors(self) -> pl.DataFrame:
        """All vectors, with nulls where a label lacks a column."""
        return pl.concat([self.tables[label] for label in VECTORS], how="diagonal")

    def prompts(self, **selection: object) -> pl.DataFrame:
        """Prompts whose properties equal those given; `text` is a part of the text."""
        rows = self["Prompt"]
        for name, value in selection.items():
            rows = rows.filter(
                pl.col("text").str.contains(str(value), literal=True) if name == "text" else pl.col(name) == value
            )
        return rows


def _moved(name: str, frame: pl.DataFrame, first: int) -> pl.DataFrame:
    if name in NODE_TABLE:
        label = Label(name)
        if label in (Label.MODEL, Label.NEURON):
            return frame
        if label is Label.PROMPT:
            return frame.with_columns(pl.col("id") + first)
        return frame.with_columns(pl.col("id") + first * STATE_STRIDE, pl.col("prompt") + first)
    table = RELATIONSHIP_TABLE[name]
    step = {Label.NEURON: 0, Label.MODEL: 0, Label.PROMPT: first}
    ends = (("from", table.source), ("to", table.target))
    return frame.with_columns([pl.col(end) + step.get(label, first * STATE_STRIDE) for end, label in ends])
