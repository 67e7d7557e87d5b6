"""Direct effects of heads beside what they project: figure 6a (section 5.1)."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from query.analyses.bootstrap import banded
from query.analyses.records import Figure, Heat, Words
from query.analyses.sample import Sample

Array = np.ndarray
NAMED: Final = 5
PROMOTED: Final = 10
DEMOTED: Final = 0.05


def heads(sample: Sample) -> Figure:
    """Figure 6a: every head's direct effect on the target's logit, and on target minus foil, beside its projection."""
    found = sample.heads
    paired = ~np.isnan(found.foil_contribution).any(axis=(1, 2))
    difference = found.contribution - found.foil_contribution
    measured = {"target": found.contribution}
    if paired.any():
        measured["target minus foil"] = difference[paired]
    vocabulary = int(sample.model["vocab_size"])
    shares = {
        "promotes": (found.target_rank <= PROMOTED).mean(axis=0),
        "demotes": (found.target_rank > (1 - DEMOTED) * vocabulary).mean(axis=0),
    }
    data = _data(sample, measured, shares)
    panels: list[Heat | Words] = [
        Heat(f"direct effect on {name} ({len(values)} prompts)", "head", "layer", values.mean(axis=0), "logits", signed=True)
        for name, values in measured.items()
    ]
    panels.append(Heat(f"target among its {PROMOTED} top tokens", "head", "layer", shares["promotes"], "share of prompts", top=1.0))
    ranked = "target minus foil" if paired.any() else "target"
    panels += [_words(data, ranked, first=first) for first in (True, False)]
    notes = () if paired.any() else ("No prompt has a foil: only the target's logit is looked at. Foils come with the prompts (--foil-field).",)
    if paired.any() and not paired.all():
        notes = (f"{int((~paired).sum())} prompts have no foil and do not count in target minus foil.",)
    parameters = {
        "prompts": str(sample.selection), "promotes": f"target among {PROMOTED} top tokens",
        "demotes": f"target among the last {DEMOTED:.0%}", "seed": sample.options.seed, "resamples": sample.options.resamples,
    }  # fmt: skip
    return Figure(
        "head_effects", "Direct effect of every head beside what it projects", "Figure 6a", _sentence(data, ranked),
        found.result.resolved.text, parameters, sample.size, data, panels, notes,
    )  # fmt: skip


def _data(sample: Sample, measured: dict[str, Array], shares: dict[str, Array]) -> pl.DataFrame:
    layers, width = next(iter(measured.values())).shape[1:]
    columns = {"layer": np.repeat(np.arange(layers), width), "head": np.tile(np.arange(width), layers)}
    frames = []
    for name, values in measured.items():
        flat = values.reshape(len(values), -1)
        found = banded(flat, np.ones_like(flat), seed=sample.options.seed, resamples=sample.options.resamples)
        effect = {"effect_on": [name] * layers * width, **columns, "effect": found.mean, "low": found.low, "high": found.high}
        frames.append(pl.DataFrame({**effect, "promotes": shares["promotes"].ravel(), "demotes": shares["demotes"].ravel(),
                                    "prompts": [len(values)] * layers * width, "top_token": _common(sample)}))  # fmt: skip
    return pl.concat(frames)


def _common(sample: Sample) -> list[str]:
    """The most frequent first token of every head's projection."""
    tokens = sample.heads.top_token.reshape(sample.size, -1)
    found = []
    for column in tokens.T:
        names, counts = np.unique(column.astype(str), return_counts=True)
        found.append(str(names[counts.argmax()]))
    return found


def _ranked(data: pl.DataFrame, name: str) -> pl.DataFrame:
    return data.filter(pl.col("effect_on") == name).sort("effect", "layer", "head", descending=[True, False, False])


def _words(data: pl.DataFrame, name: str, *, first: bool) -> Words:
    rows = _ranked(data, name)
    rows = rows.head(NAMED) if first else rows.reverse().head(NAMED)
    cells = [
        (f"{r['layer']}.{r['head']}", f"{r['effect']:+.3f}", f"{r['low']:+.3f} to {r['high']:+.3f}", f"{r['promotes']:.0%}",
         f"{r['demotes']:.0%}", str(r["top_token"]).strip() or "␣")
        for r in rows.to_dicts()
    ]  # fmt: skip
    header = ("head", "effect", "95 % band", "promotes", "demotes", "most often first")
    return Words(f"{'Top' if first else 'Bottom'} heads on {name}", header, cells)


def _sentence(data: pl.DataFrame, name: str) -> str:
    rows = _ranked(data, name).to_dicts()
    best, worst = rows[0], rows[-1]
    effect, share = np.array([r["effect"] for r in rows]), np.array([r["promotes"] for r in rows])
    related = float(np.corrcoef(effect, share)[0, 1]) if len(rows) > 1 and effect.std() and share.std() else float("nan")
    text = (
        f"On {name}, head {best['layer']}.{best['head']} (layer.head) has the largest direct effect ({best['effect']:+.2f} logits; the "
        f"target is among its {PROMOTED} top tokens in {best['promotes']:.0%} of the prompts), head {worst['layer']}.{worst['head']} the "
        f"smallest ({worst['effect']:+.2f}; {worst['promotes']:.0%})."
    )
    return text if np.isnan(related) else f"{text} Effect and how often a head projects the target correlate with {related:.2f} over all heads."
