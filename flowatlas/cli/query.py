"""`flowatlas query` and `flowatlas cypher`: questions on a store, rows out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowatlas.cli.console import people
from flowatlas.cli.options import (
    FormatOption,
    OutOption,
    ParameterOption,
    StoreOption,
    as_json_or_text,
    opened,
    parameters,
)
from flowatlas.cli.tables import chosen_format, write
from flowatlas.errors import UsageError

if TYPE_CHECKING:
    from flowatlas.catalogue import Query


def register(app: typer.Typer) -> None:
    """Add `query` and `cypher`."""
    app.command("query")(query)
    app.command("cypher")(cypher)


def _names(incomplete: str) -> list[tuple[str, str]]:
    """Query names for the shell, with their doc lines."""
    from flowatlas.catalogue import catalogue

    return [(q.name, q.title) for q in catalogue().queries.values() if q.name.startswith(incomplete)]


def query(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="Named query; none: list them all.", autocompletion=_names, show_default=False
        ),
    ] = None,
    param: ParameterOption = None,
    store: StoreOption = None,
    format_: FormatOption = None,
    out: OutOption = None,
    show: Annotated[
        bool, typer.Option("--show", help="Print the Cypher for this store instead of running it.")
    ] = False,
    describe: Annotated[
        bool, typer.Option("--describe", help="Print what the query answers, its parameters and columns.")
    ] = False,
) -> None:
    """Run a named query, or list them all.

    flowatlas query heads_always_promoting_target -p rank=10 -p dataset=facts
    """
    from flowatlas.catalogue import catalogue

    given = parameters(param)
    if name is None:
        if given or show or describe:
            raise UsageError("Which query?", next_step="`flowatlas query` lists them all.")
        _list(format_, out)
        return
    wanted = catalogue().get(name)
    if describe:
        typer.echo(described(wanted))
    elif show:
        _show(wanted, given, store)
    else:
        _answer(name, given, store, format_, out)


def _list(format_: FormatOption, out: OutOption) -> None:
    import pyarrow as pa

    from flowatlas.catalogue import catalogue

    queries = sorted(catalogue().queries.values(), key=lambda q: (q.topic, q.name))
    rows = {
        "query": [q.name for q in queries],
        "topic": [q.topic for q in queries],
        "answers": [q.title for q in queries],
    }
    write(pa.table(rows), chosen_format(format_, out), out)
    people.print("Describe one: flowatlas query NAME --describe", style="dim")


def _answer(name: str, given: dict[str, Any], store: str | None, format_: FormatOption, out: OutOption) -> None:
    from query.run import run

    chosen = chosen_format(format_, out)
    with opened(store) as there:
        result = run(there, name, **given)
    write(result.table, chosen, out)
    for note in result.notes:
        people.print(note, style="dim")


def _show(wanted: Query, given: dict[str, Any], store: str | None) -> None:
    from flowatlas.settings import settings
    from flowatlas.stores import is_neo4j

    resolved = wanted.resolve("neo4j" if is_neo4j(store or settings().store) else "ladybug", given, partial=True)
    for parameter, value in resolved.parameters.items():
        typer.echo(f"// ${parameter}: {value!r}")
    typer.echo(resolved.text)


def described(wanted: Query) -> str:
    """What a query answers, with its parameters and columns, as text."""
    from flowatlas.selection import FIELDS

    lines = [wanted.name, f"  {wanted.title}"]
    lines += ["", *(f"  {line}".rstrip() for line in wanted.doc.splitlines())] if wanted.doc else []
    if wanted.parameters or wanted.selects:
        lines += ["", "Parameters"]
    lines += [f"  {p.name}: {p.doc} ({p.signature})" for p in wanted.parameters]
    if wanted.selects:
        lines.append(f"  {', '.join(FIELDS)}: choose the prompts")
    lines += ["", "Columns", *(f"  {column.name}: {column.doc}" for column in wanted.columns)]
    return "\n".join(lines)


def cypher(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Cypher that reads; - reads it from stdin.")],
    param: ParameterOption = None,
    store: StoreOption = None,
    format_: FormatOption = None,
    out: OutOption = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.01, help="Stop after so many seconds [FLOWATLAS_QUERY_TIMEOUT].")
    ] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="At most so many rows [FLOWATLAS_QUERY_ROWS].")] = None,
) -> None:
    """Run Cypher of your own on the store: it can only read, within limits of time, rows and memory.

    flowatlas cypher "MATCH (p:Prompt) RETURN p.text, p.target LIMIT 5"
    """
    from flowatlas.settings import settings
    from flowatlas.stores.base import Limits

    chosen = chosen_format(format_, out)
    asked = sys.stdin.read() if text == "-" else text
    if not asked.strip():
        raise UsageError(
            "There is no query.", next_step='Write flowatlas cypher "MATCH (p:Prompt) RETURN p.text LIMIT 5".'
        )
    known = settings()
    limits = Limits(
        seconds=seconds or known.query_timeout, rows=rows or known.query_rows, memory_mb=known.query_memory_mb
    )
    with opened(store) as there:
        answer = there.ask(asked, parameters(param, as_json_or_text), limits)
    write(answer.table, chosen, out)
    if answer.truncated:
        people.print(f"There are more than these {answer.table.num_rows} rows: --rows allows more.", style="dim")
    elif answer.table.num_rows == 0:
        people.print("No rows.", style="dim")
