"""One node's row -> what its box says: label, colour buckets, and the facts of the hover panel.

The short names in `info` are what the page's scripts read: `t` title, `tok`/`pr` top tokens and
probabilities, `neg` bottom tokens, `tr`/`tp` and `fr`/`fp` target's and foil's rank and probability,
`no` norm, `en` entropy (bits), `co` contribution; `rb fb eb cb` the buckets, `sg` the sign.
"""

from __future__ import annotations

from typing import Any

from dashboard.elements.buckets import UNKNOWN, contribution_bucket, entropy_bucket, rank_bucket
from dashboard.elements.drawing import Box, BoxLook
from dashboard.elements.records import Records, Row
from dashboard.elements.text import neuron_title, node_title, short, visible
from flowatlas.vocabulary import Kind, Matrix

_LOOKS: dict[str, BoxLook] = {
    Kind.ATTENTION_NORM: "norm",
    Kind.MLP_NORM: "norm",
    Kind.FINAL_NORM: "norm",
    Kind.ATTENTION_POST_NORM: "norm",
    Kind.MLP_POST_NORM: "norm",
    Kind.RESIDUAL_MID: "residual",
    Kind.RESIDUAL_POST: "residual",
    Kind.EMBEDDING: "residual",
    Kind.QUERY: "query",
    Kind.KEY: "key",
    Kind.VALUE: "value",
    Kind.HEAD: "head",
    Kind.ATTENTION_BIAS: "bias",
    Kind.MLP_BIAS: "bias",
    Kind.TOKEN_EMBEDDING: "input",
    Kind.POSITION_EMBEDDING: "input",
}


def state_key(state: int) -> str:
    """Id of a vector's box."""
    return f"s{state}"


def neuron_key(neuron: int) -> str:
    """Id of the box of a neuron's row in the output matrix."""
    return f"n{neuron}"


def first_key(neuron: int) -> str:
    """Id of the box of the same neuron's vector in the first MLP matrix."""
    return f"f{neuron}"


def state_box(records: Records, row: Row, x: float, y: float, largest: float, suffix: str = "") -> Box:
    """The box of a vector; `largest` is the largest absolute contribution in the picture."""
    contribution = records.contribution(row["id"])
    source = row.get("source")
    # A memory is named after the input token that it comes from, with that token's position.
    memory = f"{source} {visible(records.token_text(source)).strip()}" if source is not None else None
    vocabulary = records.vocabulary
    info: dict[str, Any] = {
        "t": node_title(row["kind"], row["layer"], row.get("head"), f"“{memory}”" if memory else None),
        "kind": row["kind"],
        "layer": row["layer"],
        "raw": row["id"],
        "tok": [visible(token) for token in row["top_tokens"]],
        "pr": [round(float(p), 5) for p in row["top_probs"]],
        "tr": row["target_rank"],
        "tp": _rounded(row["target_prob"]),
        "fr": row.get("foil_rank"),
        "fp": _rounded(row.get("foil_prob")),
        "no": _rounded(row["norm"]),
        "en": _rounded(row["entropy"]),
        "co": _rounded(contribution),
        "rb": rank_bucket(row["target_rank"], vocabulary),
        "fb": rank_bucket(row.get("foil_rank"), vocabulary),
        "eb": entropy_bucket(row["entropy"], vocabulary),
        "cb": contribution_bucket(contribution, largest),
        "sg": "",
    }
    if row.get("head") is not None:
        info["head"] = row["head"]
    if source is not None:
        info["source"] = source
        info["memory"] = short(memory or "", 13)
    return Box(state_key(row["id"]) + suffix, x, y, _LOOKS.get(row["kind"], "hub"), short(row["top_token"]), info)


def value_box(records: Records, neuron: Row, edge: Row, x: float, y: float, largest: float) -> Box:
    """The box of a neuron's row, as it is written: with a negative coefficient its negative."""
    negative = float(edge["score"]) < 0
    tokens, opposite = _sided(neuron["top_tokens"], neuron["bottom_tokens"], negative)
    contribution = edge.get("contribution")
    info = {
        **_neuron_info(records, neuron, tokens, opposite, negative),
        "pr": [] if negative else [round(float(p), 5) for p in neuron.get("top_probs") or []],
        "tr": edge.get("target_rank"),
        "no": _rounded(neuron["norm"]),
        "en": _rounded(neuron["entropy"]),
        "co": _rounded(contribution),
        "coef": _rounded(edge["score"]),
        "rk": edge.get("rank"),
        "rb": rank_bucket(edge.get("target_rank"), records.vocabulary),
        "eb": entropy_bucket(neuron["entropy"], records.vocabulary),
        "cb": contribution_bucket(contribution, largest),
        "kind": "neuron_value",
    }
    return Box(neuron_key(neuron["id"]), x, y, "neuron", short(tokens[0]) if tokens else "∅", info)


def first_box(records: Records, neuron: Row, edge: Row, x: float, y: float) -> Box:
    """The box of a neuron's vector in the first MLP matrix; its rank is known only among the stored tokens."""
    negative = float(edge["score"]) < 0
    tokens, opposite = _sided(neuron.get("key_top_tokens") or [], neuron.get("key_bottom_tokens") or [], negative)
    rank = _listed_rank(tokens, records.prompt["target"])
    info = {
        **_neuron_info(records, neuron, tokens, opposite, negative),
        "t": neuron_title(neuron["layer"], neuron["matrix"], neuron["index"], None, neuron.get("expert")) + ", first matrix",
        "pr": [],
        "tr": rank,
        "no": _rounded(neuron.get("key_norm")),
        "en": None,
        "co": None,
        "coef": _rounded(edge["score"]),
        "gate": _rounded(edge.get("gate")),
        "up": _rounded(edge.get("up")),
        "uptok": [visible(token) for token in neuron.get("up_top_tokens") or []],
        "router": _rounded(edge.get("router")),
        "rk": edge.get("rank"),
        "rb": UNKNOWN if rank is None else rank_bucket(rank, records.vocabulary),
        "eb": 4,
        "cb": 0,
        "kind": "neuron_key",
    }
    foil_rank = _listed_rank(tokens, records.prompt.get("foil"))
    info["fr"], info["fb"] = foil_rank, UNKNOWN if foil_rank is None else rank_bucket(foil_rank, records.vocabulary)
    return Box(first_key(neuron["id"]), x, y, "neuron", short(tokens[0]) if tokens else "∅", info)


def _neuron_info(records: Records, neuron: Row, tokens: list[str], opposite: list[str], negative: bool) -> dict[str, Any]:
    mlp = neuron["matrix"] == Matrix.MLP
    foil_rank = _listed_rank(tokens, records.prompt.get("foil"))
    return {
        "t": neuron_title(neuron["layer"], neuron["matrix"], neuron["index"], neuron.get("head"), neuron.get("expert"))
        + (", second matrix" if mlp else ""),
        "layer": neuron["layer"],
        "raw": neuron["id"],
        "matrix": neuron["matrix"],
        "index": neuron["index"],
        "tok": [visible(token) for token in tokens],
        "neg": [visible(token) for token in opposite],
        "tp": None,
        "fr": foil_rank,
        "fp": None,
        "fb": UNKNOWN if foil_rank is None else rank_bucket(foil_rank, records.vocabulary),
        "sg": "-" if negative else "+",
    }


def _sided(top: list[str], bottom: list[str], negative: bool) -> tuple[list[str], list[str]]:
    return (bottom, top) if negative else (top, bottom)


def _listed_rank(tokens: list[str], token: str | None) -> int | None:
    return tokens.index(token) + 1 if token is not None and token in tokens else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")
