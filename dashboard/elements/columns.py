"""Where the columns of one layer stand. Measured: with these gaps the S-curves read well."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

ROW: Final = 25
"""Pitch of memory rows and neurons."""
HEAD_GAP: Final = 9
SIGN_GAP: Final = 22
"""Extra space between positive and negative neurons."""
STRETCH: Final = 1.55
"""How far rows are pulled apart at most where the screen has room."""
TOP: Final = 108
"""First row, below the residual lane at y = 0."""

_GAPS: Final = {
    "attention_norm": 104,
    "qkv": 106,
    "query": 142,
    "key": 136,
    "value": 124,
    "head": 130,
    "concatenated_heads": 126,
    "wo": 150,
    "attention_output": 152,
    "attention_post_norm": 120,
    "residual_mid": 108,
    "mlp_norm": 106,
    "ff1": 150,
    "ff2": 146,
    "mlp_output": 152,
    "mlp_post_norm": 120,
    "residual_post": 110,
}
"""Centre of each column after the column before it."""

HEADINGS: Final = {
    "attention_norm": "LN 1",
    "qkv": "q k v",
    "query": "query",
    "key": "keys",
    "value": "values",
    "head": "heads",
    "concatenated_heads": "concat",
    "wo": "W_O neurons",
    "attention_output": "attn out",
    "attention_post_norm": "post-norm",
    "mlp_norm": "LN 2",
    "ff1": "FF1 neurons",
    "ff2": "FF2 neurons",
    "mlp_output": "MLP out",
    "mlp_post_norm": "post-norm",
}

ATTENTION: Final = (
    "attention_norm",
    "qkv",
    "query",
    "key",
    "value",
    "head",
    "concatenated_heads",
    "wo",
    "attention_output",
    "attention_post_norm",
)
MLP: Final = ("mlp_norm", "ff1", "ff2", "mlp_output", "mlp_post_norm")


@dataclass(frozen=True)
class Columns:
    """Centres of the columns of one layer, from its incoming residual at 0; `width` to the outgoing one."""

    x: dict[str, float]
    width: float

    def span(self, names: Iterable[str]) -> tuple[float, float] | None:
        """Leftmost and rightmost centre of those columns that are there."""
        centres = [self.x[name] for name in names if name in self.x]
        return (min(centres), max(centres)) if centres else None


def columns(present: Iterable[str]) -> Columns:
    """Place the columns that are present, in the order of the computation."""
    wanted = set(present)
    x: dict[str, float] = {}
    at = 0.0
    for name in (*ATTENTION, "residual_mid", *MLP, "residual_post"):
        if name in wanted:
            at += _GAPS[name]
            x[name] = at
    return Columns(x, at)
