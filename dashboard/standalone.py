"""A graph as one file: SVG, or an HTML page that works offline, with hover, click, path highlight and zoom."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Final

from dashboard.elements.svg import svg
from dashboard.elements.text import visible
from dashboard.palette import themes
from dashboard.picture import draw, hidden
from dashboard.view import GraphView
from query.graph import Graph

_HERE: Final = Path(__file__).parent


def to_svg(graph: Graph, *, view: GraphView | None = None, theme: str = "light") -> str:
    """The picture of a graph as SVG with real text; by default every layer that the graph holds in full."""
    return svg(draw(graph, view or _all_layers(graph)), theme)


def to_html(graph: Graph, *, view: GraphView | None = None) -> str:
    """The picture of a graph as one page without any outside file: open it anywhere, send it to anyone."""
    drawing = draw(graph, view or _all_layers(graph))
    prompt = graph.prompt
    about = {
        "text": visible(str(prompt["text"])).strip(),
        "target": visible(str(prompt["target"])),
        "foil": None if prompt.get("foil") is None else visible(str(prompt["foil"])),
        "rank": prompt["target_rank"],
        "p": prompt["target_prob"],
        "showing": hidden(graph, drawing)["showing"],
        "note": graph.note,
        "themes": themes(),
    }
    scripts = [(_HERE / name).read_text("utf-8") for name in ("assets/20_facts.js", "standalone_page.js")]
    # No markup inside a script element: "<" is written as its escape, which JSON reads as the same string.
    data = json.dumps(about, ensure_ascii=False).replace("<", "\\u003c")
    return _PAGE.format(
        title=escape(f"{about['text'][:80]} → {about['target'].strip()}"),
        style=(_HERE / "standalone_page.css").read_text("utf-8"),
        svg=svg(drawing, facts=True),
        data=data,
        script="\n".join(scripts),
    )


def _all_layers(graph: Graph) -> GraphView:
    return GraphView(layers=(graph.layers.start, graph.layers.stop - 1))


_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<title>{title}</title><style>{style}</style></head>
<body><header id="head"></header><main id="stage">{svg}</main>
<aside id="fa-inspector" hidden></aside><div id="fa-tip" hidden></div>
<script type="application/json" id="about">{data}</script>
<script>{script}</script></body></html>
"""
