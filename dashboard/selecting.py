"""The form that chooses prompts: data set, group, correctness, words. Several tabs have one."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import Input

from dashboard.widgets import html
from flowatlas.selection import Selection

_FIELDS = ("dataset", "group", "correct", "text")


def form(prefix: str, title: str = "Prompts") -> Any:
    """Selects and a search for the tab `prefix`; an empty form chooses every prompt."""
    return html.Fieldset(
        [
            html.Legend(title),
            dmc.Select(id=f"{prefix}-dataset", label="Data set", placeholder="all", data=[], clearable=True, size="xs", searchable=True),
            dmc.Select(id=f"{prefix}-group", label="Group", placeholder="all", data=[], clearable=True, size="xs", searchable=True),
            dmc.Select(
                id=f"{prefix}-correct", label="Model is", placeholder="either", clearable=True, size="xs",
                data=[{"value": "true", "label": "right"}, {"value": "false", "label": "wrong"}],
            ),
            dmc.TextInput(id=f"{prefix}-text", label="Text holds", placeholder="any words", size="xs", debounce=300),
        ],
        className="fa-fields",
    )  # fmt: skip


def inputs(prefix: str) -> list[Input]:
    """The form's inputs, in the order that `selection` takes."""
    return [Input(f"{prefix}-{name}", "value") for name in _FIELDS]


def selection(dataset: str | None, group: str | None, correct: str | None, text: str | None) -> Selection:
    """The selection of a form."""
    return Selection(dataset=dataset or None, group=group or None, correct=None if not correct else correct == "true", text=text or None)
