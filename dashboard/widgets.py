"""Small pieces of pages: a labelled control, a box of the side panel, a grid in our colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dash_ag_grid as dag
import dash_mantine_components as dmc
from dash import html as _html

html: Any = _html
"""Dash's HTML elements; their stubs refuse the `aria-` and `data-` attributes that Dash takes."""

GRID_THEME = {
    "function": "themeQuartz.withParams({accentColor:'#D97706', headerFontWeight:600, wrapperBorderRadius:'9px', "
    "browserColorScheme:'light', backgroundColor:'#FFFFFF', foregroundColor:'#0F172A', borderColor:'#E2E8F0', "
    "headerBackgroundColor:'#F4F7FA', fontFamily:'inherit', fontSize:13, headerFontSize:12.5, cellHorizontalPadding:10}, 'light')"
    ".withParams({accentColor:'#FBBF24', headerFontWeight:600, wrapperBorderRadius:'9px', "
    "browserColorScheme:'dark', backgroundColor:'#111A2E', foregroundColor:'#E6EDF7', borderColor:'#24324D', "
    "headerBackgroundColor:'#16213A', fontFamily:'inherit', fontSize:13, headerFontSize:12.5, cellHorizontalPadding:10}, 'dark')"
}


def box(title: str, *children: Any, note: Any = None) -> Any:
    """A titled box of the side panel."""
    return html.Section([html.H2([title, note]), *children], className="fa-box")


def slider(name: str, label: str, most: int, value: int) -> Any:
    """A labelled slider over whole numbers from 0."""
    return html.Div(
        [
            html.Div([label], className="fa-label", id=f"{name}-label"),
            dmc.Slider(
                id=name,
                min=0,
                max=most,
                value=value,
                step=1,
                size="sm",
                color="var(--control)",
                updatemode="mouseup",
                thumbLabel=label,
                labelAlwaysOn=False,
            ),
        ]
    )


def select(name: str, label: str, choices: Mapping[str, str] | Sequence[str], value: str, **more: Any) -> dmc.Select:
    """A labelled choice of one."""
    pairs = choices.items() if isinstance(choices, Mapping) else ((one, one) for one in choices)
    return dmc.Select(
        id=name,
        label=label,
        data=[{"value": key, "label": words} for key, words in pairs],
        value=value,
        allowDeselect=False,
        size="xs",
        comboboxProps={"withinPortal": True},
        **more,
    )


def grid(name: str, columns: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]] = (), **more: Any) -> dag.AgGrid:
    """A table: sortable, filterable, with a width for each column."""
    options = {
        "theme": GRID_THEME,
        "animateRows": False,
        "ensureDomOrder": True,
        "rowHeight": 32,
        "headerHeight": 34,
        "enableCellTextSelection": True,
        "suppressCellFocus": False,
        **more.pop("options", {}),
    }
    return dag.AgGrid(
        id=name,
        columnDefs=list(columns),
        rowData=list(rows),
        columnSize=more.pop("columnSize", "responsiveSizeToFit"),
        defaultColDef={"sortable": True, "filter": True, "resizable": True, "minWidth": 60, "wrapHeaderText": True, "autoHeaderHeight": True, "suppressHeaderMenuButton": True, **more.pop("default", {})},
        dashGridOptions=options,
        style={"height": "100%", "width": "100%", **more.pop("style", {})},
        **more,
    )


def number(field: str, name: str, form: str, width: int) -> dict[str, Any]:
    """A column of numbers in a d3 format, nothing where there is no number."""
    shown = f"params.value == null ? '' : d3.format('{form}')(params.value)"
    return {
        "field": field,
        "headerName": name,
        "flex": 1,
        "minWidth": width,
        "type": "rightAligned",
        "filter": "agNumberColumnFilter",
        "valueFormatter": {"function": shown},
    }
