"""Numbers over many prompts for the Heads and Neurons tabs."""

from __future__ import annotations

from typing import Any, Final

from dashboard.elements.text import visible
from flowatlas.selection import Selection
from flowatlas.stores.base import Store

PROMOTES: Final = 10
"""A head promotes the target when it is among so many top tokens of its projection."""

MEASURES: Final = {
    "promotes": "share of prompts in which it promotes the target (top 10)",
    "demotes": "share of prompts in which it demotes the target (bottom 1 %)",
    "contribution": "mean contribution to the target's logit",
    "norm": "mean norm of what it writes",
    "attention": "mean attention to a token",
}


def head_map(store: Store, chosen: Selection, measure: str, token: str | None) -> list[dict[str, Any]]:
    """A value for every head: layer, head, value, prompts. For `attention`, to the input token `token`."""
    conditions, parameters = chosen.conditions("p")
    if measure == "attention":
        return _attention(store, conditions, parameters, token or "")
    values = {
        "promotes": f"1.0 * count(CASE WHEN h.target_rank <= {PROMOTES} THEN 1 END) / count(h)",
        "demotes": "1.0 * count(CASE WHEN h.target_rank > 0.99 * m.vocab_size THEN 1 END) / count(h)",
        "contribution": "avg(c.contribution)",
        "norm": "avg(c.score)",
    }
    text = (
        f"MATCH (p:Prompt) WHERE p.complete {conditions} MATCH (m:Model) WHERE m.id = p.model "
        "MATCH (h:Head)-[c:CONCATENATES]->(o:State) WHERE h.prompt = p.id AND h.position = p.n_tokens - 1 "
        f"RETURN h.layer AS layer, h.head AS head, {values[measure]} AS value, count(h) AS prompts ORDER BY layer, head"
    )
    rows: list[dict[str, Any]] = store.read(text, parameters).to_pylist()
    return rows


def _attention(store: Store, conditions: str, parameters: dict[str, Any], token: str) -> list[dict[str, Any]]:
    """Mean over the prompts that hold the token of a head's attention to it (with or without a leading space)."""
    text = (
        f"MATCH (p:Prompt) WHERE p.complete {conditions} "
        "MATCH (t:Token)-[:CREATES]->(v:Value)-[r:SUMS]->(h:Head) "
        "WHERE t.prompt = p.id AND (t.text = $token OR t.text = $spaced) AND h.position = p.n_tokens - 1 "
        "WITH h.layer AS layer, h.head AS head, p.id AS prompt, sum(r.score) AS attention "
        "RETURN layer, head, avg(attention) AS value, count(prompt) AS prompts ORDER BY layer, head"
    )
    given = {**parameters, "token": token, "spaced": f" {token.strip()}"}
    rows: list[dict[str, Any]] = store.read(text, given).to_pylist()
    return rows


def head_values(store: Store, chosen: Selection, layer: int, head: int, limit: int = 500) -> list[dict[str, Any]]:
    """One head over prompts: rank and probability of the target, contribution, norm, top token."""
    conditions, parameters = chosen.conditions("p")
    text = (
        f"MATCH (p:Prompt) WHERE p.complete {conditions} "
        "MATCH (h:Head)-[c:CONCATENATES]->(o:State) "
        "WHERE h.prompt = p.id AND h.position = p.n_tokens - 1 AND h.layer = $layer AND h.head = $head "
        "RETURN p.id AS id, p.text AS text, p.target AS target, h.top_token AS top_token, h.target_rank AS rank, "
        "h.target_prob AS prob, c.contribution AS contribution, c.score AS norm, h.id AS node "
        f"ORDER BY abs(contribution) DESC, id LIMIT {int(limit)}"
    )
    rows: list[dict[str, Any]] = store.read(text, {**parameters, "layer": layer, "head": head}).to_pylist()
    return [{**row, **{name: visible(str(row[name])) for name in ("text", "target", "top_token")}} for row in rows]


def choices(store: Store) -> dict[str, list[str]]:
    """Data sets and groups that the store's prompts have."""
    rows = store.read("MATCH (p:Prompt) RETURN DISTINCT p.dataset AS dataset, p.`group` AS `group`").to_pylist()
    return {name: sorted({row[name] for row in rows if row[name]}) for name in ("dataset", "group")}


def neurons(store: Store, layer: int, model: str) -> list[dict[str, Any]]:
    """Norm, entropy and tokens of a layer's MLP neurons."""
    text = (
        "MATCH (n:Neuron) WHERE n.model = $model AND n.matrix = 'mlp' AND n.layer = $layer "
        "RETURN n.`index` AS `index`, n.norm AS norm, n.entropy AS entropy, n.top_tokens AS tokens ORDER BY `index`"
    )
    rows: list[dict[str, Any]] = store.read(text, {"layer": layer, "model": model}).to_pylist()
    return rows


def models(store: Store) -> list[dict[str, Any]]:
    """Models of the store."""
    text = "MATCH (m:Model) RETURN m.id AS id, m.name AS name, m.n_layer AS n_layer, m.n_head AS n_head, m.d_mlp * m.n_expert AS d_mlp ORDER BY name"
    rows: list[dict[str, Any]] = store.read(text).to_pylist()
    return rows
