"""The Queries tab: the named queries as forms, their answers in a table."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any, Final

import dash_mantine_components as dmc
from dash import ALL, Dash, Input, Output, State, ctx, dcc, no_update

from dashboard.clientside import connect
from dashboard.desk import Reply
from dashboard.elements.text import visible
from dashboard.measures import choices
from dashboard.source import Source
from dashboard.widgets import grid, html
from flowatlas.catalogue import ParameterSpec, Query, catalogue
from flowatlas.errors import FlowatlasError
from flowatlas.selection import FIELDS
from flowatlas.settings import settings
from flowatlas.stores.base import Limits

QUICK: Final = 0.7
"""Seconds after which an answer is waited for by asking again, so that the page can cancel."""

ANSWER = ({"field": "answer", "headerName": "Answer", "flex": 1},)
"""A table that has no answer yet."""

_NUMBERS = ("int", "float", "prompt", "layer", "head", "position")


def layout() -> Any:
    """The tab."""
    allowed = limits()
    main = html.Div(
        [
            html.Div(id="q-form"),
            html.Div(
                [html.Button("Run", id="q-run", className="fa-button strong"), html.Button("Cancel", id="q-cancel", className="fa-button", disabled=True),
                 html.Button("Save CSV", id="q-csv", className="fa-button"), html.Button("Save JSON", id="q-json", className="fa-button"),
                 html.Span(f"at most {allowed.rows:,} rows and {allowed.seconds:g} s", className="fa-note"), html.Span(id="q-note", className="fa-note", role="status")],
                className="fa-row fa-center",
            ),
            html.Div(grid("q-grid", ANSWER, columnSize=None), className="fa-grow"),
            dcc.Store(id="q-name"),
            dcc.Store(id="q-asked"),
            dcc.Store(id="q-job"),
            dcc.Interval(id="q-tick", interval=250, disabled=True),
            dcc.Download(id="q-download"),
        ],
        className="fa-stack",
    )  # fmt: skip
    return html.Main(html.Div([_list(), main], className="fa-columns"), className="fa-page")


def _list() -> Any:
    by_topic: dict[str, list[Query]] = defaultdict(list)
    for query in catalogue().queries.values():
        by_topic[query.topic].append(query)
    parts: list[Any] = []
    for topic, queries in sorted(by_topic.items()):
        parts.append(html.H4(topic))
        parts += [
            html.Button(query.name, id={"type": "q-pick", "name": query.name}, title=query.title, className="fa-item", **{"data-query": query.name})
            for query in sorted(queries, key=lambda one: one.name)
        ]
    return html.Nav(parts, className="fa-list", **{"aria-label": "Named queries"})


def register(app: Dash, source: Source) -> None:
    """Connect the tab."""

    @app.callback(
        Output("q-name", "data"), Input({"type": "q-pick", "name": ALL}, "n_clicks"), prevent_initial_call=True
    )
    def _pick(clicks: list[int | None]) -> Any:
        return {"name": ctx.triggered_id["name"], "given": {}} if any(clicks) else no_update

    @app.callback(Output("q-form", "children"), Input("q-name", "data"), State("graph-meta", "data"))
    def _form(asked: dict[str, Any] | None, meta: dict[str, Any] | None) -> Any:
        prompt = ((meta or {}).get("prompt") or {}).get("id")
        return form(source, asked, prompt)

    def shown_in(*, again: bool) -> list[Output]:
        places = (("q-grid", "rowData"), ("q-grid", "columnDefs"), ("q-tick", "disabled"), ("q-cancel", "disabled"), ("q-note", "children"))
        return [Output(name, prop, allow_duplicate=again) for name, prop in places]

    @app.callback(
        Output("q-job", "data"), Output("q-asked", "data"), *shown_in(again=False),
        Input("q-run", "n_clicks"), State("q-name", "data"),
        State({"type": "q-param", "name": ALL}, "value"), State({"type": "q-param", "name": ALL}, "id"), prevent_initial_call=True,
    )  # fmt: skip
    def _run(_: Any, asked: dict[str, Any] | None, values: list[Any], ids: list[dict[str, str]]) -> Any:
        name = (asked or {}).get("name")
        if name is None:
            return no_update, no_update, no_update, no_update, True, True, "Choose a question first."
        given = {one["name"]: _whole(value) for one, value in zip(ids, values, strict=True) if value not in (None, "")}
        try:
            job = {"id": source.desk.ask("query", name, given, limits()), "name": name}
        except ValueError as error:
            return no_update, no_update, no_update, no_update, True, True, html.Span(str(error), className="fa-error")
        return job, {"name": name, "given": given}, *progress(source, job, QUICK)

    @app.callback(*shown_in(again=True), Input("q-tick", "n_intervals"), State("q-job", "data"), prevent_initial_call=True)
    def _watch(_: Any, job: dict[str, str] | None) -> Any:
        return progress(source, job)

    @app.callback(Output("q-cancel", "n_clicks"), Input("q-cancel", "n_clicks"), State("q-job", "data"), prevent_initial_call=True)
    def _cancel(_: Any, job: dict[str, str] | None) -> Any:
        source.desk.cancel((job or {}).get("id", ""))
        return no_update

    @app.callback(Output("q-job", "id"), Input("tab", "data"), prevent_initial_call=True)
    def _warm(tab: str) -> Any:
        if tab == "queries":
            source.desk.warm("query", limits().memory_mb)
        return no_update

    @app.callback(Output("q-download", "data"), Input("q-json", "n_clicks"), State("q-grid", "rowData"), State("q-name", "data"), prevent_initial_call=True)
    def _json(_: Any, rows: list[dict[str, Any]], asked: dict[str, Any] | None) -> Any:
        text = json.dumps(rows or [], ensure_ascii=False, indent=1)
        return {"filename": f"{(asked or {}).get('name', 'answer')}.json", "content": text, "base64": False}

    connect(app, "queryAsked", Input("q-asked", "data"))
    connect(app, "queryCell", Input("q-grid", "cellClicked"))
    connect(app, "queryPicked", Input("q-name", "data"))


def form(source: Source, asked: dict[str, Any] | None, prompt: int | None) -> Any:
    """A query's text and its fields; what was given before is filled in."""
    name = (asked or {}).get("name")
    if name is None:
        return html.P("Choose a question at the left.", className="fa-note")
    try:
        query = catalogue().get(name)
    except FlowatlasError as error:
        return html.P(str(error), className="fa-error")
    given = (asked or {}).get("given") or {}
    fields = [_field(parameter, given.get(parameter.name), prompt) for parameter in query.parameters]
    if query.selects:
        known = choices(source.store)
        fields += [_selecting(name, known.get(name, []), given.get(name)) for name in FIELDS]
    docs = [html.P(part) for part in query.doc.split("\n\n") if part.strip()]
    return html.Div([html.H2(query.name), html.P(query.title), html.Details([html.Summary("More about it"), *docs]) if docs else None,
                     html.Div(fields, className="fa-row fa-top")], className="fa-query")  # fmt: skip


def _field(parameter: ParameterSpec, given: Any, prompt: int | None) -> Any:
    value = given if given is not None else prompt if parameter.type == "prompt" else parameter.default
    hint = parameter.range or ("needed" if parameter.required else "")
    common = {"id": {"type": "q-param", "name": parameter.name}, "label": parameter.name, "description": parameter.doc, "size": "xs", "w": 190}
    if parameter.choices or parameter.type == "bool":
        options = list(parameter.choices) or ["true", "false"]
        return dmc.Select(data=options, value=None if value is None else str(value).lower(), clearable=not parameter.required, **common)
    if parameter.type in _NUMBERS:
        number = float(value) if isinstance(value, str) and value else value
        return dmc.NumberInput(value="" if number is None else number, placeholder="all" if parameter.optional else hint, allowDecimal=parameter.type == "float", **common)
    return dmc.TextInput(value="" if value is None else str(value), placeholder=hint, **common)


def _selecting(name: str, known: list[str], given: Any) -> Any:
    common = {"id": {"type": "q-param", "name": name}, "label": name, "description": "which prompts", "size": "xs", "w": 150}
    if name == "correct":
        known = ["true", "false"]
    if known:
        return dmc.Select(data=known, value=None if given is None else str(given).lower() if name == "correct" else given, clearable=True, searchable=True, placeholder="all", **common)
    return dmc.TextInput(value=given or "", placeholder="all", **common)


def limits() -> Limits:
    """What a named query on the page may take: the memory is the database's own, and room for the answer."""
    own = settings()
    return Limits(own.query_timeout, own.query_rows, own.ladybug_buffer_mb + own.query_memory_mb)


def progress(source: Source, job: dict[str, str] | None, wait: float = 0.0) -> Any:
    """Rows, columns, whether ticking is off, whether cancelling is off, note."""
    reply = source.desk.reply(job["id"], wait) if job else None
    if reply == "running":
        return no_update, no_update, False, False, "running …"
    if job is None or not isinstance(reply, Reply):
        return no_update, no_update, True, True, ""
    if reply.problem:
        return [], [], True, True, html.Span(reply.problem, className="fa-error")
    rows = [{key: shown(value) for key, value in row.items()} for row in reply.rows]
    columns = [column(spec.name, spec.doc, rows) for spec in catalogue().get(job["name"]).columns]
    counted = f"{len(rows):,} rows in {reply.seconds:.2f} s" + (", cut at the limit." if reply.truncated else ".")
    return rows, columns, True, True, " ".join([counted, *reply.notes])


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def shown(value: Any) -> Any:
    """A value as a cell: lists joined, tokens with their control characters written out."""
    if isinstance(value, list):
        return " · ".join(visible(str(one)).strip() if isinstance(one, str) else f"{one:.3g}" if isinstance(one, float) else str(one) for one in value)
    return visible(value) if isinstance(value, str) else value


def column(name: str, doc: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How a column of an answer is shown, by what it holds."""
    values = [row[name] for row in rows[:200] if row.get(name) is not None]
    made: dict[str, Any] = {"field": name, "headerName": name, "headerTooltip": doc, "flex": 1, "minWidth": max(80, 8 * len(name) + 44)}
    if values and all(isinstance(one, bool) for one in values):
        return made
    if values and all(isinstance(one, (int, float)) for one in values):
        made |= {"type": "rightAligned", "filter": "agNumberColumnFilter"}
        if any(isinstance(one, float) for one in values):
            made["valueFormatter"] = {"function": "params.value == null ? '' : d3.format('.4~g')(params.value)"}
    else:
        made |= {"tooltipField": name, "flex": 2, "minWidth": max(120, 8 * len(name) + 44)}
    if name in ("prompt", "a", "b") or (name == "id" and "text" in (rows[0] if rows else {})):
        made["cellClass"] = "fa-link"
    return made
