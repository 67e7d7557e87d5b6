"""The rows of a graph, looked up by what they are: layer, kind, head, source."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from flowatlas.vocabulary import Kind, Label, Type

Row = Mapping[str, Any]


class Records:
    """Nodes and edges of one prompt's graph, at one position.

    `nodes` carry `label` and the vocabulary's columns of that label; `edges` carry `type`, `from`,
    `to` and the vocabulary's columns of that type (a column that a type lacks is absent or None).
    """

    def __init__(self, prompt: Row, model: Row, tokens: Iterable[Row], nodes: Iterable[Row], edges: Iterable[Row]) -> None:
        self.prompt = prompt
        self.model = model
        self.tokens = sorted(tokens, key=lambda token: token["position"])
        self.order: Mapping[Hashable, float] = {}
        """Scores to sort neurons (by id) and memories (by layer, head, source) by, instead of their own."""
        self.states: dict[int, Row] = {}
        self.neurons: dict[int, Row] = {}
        self.by_kind: dict[tuple[int, str], list[Row]] = defaultdict(list)
        for node in nodes:
            self._add_node(node)
        self.edges: dict[str, list[Row]] = defaultdict(list)
        self.into: dict[tuple[str, int], list[Row]] = defaultdict(list)
        self.out_of: dict[tuple[str, int], list[Row]] = defaultdict(list)
        for edge in edges:
            self._add_edge(edge)

    def _add_node(self, node: Row) -> None:
        if node["label"] == Label.NEURON:
            self.neurons[node["id"]] = node
        elif "kind" in node and node["kind"] is not None:
            self.states[node["id"]] = node
            self.by_kind[node["layer"], node["kind"]].append(node)

    def _add_edge(self, edge: Row) -> None:
        self.edges[edge["type"]].append(edge)
        self.into[edge["type"], edge["to"]].append(edge)
        self.out_of[edge["type"], edge["from"]].append(edge)

    @property
    def vocabulary(self) -> int:
        """Size of the vocabulary, which ranks are judged against."""
        return int(self.model["vocab_size"])

    def one(self, layer: int, kind: str) -> Row | None:
        """The vector of that kind in a layer, if the graph has it."""
        rows = self.by_kind.get((layer, kind), [])
        return rows[0] if rows else None

    def heads(self, layer: int) -> list[int]:
        """Heads of a layer with anything shown, in index order."""
        kinds = (Kind.QUERY, Kind.KEY, Kind.VALUE, Kind.HEAD)
        return sorted({row["head"] for kind in kinds for row in self.by_kind.get((layer, kind), [])})

    def layers(self) -> list[int]:
        """Layers with anything but their incoming residual."""
        count = int(self.model["n_layer"])
        return sorted(
            {layer for (layer, kind), rows in self.by_kind.items() if rows and 0 <= layer < count and kind != Kind.RESIDUAL_POST}
        )

    def residual_in(self, layer: int) -> Row | None:
        """The residual that a layer reads: the embedding, or what the layer before left."""
        if layer == 0:
            return self.one(-1, Kind.EMBEDDING)
        return self.one(layer - 1, Kind.RESIDUAL_POST)

    def contribution(self, state: int) -> float | None:
        """Direct effect of a vector on the target's logit: that of the edge on which it flows on."""
        for type_ in (Type.SUMS, Type.CONCATENATES, Type.ADDS):
            for edge in self.out_of.get((type_, state), []):
                if edge.get("contribution") is not None:
                    return float(edge["contribution"])
        return None

    def token_text(self, position: int) -> str:
        """Text of the input token at a position."""
        for token in self.tokens:
            if token["position"] == position:
                return str(token["text"])
        return ""
