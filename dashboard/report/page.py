"""A report as one HTML page that works offline: a table of contents, and every figure with what it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final

from plotly.offline import get_plotlyjs

from dashboard.elements.text import visible
from dashboard.report.interactive import interactive
from dashboard.standalone import to_svg
from dashboard.view import GraphView
from query.analyses.records import Figure, Flow, Missing, Words

_HERE: Final = Path(__file__).parent


@dataclass(frozen=True)
class About:
    """What the head of a report says: its title and lines of name and value."""

    title: str
    facts: Mapping[str, str]


def page(about: About, figures: Sequence[Figure | Missing], files: Mapping[str, Sequence[str]]) -> str:
    """The page; `files` are the pictures and data beside it, by the name of their figure."""
    contents = "".join(
        f'<li{" class=missing" if isinstance(f, Missing) else ""}><a href="#{f.name}">{_text(f.title)}</a> <small>{_text(f.paper)}</small></li>'
        for f in figures
    )
    facts = "".join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in about.facts.items())
    sections = "".join(_section(figure, files.get(figure.name, ())) for figure in figures)
    return _PAGE.format(
        title=_text(about.title), style=(_HERE / "page.css").read_text("utf-8"), plotly=get_plotlyjs(), facts=facts,
        contents=contents, sections=sections,
    )  # fmt: skip


def _section(figure: Figure | Missing, files: Sequence[str]) -> str:
    head = f'<section id="{figure.name}"><h2>{_text(figure.title)} <small>{_text(figure.paper)}</small></h2>'
    if isinstance(figure, Missing):
        return f"{head}<p class=reason>Not shown. {_text(figure.reason)}</p></section>"
    notes = "".join(f"<p class=note>{_text(note)}</p>" for note in figure.notes)
    links = " · ".join(f'<a href="{escape(name)}">{escape(name)}</a>' for name in files)
    parameters = ", ".join(f"{name} = {value}" for name, value in figure.parameters.items())
    made = interactive(figure.panels)
    plots = "" if made is None else _plot(made, figure.name)
    return (
        f"{head}<p class=sentence>{_text(figure.sentence)}</p>{notes}{plots}{_others(figure)}"
        f"<details><summary>{figure.prompts} prompts; {_text(parameters)}</summary>"
        f"<pre>{_text(figure.query)}</pre></details><p class=files>{links}</p></section>"
    )


def _plot(made: Any, name: str) -> str:
    text: str = made.to_html(
        include_plotlyjs=False, full_html=False, div_id=f"plot-{name}", config={"responsive": True, "displaylogo": False}
    )
    return text


def _others(figure: Figure) -> str:
    parts = [_words(panel) for panel in figure.panels if isinstance(panel, Words)]
    parts = [f"<div class=tables>{''.join(parts)}</div>"] if parts else []
    for panel in figure.panels:
        if isinstance(panel, Flow):
            remarks = "".join(f"<li>{_text(remark)}</li>" for remark in panel.remarks)
            parts.append(f"<h3>{_text(panel.title)}</h3><div class=flow>{flow_svg(panel)}</div><ol>{remarks}</ol>")
    return "".join(parts)


def flow_svg(panel: Flow) -> str:
    """The flow graph of a panel as SVG."""
    return to_svg(panel.graph, view=flow_view(panel))


def flow_view(panel: Flow) -> GraphView:
    """What of its graph a panel shows."""
    layers = panel.graph.layers
    return GraphView(layers=(layers.start, layers.stop - 1), hide=panel.hide)


def _words(panel: Words) -> str:
    head = "".join(f"<th>{_text(name)}</th>" for name in panel.header)
    rows = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in panel.rows)
    return f"<table><caption>{_text(panel.title)}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _text(text: str) -> str:
    return escape("\n".join(visible(line) for line in text.split("\n")))


_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{style}</style><script>{plotly}</script></head>
<body><header><h1>{title}</h1><dl>{facts}</dl></header>
<nav><h2>Contents</h2><ol>{contents}</ol></nav><main>{sections}</main></body></html>
"""
