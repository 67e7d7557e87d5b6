"""Where a graph came from, so that anyone can make it again, and whether a store still gives it."""

from __future__ import annotations

import hashlib
import html
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from flowatlas import __version__
from flowatlas.catalogue import catalogue
from flowatlas.errors import InputError, UsageError
from flowatlas.stores.base import Store
from flowatlas.vocabulary import SCHEMA_VERSION
from query.graph import Graph
from query.pruning import describe

_QUERIES: Final = ("slice_states", "slice_edges")
_MARK: Final = "flowatlas-provenance"


def content_hash(nodes: list[dict[str, Any]], edges: list[dict[str, Any]]) -> str:
    """Hash of records without order: equal graphs have equal hashes on every store."""
    digest = hashlib.blake2b(digest_size=16)
    for rows in (nodes, edges):
        for line in sorted(json.dumps(row, ensure_ascii=False, sort_keys=True) for row in rows):
            digest.update(line.encode())
            digest.update(b"\n")
        digest.update(b"\0")
    return digest.hexdigest()


def provenance(graph: Graph) -> dict[str, Any]:
    """Versions, model, prompt, parameters, query texts and content hash of a graph, as JSON values."""
    from query.export import records

    dialect = graph.store.get("dialect", "ladybug")
    return {
        "flowatlas": __version__,
        "schema_version": graph.store.get("schema_version", SCHEMA_VERSION),
        "store": dialect,
        "model": graph.model["id"],
        "model_name": graph.model["name"],
        "prompt": graph.prompt["key"],
        "text": graph.prompt["text"],
        "layers": f"{graph.layers.start}:{graph.layers.stop}",
        "position": graph.position,
        "prune": "none" if graph.pruned is None else describe(graph.pruned.policy),
        "queries": {name: catalogue().get(name).texts.get(dialect, catalogue().get(name).texts["ladybug"]) for name in _QUERIES},
        "content_hash": content_hash(*records(graph)),
    }


def in_svg(picture: str, source: dict[str, Any]) -> str:
    """An SVG picture with its provenance as metadata."""
    text = html.escape(json.dumps(source, ensure_ascii=False))
    return re.sub(r"(<svg\b[^>]*>)", lambda m: f'{m[1]}<metadata id="{_MARK}">{text}</metadata>', picture, count=1)


def in_html(page: str, source: dict[str, Any]) -> str:
    """An HTML page with its provenance in its head."""
    text = json.dumps(source, ensure_ascii=False).replace("</", "<\\/")
    return page.replace("</head>", f'<script type="application/json" id="{_MARK}">{text}</script></head>', 1)


def read_provenance(file: Path) -> dict[str, Any]:
    """The provenance that an exported file carries. Raises InputError when it carries none."""
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read: {getattr(error, 'strerror', None) or 'it is not text'}.") from error
    found = _found(text)
    try:
        source = json.loads(found) if found is not None else None
    except json.JSONDecodeError:
        source = None
    if not isinstance(source, dict) or not {"content_hash", "prompt", "layers", "prune", "model"} <= set(source):
        raise InputError(f"{file} carries no provenance.", next_step="Only files made by `flowatlas graph` can be verified.")
    return source


def _found(text: str) -> str | None:
    if text.lstrip().startswith("{"):
        try:
            whole = json.loads(text)
        except json.JSONDecodeError:
            return None
        return json.dumps(whole.get("flowatlas"))
    script = re.search(rf'<script type="application/json" id="{_MARK}">(.*?)</script>', text, re.DOTALL)
    if script:
        return script[1]
    metadata = re.search(rf'<metadata id="{_MARK}">(.*?)</metadata>', text, re.DOTALL)
    if metadata:
        return html.unescape(metadata[1])
    key = re.search(r'<key id="(\w+)" for="graph" attr.name="flowatlas"', text)
    value = re.search(rf'<data key="{key[1]}">(.*?)</data>', text, re.DOTALL) if key else None
    return html.unescape(value[1]) if value else None


@dataclass(frozen=True)
class Verified:
    """Whether a store still gives what a file holds; `problems` is empty when it does."""

    source: dict[str, Any]
    problems: tuple[str, ...]


def verify(store: Store, file: Path) -> Verified:
    """Make the graph of an exported file again from `store` and compare.

    A JSON file is also compared with its own hash, so that a changed number is noticed. Raises
    InputError when the file carries no provenance.
    """
    from query.export import records

    source = read_provenance(file)
    problems = _changed_inside(file, source)
    known = store.read("MATCH (p:Prompt) WHERE p.key = $key RETURN p.id AS id", {"key": source["prompt"]})["id"].to_pylist()
    if not known:
        return Verified(source, (*problems, f"The store does not hold the prompt '{source['text']}' with the key {source['prompt']}."))
    try:
        graph = _again(store, known[0], source)
    except (UsageError, ValueError) as error:
        return Verified(source, (*problems, str(error).splitlines()[0]))
    if graph.model["id"] != source["model"]:
        problems.append(f"The model is another one: {graph.model['id']} instead of {source['model']}.")
    found = content_hash(*records(graph))
    if found != source["content_hash"]:
        problems.append(f"The store gives another graph: its hash is {found}, the file's {source['content_hash']}.")
    return Verified(source, tuple(problems))


def _again(store: Store, prompt: int, source: dict[str, Any]) -> Graph:
    from query.layers import parse_layers
    from query.slice import slice as slice_of

    layers = parse_layers(source["layers"], 0)
    policy = None if source["prune"] == "none" else source["prune"]
    return slice_of(store, prompt, layers, position=int(source.get("position", 0)), policy=policy)


def _changed_inside(file: Path, source: dict[str, Any]) -> list[str]:
    if not file.read_text("utf-8").lstrip().startswith("{"):
        return []
    whole = json.loads(file.read_text("utf-8"))
    if content_hash(whole.get("nodes", []), whole.get("edges", [])) != source["content_hash"]:
        return ["The file was changed after it was made: its nodes and edges do not have its hash."]
    return []
