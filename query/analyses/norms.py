"""What the norms do to token probabilities: figures 7, 21, 22 and 23, tables 1 to 6 (section 5.2, appendix E).

A store holds top tokens, not the probability of every token. `flowatlas norms` computes those means
from the model; its rows come with `Options.norms`.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from flowatlas.errors import QueryError, UsageError
from query.analyses.records import Cloud, Figure, Panel, Points, Words
from query.analyses.sample import Sample

DRAWN: Final = 1500
"""Of every cloud so many tokens are drawn, those of largest magnitude; the data holds all of the layer."""
ANNOTATED: Final = 6
LISTED: Final = 10
PROMPTS: Final = "prompts"
RANDOM: Final = "random"


def change(sample: Sample) -> Figure:
    """Figure 7: the change of every token's mean probability at the first norm, prompts beside random vectors."""
    rows, layer = _layer(sample, "attention_norm", "circuit")
    panels: list[Panel] = [_points(rows, "difference", f"after less before, layer {layer}")]
    return _figure("norm_change", "What the first norm does to token probabilities", "Figure 7", rows, layer, panels)


def attention_norm(sample: Sample) -> Figure:
    """Figure 21 and tables 1 to 3: every token before and after the first norm, and what gains and loses by layer."""
    return _whole(sample, "attention_norm", "circuit", "attention_norm", "Token probabilities before and after the first norm", "Figure 21, tables 1-3")


def mlp_norm(sample: Sample) -> Figure:
    """Figure 22 and tables 4 and 5: the same for the second norm."""
    return _whole(sample, "mlp_norm", "circuit", "mlp_norm", "Token probabilities before and after the second norm", "Figure 22, tables 4-5")


def no_final_norm(sample: Sample) -> Figure:
    """Figure 23 and table 6: the first norm, projected without the model's final norm."""
    return _whole(sample, "attention_norm", "no_final_norm", "no_final_norm", "The first norm, without the final norm in the lens", "Figure 23, table 6")


def _whole(sample: Sample, norm: str, lens: str, name: str, title: str, paper: str) -> Figure:
    rows, layer = _layer(sample, norm, lens)
    panels: list[Panel] = [
        _points(rows, "before", f"before, layer {layer}"), _points(rows, "after", f"after, layer {layer}"),
        _points(rows, "difference", f"difference, layer {layer}"),
    ]  # fmt: skip
    every = _rows(sample, norm, lens).filter(pl.col("source") == PROMPTS)
    panels.append(_top_words(rows.filter(pl.col("source") == PROMPTS), layer))
    panels += [_by_layer(every, loses=True), _by_layer(every, loses=False)]
    return _figure(name, title, paper, rows, layer, panels)


def _rows(sample: Sample, norm: str, lens: str) -> pl.DataFrame:
    norms = sample.options.norms
    if norms is None:
        raise QueryError(
            "A store holds no probabilities of all tokens.",
            next_step="Compute their means with `flowatlas norms --out norms.parquet`, and give --norms norms.parquet.",
        )
    rows = norms.filter((pl.col("norm") == norm) & (pl.col("lens") == lens))
    if rows.is_empty():
        raise QueryError(
            f"The file of --norms has no rows of {norm} under the lens {lens}.",
            known=f"It has {', '.join(sorted(norms['norm'].unique().to_list()))} under {', '.join(sorted(norms['lens'].unique().to_list()))}.",
        )
    return rows.with_columns(difference=pl.col("after") - pl.col("before"))


def _layer(sample: Sample, norm: str, lens: str) -> tuple[pl.DataFrame, int]:
    """The rows of the layer to draw: that asked for, or the one at two thirds of the depth, as the paper's 15 and 16 of 24."""
    rows = _rows(sample, norm, lens)
    layers = rows["layer"].unique().sort().to_list()
    wanted = sample.options.layer
    if wanted is not None and wanted not in layers:
        raise UsageError(f"The file of --norms has no layer {wanted}.", known=f"It has {layers[0]} to {layers[-1]}.")
    layer = int(wanted if wanted is not None else layers[min(len(layers) - 1, len(layers) * 2 // 3)])
    return rows.filter(pl.col("layer") == layer), layer


def _points(rows: pl.DataFrame, column: str, title: str) -> Points:
    clouds = []
    for source in (RANDOM, PROMPTS):
        part = rows.filter(pl.col("source") == source).sort(pl.col(column).abs(), "token_id", descending=[True, False]).head(DRAWN)
        named = ANNOTATED if source == PROMPTS else 0
        texts = [str(t).strip() if n < named else "" for n, t in enumerate(part["token"].to_list())]
        if not part.is_empty():
            clouds.append(Cloud("random vectors" if source == RANDOM else "prompts", part["token_id"].to_list(), part[column].to_list(), texts))
    return Points(title, "token id", f"{'change of the' if column == 'difference' else 'mean'} probability", clouds)


def _top_words(rows: pl.DataFrame, layer: int) -> Words:
    # Tables 1, 2 and 4 project the mean vector; a file without it gives the tokens of largest mean probability.
    state = "mean_state_" if "mean_state_before" in rows.columns else ""
    sides = [rows.sort(f"{state}{c}", "token_id", descending=[True, False])["token"].head(LISTED).to_list() for c in ("before", "after")]
    what = "mean vector" if state else "mean probability"
    return Words(f"Top tokens before and after ({what}), layer {layer}", ("before", "after"), [(_shown(a), _shown(b)) for a, b in zip(*sides, strict=True)])


def _by_layer(rows: pl.DataFrame, *, loses: bool) -> Words:
    layers = rows["layer"].unique().sort().to_list()
    shown = layers if len(layers) <= 6 else [layers[round(i * (len(layers) - 1) / 5)] for i in range(6)]
    columns = []
    for layer in shown:
        part = rows.filter(pl.col("layer") == layer).sort("difference", "token_id", descending=[not loses, False])
        columns.append([_shown(t) for t in part["token"].head(LISTED).to_list()])
    title = "Tokens that lose most by layer" if loses else "Tokens that gain most by layer"
    return Words(title, [f"layer {layer}" for layer in shown], list(zip(*columns, strict=True)))


def _shown(token: str) -> str:
    return token.strip() or "␣"


def _figure(name: str, title: str, paper: str, rows: pl.DataFrame, layer: int, panels: list[Panel]) -> Figure:
    own = rows.filter(pl.col("source") == PROMPTS)
    losing, gaining = own.sort("difference", "token_id"), own.sort("difference", "token_id", descending=[True, False])
    sentence = (
        f"In layer {layer} the norm takes most probability from {_quoted(losing)} (at most {100 * losing['difference'][0]:+.2f} points) "
        f"and gives most to {_quoted(gaining)} (at most {100 * gaining['difference'][0]:+.2f} points)"
    )
    other = rows.filter(pl.col("source") == RANDOM)
    if not other.is_empty():
        moved = [float(part["difference"].abs().sum()) / 2 for part in (own, other)]
        sentence += f"; it moves {100 * moved[0]:.1f} % of the probability, of random vectors {100 * moved[1]:.1f} %"
    notes = [f"Of every cloud the {DRAWN} tokens of largest magnitude are drawn; the data holds all tokens of layer {layer}."] if len(own) > DRAWN else []
    count = int(np.max(own["n"].to_numpy()))
    return Figure(
        name, title, paper, sentence + ".", "flowatlas norms", {"layer": layer, "lens": str(own["lens"][0]), "norm": str(own["norm"][0])},
        count, rows, panels, notes,
    )  # fmt: skip


def _quoted(rows: pl.DataFrame) -> str:
    return ", ".join(f"\u201c{_shown(t)}\u201d" for t in rows["token"].head(4).to_list())
