"""Slices: the flow graph of one prompt, or of some of its layers, out of a store."""

from __future__ import annotations

from typing import Any, Final

import polars as pl

from flowatlas.catalogue import resolve
from flowatlas.errors import QueryError, UsageError
from flowatlas.stores.base import Store
from flowatlas.vocabulary import NODE_TABLE, RELATIONSHIP_TABLES, SCHEMA_VERSION, Label, Type
from query.graph import EDGE_COLUMNS, NODE_COLUMNS, STATE_OF_KIND, Graph, in_columns
from query.layers import checked_layers, in_layers
from query.prompts import find_prompt, model_of
from query.pruning import Policy, prune

_MANY_NEURONS: Final = 4000
"""From here on reading all neurons of the layers is quicker than asking for each."""


def slice(  # noqa: A001 (the word of the design; the builtin is not used here)
    store: Store,
    prompt: int | str,
    layers: range | None = None,
    *,
    position: int | None = None,
    policy: Policy | str | None = None,
) -> Graph:
    """The flow graph of a prompt (its id, or its text) in `layers` (default: all of them).

    `layers=range(9, 11)` gives layers 9 and 10 with the residual that enters 9; the embeddings come
    with layer 0 and the final norm with the last. `position` is the query position, the last token
    unless given. With a `policy` the graph is pruned before its neurons' texts are read, which is
    much quicker than `slice(...).prune(...)` and gives the same.

    Raises UsageError (no such prompt, layer or position), QueryError.
    """
    graph = outline(store, prompt, layers, position=position)
    return with_neurons(store, graph if policy is None else prune(graph, policy))


def outline(store: Store, prompt: int | str, layers: range | None = None, *, position: int | None = None) -> Graph:
    """What `slice` gives, but of neurons only id, layer and matrix: all that pruning needs.

    Prune it as often as you like and give the result to `with_neurons`. Raises UsageError, QueryError.
    """
    row = find_prompt(store, prompt)
    model = model_of(store, row)
    chosen = checked_layers(layers, model)
    at = _checked_position(position, row)
    states = _states(store, row, chosen, model, at)
    if states.is_empty():
        raise QueryError(f"The store holds no vectors at position {at} of prompt {row['id']}.")
    tokens = _tokens(store, row)
    edges = pl.concat([_state_edges(store, row, chosen, model, states), _token_edges(store, row, states),
                       _neuron_edges(store, row, chosen, states)])  # fmt: skip
    nodes = pl.concat([tokens, states, _placeholders(edges, states)])
    return Graph(
        prompt=row, model=model, layers=chosen, position=at, nodes=_with_edges(nodes, edges), edges=edges,
        store={"uri": store.uri, "dialect": store.dialect, "schema_version": SCHEMA_VERSION},
    )  # fmt: skip


def _checked_position(position: int | None, prompt: dict[str, Any]) -> int:
    last = int(prompt["n_tokens"]) - 1
    if position is None:
        return last
    if not 0 <= position <= last:
        raise UsageError(f"Prompt {prompt['id']} has no position {position}.", known=f"Positions are 0..{last}.")
    return position


def _bounds(layers: range, model: dict[str, Any]) -> dict[str, object]:
    """First and last layer to read: the residual that enters comes from the layer before."""
    last = layers.stop if layers.stop == model["n_layer"] else layers.stop - 1
    return {"first_layer": layers.start - 1, "last_layer": last, "values": "all"}


def _frame(store: Store, text: str, parameters: dict[str, Any]) -> pl.DataFrame:
    frame = pl.from_arrow(store.read(text, parameters))
    assert isinstance(frame, pl.DataFrame)
    return frame


def _named(store: Store, name: str, parameters: dict[str, object]) -> pl.DataFrame:
    resolved = resolve(name, store.dialect, parameters)
    return _frame(store, resolved.text, resolved.parameters)


def _states(store: Store, prompt: dict[str, Any], layers: range, model: dict[str, Any], at: int) -> pl.DataFrame:
    rows = _named(store, "slice_states", {"prompt": prompt["id"], "position": at, **_bounds(layers, model)})
    label = pl.col("kind").replace_strict(STATE_OF_KIND, default=Label.STATE, return_dtype=pl.String)
    rows = rows.filter(in_layers(layers, model)).with_columns(label=label, prompt=pl.lit(prompt["id"]))
    return in_columns(rows, NODE_COLUMNS)


def _tokens(store: Store, prompt: dict[str, Any]) -> pl.DataFrame:
    text = (
        "MATCH (t:Token) WHERE t.id >= $prompt * 16777216 AND t.id < ($prompt + 1) * 16777216 "
        "RETURN t.id AS id, t.prompt AS prompt, t.position AS position, t.text AS text, t.token_id AS token_id ORDER BY id"
    )
    rows = _frame(store, text, {"prompt": prompt["id"]})
    return in_columns(rows.with_columns(label=pl.lit(str(Label.TOKEN))), NODE_COLUMNS)


def _state_edges(
    store: Store, prompt: dict[str, Any], layers: range, model: dict[str, Any], states: pl.DataFrame
) -> pl.DataFrame:
    rows = _named(store, "slice_edges", {"prompt": prompt["id"], **_bounds(layers, model)})
    labels = states.select("id", "label")
    rows = rows.join(labels.rename({"id": "from", "label": "from_label"}), on="from").join(
        labels.rename({"id": "to", "label": "to_label"}), on="to"
    )
    return in_columns(rows, EDGE_COLUMNS)


def _token_edges(store: Store, prompt: dict[str, Any], states: pl.DataFrame) -> pl.DataFrame:
    """CREATES and EMBEDS: they come from the tokens of the vectors' positions."""
    token = "MATCH (t:Token)-[r:{0}]->(s:{1}) WHERE t.id >= $prompt * 16777216 AND t.id < ($prompt + 1) * 16777216 "
    ends = "RETURN t.id AS `from`, s.id AS `to`, {2} AS score, '{0}' AS type, '{1}' AS to_label ORDER BY `from`, `to`"
    parts = [("CREATES", "Key", "null"), ("CREATES", "Value", "null"), ("EMBEDS", "State", "r.score")]
    texts = [(token + ends).format(*part) for part in parts]
    rows = pl.concat(
        [
            in_columns(_frame(store, text, {"prompt": prompt["id"]}).with_columns(from_label=pl.lit("Token")), EDGE_COLUMNS)
            for text in texts
        ]
    )
    return rows.join(states.select("id"), left_on="to", right_on="id", how="semi")


def _neuron_edges(store: Store, prompt: dict[str, Any], layers: range, states: pl.DataFrame) -> pl.DataFrame:
    within = (
        "WHERE s.id >= $prompt * 16777216 AND s.id < ($prompt + 1) * 16777216 "
        "AND s.layer >= $first AND s.layer <= $last "
    )
    patterns = {
        Type.ACTIVATES: ("(s:State)-[r:ACTIVATES]->(n:Neuron)", "s.id AS `from`, n.id AS `to`"),
        Type.WRITES: ("(n:Neuron)-[r:WRITES]->(s:State)", "n.id AS `from`, s.id AS `to`"),
    }
    parts = []
    for kind, (pattern, ends) in patterns.items():
        names = next([c.name for c in t.columns] for t in RELATIONSHIP_TABLES if t.type is kind)
        returned = ", ".join(f"r.{name} AS {name}" for name in names)
        rows = _frame(
            store,
            f"MATCH {pattern} {within}RETURN {ends}, {returned}",
            {"prompt": prompt["id"], "first": layers.start, "last": layers.stop - 1},
        )
        state, neuron = ("from", "to") if kind is Type.ACTIVATES else ("to", "from")
        rows = rows.join(states.select("id"), left_on=state, right_on="id", how="semi").sort("from", "to")
        labels = {f"{state}_label": pl.lit("State"), f"{neuron}_label": pl.lit("Neuron"), "type": pl.lit(str(kind))}
        parts.append(in_columns(rows.with_columns(**labels), EDGE_COLUMNS))
    return pl.concat(parts)


def _placeholders(edges: pl.DataFrame, states: pl.DataFrame) -> pl.DataFrame:
    """Neurons of the edges with what the edges tell: id, layer and matrix."""
    writes = edges.filter(pl.col("type") == Type.WRITES).select(id="from", state="to").unique("id", maintain_order=True)
    rows = writes.join(states.select(state="id", layer="layer", kind="kind"), on="state")
    matrix = pl.when(pl.col("kind") == "attention_output").then(pl.lit("attention_output")).otherwise(pl.lit("mlp"))
    return in_columns(rows.with_columns(label=pl.lit(str(Label.NEURON)), matrix=matrix).drop("kind"), NODE_COLUMNS)


def _with_edges(nodes: pl.DataFrame, edges: pl.DataFrame) -> pl.DataFrame:
    """Nodes that have an edge (A.5: the others are removed)."""
    ends = pl.concat([edges.select(label="from_label", id="from"), edges.select(label="to_label", id="to")])
    return nodes.join(ends.unique(), on=["label", "id"], how="semi", maintain_order="left")


def with_neurons(store: Store, graph: Graph) -> Graph:
    """The graph of an `outline` with its neurons' properties, read from the store. Raises QueryError."""
    ids = graph.nodes.filter(pl.col("label") == Label.NEURON)["id"]
    if ids.is_empty():
        return graph
    names = [column.name for column in NODE_TABLE[Label.NEURON].columns]
    returned = ", ".join(f"n.`{name}` AS `{name}`" for name in names)
    if len(ids) < _MANY_NEURONS:
        rows = _frame(store, f"UNWIND $ids AS i MATCH (n:Neuron {{id: i}}) RETURN {returned}", {"ids": ids.to_list()})
    else:
        rows = _frame(
            store,
            f"MATCH (n:Neuron) WHERE n.id >= $low AND n.id <= $high RETURN {returned}",
            {"low": ids.min(), "high": ids.max()},
        ).filter(pl.col("id").is_in(ids.implode()))
    neurons = in_columns(rows.with_columns(label=pl.lit(str(Label.NEURON))).sort("id"), NODE_COLUMNS)
    others = graph.nodes.filter(pl.col("label") != Label.NEURON)
    return graph.with_rows(pl.concat([others, neurons]), graph.edges)
