"""The Compare tab: two prompts (or a minimal pair) in the same places, or two groups of prompts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, dcc

from dashboard.clientside import connect
from dashboard.comparing import compare, compare_groups
from dashboard.elements.svg import svg
from dashboard.elements.text import visible
from dashboard.selecting import form, inputs, selection
from dashboard.source import Source
from dashboard.view import GraphView, parse_graph
from dashboard.widgets import grid, html, number
from flowatlas.errors import FlowatlasError
from flowatlas.selection import Selection

PAIR_COLUMNS = (
    {"field": "what", "headerName": "What", "flex": 2, "minWidth": 190, "tooltipField": "what"},
    {"field": "says_a", "headerName": "A says", "flex": 1, "minWidth": 90},
    {"field": "says_b", "headerName": "B says", "flex": 1, "minWidth": 90},
    number("contribution_a", "Contribution A", "+.3f", 138),
    number("contribution_b", "Contribution B", "+.3f", 138),
    number("change", "Change", "+.3f", 104),
    number("prob_change", "Δ p(target)", "+.1%", 112),
    number("rank_a", "Rank A", ",d", 86),
    number("rank_b", "Rank B", ",d", 86),
)
GROUP_COLUMNS = (
    {"field": "what", "headerName": "What", "flex": 2, "minWidth": 190, "tooltipField": "what"},
    number("contribution_a", "Contribution A", "+.3f", 138),
    number("contribution_b", "Contribution B", "+.3f", 138),
    number("change", "Change", "+.3f", 104),
    number("prob_a", "p(target) A", ".1%", 116),
    number("prob_b", "p(target) B", ".1%", 116),
    number("prob_change", "Δ p(target)", "+.1%", 112),
    number("top_a", "In top 10, A", ".0%", 120),
    number("top_b", "In top 10, B", ".0%", 120),
)


def layout() -> Any:
    """The tab."""
    pick = {"searchable": True, "size": "xs", "limit": 60, "data": [], "comboboxProps": {"width": 420, "position": "bottom-start"}}
    top = html.Div(
        [
            dmc.SegmentedControl(id="c-mode", value="prompts", size="xs", data=[{"value": "prompts", "label": "Two prompts"}, {"value": "groups", "label": "Two groups"}]),
            html.Div(
                [
                    dmc.Select(id="c-a", label="A", placeholder="choose a prompt", className="fa-grow", **pick),
                    dmc.Select(id="c-b", label="B", placeholder="choose another", className="fa-grow", **pick),
                    dmc.Select(id="c-pair", label="or a minimal pair", placeholder="none", clearable=True, w=150, **{**pick, "comboboxProps": {}}),
                    dmc.Select(id="c-layer", label="Layers", value="all", data=[{"value": "all", "label": "summary"}], allowDeselect=False, size="xs", w=110),
                ],
                id="c-prompts",
                className="fa-row fa-grow",
            ),
            html.Div([form("ca", "Group A"), form("cb", "Group B")], id="c-groups", className="fa-row fa-grow fa-two", hidden=True),
            html.Div(
                dmc.SegmentedControl(id="c-shape", value="graphs", size="xs", data=[{"value": "graphs", "label": "Graphs"}, {"value": "map", "label": "Head map"}]),
                id="c-shapes", hidden=True,
            ),
            html.Button("Save CSV", id="c-csv", className="fa-button"),
        ],
        className="fa-row",
    )
    pictures = html.Div([html.Div(id="c-left", className="fa-picture"), html.Div(id="c-right", className="fa-picture")], id="c-pictures", className="fa-pictures")
    return html.Main(
        [
            top,
            html.P(id="c-note", className="fa-note fa-tight", role="status"),
            pictures,
            html.Div(id="c-map", className="fa-map", role="grid", hidden=True, **{"aria-label": "Change of each head's contribution"}),
            html.Div(grid("c-grid", PAIR_COLUMNS, columnSize=None), className="fa-grow fa-low"),
            dcc.Store(id="c-data"),
        ],
        className="fa-page",
    )


def register(app: Dash, source: Source) -> None:
    """Connect the tab."""

    @app.callback(Output("c-a", "data"), Output("c-b", "data"), Output("c-pair", "data"), Input("prompts-changed", "data"))
    def _prompts(_: Any) -> Any:
        return offered(source.prompts())

    @app.callback(Output("c-a", "value"), Output("c-b", "value"), Input("c-pair", "value"), prevent_initial_call=True)
    def _pair(name: str | None) -> Any:
        return members(source.prompts(), name)

    @app.callback(
        Output("c-data", "data"), Output("c-grid", "rowData"), Output("c-grid", "columnDefs"), Output("c-layer", "data"),
        Input("tab", "data"), Input("c-mode", "value"), Input("c-a", "value"), Input("c-b", "value"), Input("c-layer", "value"),
        Input("theme", "data"), *inputs("ca"), *inputs("cb"), State("graph-meta", "data"), prevent_initial_call=True,
    )  # fmt: skip
    def _compare(tab: str, mode: str, a: str | None, b: str | None, layer: str, theme: str, *given: Any) -> Any:
        *chosen, meta = given
        layers = [{"value": "all", "label": "summary"}, *({"value": f"{i}-{i}", "label": f"layer {i}"} for i in range((meta or {}).get("n_layer") or 0))]
        if tab != "compare":
            return None, [], PAIR_COLUMNS, layers
        if mode == "groups":
            return *groups(source, chosen[:4], chosen[4:], theme or "light"), GROUP_COLUMNS, layers
        return *prompts(source, a, b, layer, theme or "light"), PAIR_COLUMNS, layers

    connect(app, "compared", Input("c-data", "data"))
    connect(app, "comparedPrompts", Input("c-a", "value"), Input("c-b", "value"), Input("c-layer", "value"), Input("c-mode", "value"))
    connect(app, "comparedCell", Input("c-grid", "cellClicked"))
    connect(app, "comparedShape", Input("c-shape", "value"))


def offered(rows: list[dict[str, Any]]) -> tuple[list[dict[str, str]], list[dict[str, str]], list[str]]:
    """What A, B and the pair can be."""
    data = [{"value": str(row["id"]), "label": f"{row['id']}  {row['text'].strip()[:90]} → {row['target'].strip()}"} for row in rows]
    return data, data, sorted({row["pair"] for row in rows if row["pair"]})


def members(rows: list[dict[str, Any]], name: str | None) -> tuple[Any, Any]:
    """Clean and corrupted prompt of a pair."""
    found = sorted((row for row in rows if name and row["pair"] == name), key=lambda row: (row["role"] != "clean", row["id"]))
    if len(found) < 2:
        from dash import no_update

        return no_update, no_update
    return str(found[0]["id"]), str(found[1]["id"])


def prompts(source: Source, a: str | None, b: str | None, layer: str, theme: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Both pictures and the rows of the table."""
    if not a or not b:
        return {"note": "Choose two prompts, or select two in the Prompts tab and press “Side by side”."}, []
    view = replace(parse_graph({"l": layer}), positive=8, negative=4, memories=2)
    try:
        found = compare(source, replace(view, prompt=int(a)), replace(view, prompt=int(b)))
    except FlowatlasError as error:
        return {"note": str(error), "failed": True}, []
    made = {name: svg(drawing, theme, facts=True, mode="contribution") for name, drawing in (("a", found.a), ("b", found.b))}
    titles = {f"title_{name}": _title(source, int(prompt)) for name, prompt in (("a", a), ("b", b))}
    note = "Blue: B gives the target more than A does; red: less. Heads, outputs and neurons by contribution, residuals by probability."
    return {**made, **titles, "note": f"{note} {found.note}"}, found.rows


def _title(source: Source, prompt: int) -> dict[str, Any]:
    graph = source.graph(source.checked(GraphView(prompt=prompt)))
    return {name: visible(str(graph.prompt[name])).strip() if name != "target_prob" else graph.prompt[name] for name in ("text", "target", "target_prob")}


def in_words(chosen: Selection) -> str:
    """A selection as a title."""
    names = {"dataset": "data set {}", "group": "group {}", "text": "text holds “{}”"}
    parts = [names[name].format(visible(str(value))) for name, value in chosen.given.items() if name in names]
    if chosen.correct is not None:
        parts.append("the model is right" if chosen.correct else "the model is wrong")
    return ", ".join(parts) or "every prompt"


def groups(source: Source, first: list[Any], second: list[Any], theme: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The mean graphs of both groups, the change of every head's mean contribution, and the rows of the table."""
    chosen = {"a": selection(*first), "b": selection(*second)}
    if chosen["a"] == chosen["b"]:
        return {"note": "Choose two groups of prompts that differ, such as two data sets, or right and wrong answers.", "cells": []}, []
    try:
        found = compare_groups(source, chosen["a"], chosen["b"])
    except FlowatlasError as error:
        return {"note": str(error), "failed": True, "cells": []}, []
    made = {name: svg(drawing, theme, facts=True, mode="contribution") for name, drawing in (("a", found.a), ("b", found.b))}
    counts = {name: max((box.info["n"] for box in drawing.boxes), default=0) for name, drawing in (("a", found.a), ("b", found.b))}
    titles = {f"title_{name}": {"words": in_words(one), "count": counts[name]} for name, one in chosen.items()}
    cells = [
        {"layer": info["layer"], "head": info["head"], "value": row["change"], "prompts": counts["b"]}
        for row in found.rows
        if (info := row["at"])["kind"] == "head"
    ]
    words = "change of the mean contribution from A to B"
    note = "Means over each group's prompts. Blue: the target gets more in B than in A; red: less. Heads and outputs by contribution, residuals by probability."
    return {**made, **titles, "cells": cells, "measure": "contribution", "words": words, "note": note}, found.rows
