"""Figures of the norms from a file of means: what loses, what gains, which layer, what is missing."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from flowatlas.errors import UsageError
from query.analyses import norms
from query.analyses.records import Figure, Points, Words
from query.analyses.sample import Options, Sample


def rows(seed=0, tokens=40, layers=6):
    """Means of random distributions; token 3 loses most and token 5 gains most in every layer."""
    rng, parts = np.random.default_rng(seed), []
    for source in ("prompts", "random"):
        for norm, lens in (("attention_norm", "circuit"), ("mlp_norm", "circuit"), ("attention_norm", "no_final_norm")):
            for layer in range(layers):
                before, after = rng.dirichlet(np.ones(tokens), 2)
                if source == "prompts":
                    before[3], after[3], before[5], after[5] = 0.6, 0.01, 0.001, 0.7
                parts.append(
                    pl.DataFrame(
                        {
                            "layer": layer, "norm": norm, "lens": lens, "source": source, "token_id": range(tokens),
                            "token": [f" t{i}" for i in range(tokens)], "before": before, "after": after,
                            "mean_state_before": before[::-1].copy(), "mean_state_after": after[::-1].copy(), "n": 9,
                        }
                    )
                )  # fmt: skip
    return pl.concat(parts)


def sample(**options):
    return Sample(None, options=Options(**options))  # type: ignore[arg-type]  # these figures ask no store


@pytest.mark.parametrize("make", [norms.change, norms.attention_norm, norms.mlp_norm, norms.no_final_norm])
def test_the_planted_tokens_lose_and_gain_most(make):
    data = rows()
    figure = make(sample(norms=data))
    assert isinstance(figure, Figure)
    layer = figure.parameters["layer"]
    assert layer == 4
    assert "takes most probability from \u201ct3\u201d" in figure.sentence
    assert "gives most to \u201ct5\u201d" in figure.sentence
    wanted = data.filter(
        (pl.col("norm") == figure.parameters["norm"]) & (pl.col("lens") == figure.parameters["lens"]) & (pl.col("layer") == layer)
    )
    moved = {s: float((p["after"] - p["before"]).abs().sum()) / 2 for (s,), p in wanted.group_by("source")}
    assert f"moves {100 * moved['prompts']:.1f} % of the probability, of random vectors {100 * moved['random']:.1f} %" in figure.sentence
    clouds = {cloud.name: cloud for cloud in next(p for p in figure.panels if isinstance(p, Points)).clouds}
    assert set(clouds) == {"prompts", "random vectors"}
    assert {t for t in clouds["prompts"].texts if t} >= {"t3"}
    words = [panel for panel in figure.panels if isinstance(panel, Words)]
    for table, first in zip(words[1:], ("t3", "t5"), strict=False):
        assert list(table.rows[0]) == [first] * 6
    if words:
        own = wanted.filter(pl.col("source") == "prompts").sort("mean_state_before", descending=True)
        assert [row[0] for row in words[0].rows] == [t.strip() for t in own["token"].head(10)]


def test_a_layer_that_is_asked_for_and_one_that_is_not_there():
    assert norms.change(sample(norms=rows(), layer=1)).parameters["layer"] == 1
    with pytest.raises(UsageError, match="no layer 9"):
        norms.change(sample(norms=rows(), layer=9))
    assert norms.change(sample(norms=rows(layers=1))).parameters["layer"] == 0
