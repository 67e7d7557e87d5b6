"""What an analysis gives: a figure as plain data, that any page or picture can be drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from query.graph import Graph

Array = np.ndarray


@dataclass(frozen=True)
class Curve:
    """A line over `x`, with the band `low` to `high` where it has one; `control` lines are drawn faintly."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    control: bool = False


@dataclass(frozen=True)
class Curves:
    """A plot of lines. `level` is a horizontal line with a name, such as what chance gives."""

    title: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]
    level: tuple[str, float] | None = None
    x_names: Sequence[str] | None = None


@dataclass(frozen=True)
class Heat:
    """A matrix of numbers `z[row, column]` (nan: nothing there); `signed` colours around 0."""

    title: str
    x_label: str
    y_label: str
    z: Array
    z_label: str
    signed: bool = False
    top: float | None = None


@dataclass(frozen=True)
class Cloud:
    """Points of one name; `texts` are shown beside them where they are not empty."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    texts: Sequence[str] = ()


@dataclass(frozen=True)
class Points:
    """A plot of points."""

    title: str
    x_label: str
    y_label: str
    clouds: Sequence[Cloud]


@dataclass(frozen=True)
class Words:
    """A table to read: rows of texts under a header."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Flow:
    """A flow graph, with numbered remarks on what to see in it; `hide` names parts left out (`mlp`, `attention`)."""

    title: str
    graph: Graph
    remarks: Sequence[str] = ()
    hide: tuple[str, ...] = ()


Panel = Curves | Heat | Points | Words | Flow


@dataclass(frozen=True)
class Figure:
    """A figure of the report: `panels` to draw, `data` behind them, and what a reader must know.

    `paper` names the figures and tables that it reproduces; `sentence` says what this data shows;
    `query` is the Cypher that was asked and `parameters` everything that it depends on.
    """

    name: str
    title: str
    paper: str
    sentence: str
    query: str
    parameters: Mapping[str, object]
    prompts: int
    data: pl.DataFrame
    panels: Sequence[Panel]
    notes: Sequence[str] = ()
    seconds: float = field(default=0.0, compare=False)


@dataclass(frozen=True)
class Missing:
    """A figure that this store cannot give, and why."""

    name: str
    title: str
    paper: str
    reason: str
    seconds: float = field(default=0.0, compare=False)
