"""The pages docs/commands.md and docs/queries.md, from the command line and the catalogue themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any, Final

import typer.main

from flowatlas.catalogue import ParameterSpec, Query, catalogue
from flowatlas.cli.main import create_app
from flowatlas.selection import FIELDS

WRITTEN: Final = "Written by `python docs/generate.py`; a test keeps page and program equal.\n"

COMMANDS_HEAD: Final = f"""# Commands

{WRITTEN}
stdout is data only, messages go to stderr. Exit codes: 0 done, 1 failed, 2 used wrongly, 130 interrupted. Settings by
environment are in [install.md](install.md#settings).
"""

QUERIES_HEAD: Final = f"""# Named queries

{WRITTEN}
Each is a file in [cypher/queries](../cypher/queries), the same on every store unless a folder of that store holds
another text. `flowatlas query NAME -p parameter=value` runs one, `--show` prints its Cypher, `--describe` what is
below. Queries that *choose prompts* also take {", ".join(f"`{name}`" for name in FIELDS)}.
"""


def commands_page() -> str:
    """Every command with its arguments and options."""
    root: Any = typer.main.get_command(create_app())
    parts = [COMMANDS_HEAD]
    for name, command in root.commands.items():
        parts += _commands(f"flowatlas {name}", command, "##")
    return "\n".join(parts)


def _commands(name: str, command: Any, level: str) -> Iterator[str]:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    usage = " ".join([name, *(p.metavar or (p.name.upper() if p.required else f"[{p.name.upper()}]") for p in arguments)])
    yield f"{level} {name}\n\n{_first_paragraph(command.help)}\n"
    children: Mapping[str, Any] = getattr(command, "commands", {})
    for child, below in children.items():
        yield from _commands(f"{name} {child}", below, f"{level}#")
    if children:
        return
    yield f"    {usage} [OPTIONS]\n"
    rows = [f"| {_spelling(p)} | {_cell(p.help)}{_default(p)} |\n" for p in command.params if p.name != "help"]
    if rows:
        yield "".join(["| argument or option | meaning |\n| --- | --- |\n", *rows])


def _spelling(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.name.upper()}`"
    names = sorted([*parameter.opts, *parameter.secondary_opts], key=lambda name: (name.startswith("--no-"), -len(name)))
    value = "" if parameter.is_flag else f" {parameter.metavar or names[0].lstrip('-').upper()}"
    return ", ".join(f"`{name}{value}`" if n == 0 else f"`{name}`" for n, name in enumerate(names))


def _default(parameter: Any) -> str:
    if parameter.default in (None, False, "") or not parameter.show_default:
        return ""
    if parameter.default is True:
        return " Default: yes."
    return f" Default: `{parameter.default}`."


def _first_paragraph(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split())


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|")


def queries_page() -> str:
    """Every named query with its parameters and columns, by topic."""
    queries = sorted(catalogue().queries.values(), key=lambda query: (query.topic, query.name))
    parts = [QUERIES_HEAD]
    for topic, group in groupby(queries, key=lambda query: query.topic):
        parts.append(f"## {topic.capitalize()}\n")
        parts += [_query(query) for query in group]
    return "\n".join(parts)


def _query(query: Query) -> str:
    lines = [f"### {query.name}\n", f"{query.title}\n"]
    if query.doc.strip() and query.doc.strip() != query.title:
        lines.append(f"{query.doc.strip()}\n")
    takes = [_parameter(spec) for spec in query.parameters]
    if query.selects:
        takes.append("* chooses prompts\n")
    if takes:
        lines.append("Parameters:\n\n" + "".join(takes))
    lines.append("Columns: " + "; ".join(f"`{column.name}` {column.doc}" for column in query.columns) + ".\n")
    return "\n".join(lines)


def _parameter(spec: ParameterSpec) -> str:
    if spec.required:
        default = "must be given"
    else:
        default = "may be left out" if spec.default is None else f"default `{spec.default}`"
    bounds = f", {spec.range}" if spec.range else ""
    return f"* `{spec.name}`: {spec.doc} ({default}{bounds})\n"
