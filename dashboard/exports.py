"""What is on the page as a file: SVG, standalone HTML, JSON, GraphML, CSV, the paper's Sankey."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from typing import Any, Final

import networkx as nx
import polars as pl

from dashboard.sankey import sankey_html
from dashboard.standalone import to_html, to_svg
from dashboard.view import GraphView
from query.graph import Graph


def _json(graph: Graph, view: GraphView, theme: str) -> str:
    del view, theme
    whole = {"prompt": dict(graph.prompt), "model": dict(graph.model), "layers": [graph.layers.start, graph.layers.stop - 1]}
    whole |= {"nodes": graph.node_records, "edges": graph.edge_records}
    return json.dumps(whole, ensure_ascii=False, default=str)


def _graphml(graph: Graph, view: GraphView, theme: str) -> str:
    del view, theme
    made: Any = nx.MultiDiGraph(prompt=_xml(graph.prompt["text"]), target=_xml(graph.prompt["target"]))
    for node in graph.node_records:
        made.add_node(f"{node['label']}:{node['id']}", **_flat(node))
    for number, edge in enumerate(graph.edge_records):
        ends = (f"{edge['from_label']}:{edge['from']}", f"{edge['to_label']}:{edge['to']}")
        made.add_edge(*ends, key=number, **_flat(edge))
    buffer = io.BytesIO()
    nx.write_graphml(made, buffer)
    return buffer.getvalue().decode("utf-8")


def _csv(graph: Graph, view: GraphView, theme: str) -> str:
    del view, theme
    return graph.edges.select([c for c, kind in graph.edges.schema.items() if not isinstance(kind, pl.List)]).write_csv()


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    """GraphML knows no lists and no nulls."""
    return {
        name: json.dumps(value, ensure_ascii=False) if isinstance(value, list) else _xml(value)
        for name, value in record.items()
        if value is not None
    }


def _xml(value: Any) -> Any:
    """XML 1.0 cannot hold control characters."""
    return re.sub(r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", value) if isinstance(value, str) else value


FORMATS: Final[dict[str, tuple[str, Callable[[Graph, GraphView, str], str]]]] = {
    "svg": ("svg", lambda graph, view, theme: to_svg(graph, view=view, theme=theme)),
    "html": ("html", lambda graph, view, _: to_html(graph, view=view)),
    "json": ("json", _json),
    "graphml": ("graphml", _graphml),
    "csv": ("csv", _csv),
    "sankey": ("sankey.html", sankey_html),
}
"""Format -> the file's ending, and how its text is made."""


def export(graph: Graph, view: GraphView, kind: str, theme: str) -> tuple[str, str]:
    """File name and text of a graph in a format of FORMATS."""
    ending, make = FORMATS[kind]
    layers = "summary" if view.layers is None else f"layers-{view.layers[0]}-{view.layers[1]}"
    return f"flowatlas-prompt-{graph.prompt['id']}-{layers}.{ending}", make(graph, view, theme)
