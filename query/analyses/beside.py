"""Two reports side by side: the panels of both under their sides' names, one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from query.analyses.records import Figure, Heat, Missing, Panel


def beside(a: Figure | Missing, b: Figure | Missing, sides: Sequence[str]) -> Figure | Missing:
    """One figure of two: sentences, notes and panels of both; the data gets a column `side`.

    Where only one side has the figure it stands alone, and a note says why the other lacks it.
    """
    if isinstance(a, Missing) or isinstance(b, Missing):
        return _alone(a, b, sides)
    data = pl.concat(
        [f.data.select(pl.lit(side).alias("side"), pl.all()) for f, side in zip((a, b), sides, strict=True)], how="diagonal_relaxed"
    )
    tops = [p.top for p in (*a.panels, *b.panels) if isinstance(p, Heat) and p.top is not None]
    panels = [_named(panel, side, tops) for f, side in zip((a, b), sides, strict=True) for panel in f.panels]
    return replace(
        a, data=data, panels=panels, prompts=a.prompts + b.prompts, seconds=a.seconds + b.seconds,
        sentence=f"{sides[0]}. {a.sentence}\n{sides[1]}. {b.sentence}",
        notes=tuple(dict.fromkeys([*a.notes, *b.notes])),
        parameters={**a.parameters, "prompts": f"{a.parameters.get('prompts')} beside {b.parameters.get('prompts')}"},
    )  # fmt: skip


def _alone(a: Figure | Missing, b: Figure | Missing, sides: Sequence[str]) -> Figure | Missing:
    for found, other, side, absent in ((a, b, sides[0], sides[1]), (b, a, sides[1], sides[0])):
        if isinstance(found, Figure) and isinstance(other, Missing):
            panels = [_named(panel, side, []) for panel in found.panels]
            data = found.data.select(pl.lit(side).alias("side"), pl.all())
            return replace(found, panels=panels, data=data, notes=(*found.notes, f"{absent} is not shown. {other.reason}"))
    return a


def _named(panel: Panel, side: str, tops: Sequence[float]) -> Panel:
    title = f"{side}; {panel.title}" if panel.title else side
    if isinstance(panel, Heat) and tops:
        return replace(panel, title=title, top=max(tops))
    return replace(panel, title=title)
