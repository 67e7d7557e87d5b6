"""Tokens and node kinds as words for people. Nothing here trusts a token: it may hold any character."""

from __future__ import annotations

import unicodedata
from typing import Final

from flowatlas.vocabulary import Kind

LABEL_LENGTH: Final = 12

_ESCAPES: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\ufeff": "\\ufeff"}

KIND_NAMES: Final[dict[str, str]] = {
    Kind.TOKEN_EMBEDDING: "token embedding",
    Kind.POSITION_EMBEDDING: "position embedding",
    Kind.EMBEDDING: "embedding",
    Kind.ATTENTION_NORM: "attention input",
    Kind.QKV: "queries, keys, values",
    Kind.QUERY: "query",
    Kind.KEY: "key",
    Kind.VALUE: "value",
    Kind.HEAD: "head",
    Kind.CONCATENATED_HEADS: "concatenated heads",
    Kind.ATTENTION_OUTPUT: "attention output",
    Kind.ATTENTION_BIAS: "attention bias",
    Kind.ATTENTION_POST_NORM: "attention output, normalized",
    Kind.RESIDUAL_MID: "residual after attention",
    Kind.MLP_NORM: "MLP input",
    Kind.MLP_OUTPUT: "MLP output",
    Kind.MLP_BIAS: "MLP bias",
    Kind.MLP_POST_NORM: "MLP output, normalized",
    Kind.RESIDUAL_POST: "residual after MLP",
    Kind.FINAL_NORM: "final norm",
}


def visible(token: str) -> str:
    """The token with control and direction characters written out, so that it cannot disturb the page."""
    if token.isprintable():
        return token
    return "".join(
        _ESCAPES.get(c) or (f"\\u{ord(c):04x}" if unicodedata.category(c) in ("Cc", "Cf", "Co", "Cs") else c)
        for c in token
    )


def short(token: str, length: int = LABEL_LENGTH) -> str:
    """The token as a box's label: no outer spaces, at most `length` characters, never empty."""
    shown = visible(token)
    text = shown.strip() or "␣" * min(len(shown), 4) or "∅"
    return text if len(text) <= length else text[: length - 1] + "…"


def node_title(kind: str, layer: int, head: int | None = None, source: str | None = None) -> str:
    """What the paper writes over a hovered node: `10) attention input`, `10) head 8`."""
    name = KIND_NAMES.get(kind, kind.replace("_", " "))
    if head is not None:
        name = f"head {head}" if kind == Kind.HEAD else f"head {head} · {name}"
    if source is not None:
        name = f"{name} of {source}"
    return name if layer < 0 else f"{layer}) {name}"


def neuron_title(layer: int, matrix: str, index: int, head: int | None, expert: int | None = None) -> str:
    """`10) MLP neuron 2411` or `10) W_O row 77, head 1`."""
    where = f"MLP neuron {index}" if matrix == "mlp" else f"W_O neuron {index}"
    if head is not None:
        where += f", head {head}"
    if expert is not None:
        where += f", expert {expert}"
    return f"{layer}) {where}"
