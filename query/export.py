"""Graphs for other programs: records, NetworkX, JSON, GraphML and Cytoscape elements."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from query.graph import Graph
from query.names import node_names
from query.provenance import provenance

if TYPE_CHECKING:
    import networkx as nx

_SHOWN: Final = ("top_token", "target_rank", "target_prob", "text", "entropy", "norm")


def records(graph: Graph) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Nodes and relationships as plain records: `name`s instead of ids, nulls left out, 32-bit floats short."""
    names = {(label, number): name for label, number, name in node_names(graph).iter_rows()}
    nodes = [
        {"name": names[row["label"], row["id"]], **_present(row, {"id", "prompt", "model"})} for row in graph.node_records
    ]
    edges = [
        {
            "type": row["type"], "from": names[row["from_label"], row["from"]], "to": names[row["to_label"], row["to"]],
            **_present(row, {"type", "from_label", "from", "to_label", "to"}),
        }
        for row in graph.edge_records
    ]  # fmt: skip
    return nodes, edges


def _present(row: dict[str, Any], without: set[str]) -> dict[str, Any]:
    return {key: _short(value) for key, value in row.items() if value is not None and key not in without}


def _short(value: Any) -> Any:
    """A float that came from 32 bits in its shortest form, so that text and hash are the same on every store."""
    if isinstance(value, float):
        return float(str(np.float32(value)))
    return [_short(item) for item in value] if isinstance(value, list) else value


def to_dict(graph: Graph) -> dict[str, Any]:
    """The graph as one JSON object: provenance, prompt, model, nodes, edges."""
    nodes, edges = records(graph)
    prompt = _present(dict(graph.prompt), {"id"})
    return {
        "flowatlas": provenance(graph), "prompt": prompt, "model": _present(dict(graph.model), set()),
        "nodes": nodes, "edges": edges,
    }  # fmt: skip


def to_json(graph: Graph) -> str:
    """The graph as JSON text, with its provenance."""
    return json.dumps(to_dict(graph), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def to_networkx(graph: Graph) -> nx.MultiDiGraph[str]:
    """A MultiDiGraph: nodes by name, edges keyed by type, properties as attributes."""
    import networkx as nx

    nodes, edges = records(graph)
    result: nx.MultiDiGraph[str] = nx.MultiDiGraph(flowatlas=provenance(graph))
    for node in nodes:
        result.add_node(node["name"], **{k: v for k, v in node.items() if k != "name"})
    for edge in edges:
        result.add_edge(edge["from"], edge["to"], key=edge["type"], **{k: v for k, v in edge.items() if k not in ("from", "to")})
    return result


def to_graphml(graph: Graph) -> str:
    """GraphML text; lists are JSON texts, the provenance is an attribute of the graph."""
    import networkx as nx

    whole = to_networkx(graph)
    plain: nx.MultiDiGraph[str] = nx.MultiDiGraph(flowatlas=json.dumps(whole.graph["flowatlas"], ensure_ascii=False))
    for name, attributes in whole.nodes(data=True):
        plain.add_node(name, **{key: _attribute(value) for key, value in attributes.items()})
    for start, end, key, attributes in whole.edges(keys=True, data=True):
        plain.add_edge(start, end, key=key, **{name: _attribute(value) for name, value in attributes.items()})
    buffer = io.BytesIO()
    nx.write_graphml(plain, buffer)
    return buffer.getvalue().decode("utf-8")


def _attribute(value: Any) -> Any:
    if isinstance(value, list):
        return json.dumps(value, ensure_ascii=False)
    return _printable(value) if isinstance(value, str) else value


def _printable(text: str) -> str:
    """XML cannot hold control characters: they are written as their code points."""
    return "".join(c if c in "\t\n\r" or (c >= " " and c not in "\ufffe\uffff") else f"\\u{ord(c):04x}" for c in text)


def to_cytoscape(graph: Graph) -> list[dict[str, Any]]:
    """Cytoscape elements: `data` with id, label and what a tooltip shows; positions are for the caller."""
    nodes, edges = records(graph)
    elements = [
        {
            "data": {
                "id": node["name"], "label": node.get("top_token", node.get("text", (node.get("top_tokens") or [""])[0])),
                "kind": node.get("kind", node["label"].lower()), **{k: node[k] for k in (*_SHOWN, "layer", "head") if k in node},
            },
            "classes": node["label"],
        }
        for node in nodes
    ]  # fmt: skip
    elements += [
        {
            "data": {"id": f"{e['type']}:{e['from']}>{e['to']}", "source": e["from"], "target": e["to"],
                     **{k: v for k, v in e.items() if k not in ("from", "to")}},
            "classes": e["type"],
        }
        for e in edges
    ]  # fmt: skip
    return elements
