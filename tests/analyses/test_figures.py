"""Every number of every figure against float64 NumPy from the raw hidden states of random models."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import pytest

from flowatlas.errors import ModelError
from query.analyses import ANALYSES, Figure, Missing, Options, Sample, analyze
from query.analyses.overlap import partners
from query.run import run

TIE = 0.02
"""Ids at the edge of the top k may differ where 32 bits cannot tell two logits apart: one of 50."""


@pytest.fixture(scope="module")
def sample(case):
    return Sample(case.store, options=Options(k=20, resamples=50))


@pytest.fixture(scope="module")
def figures(sample):
    return {figure.name: figure for figure in analyze(sample)}


def shared(one, other):
    """I_k of rows of ids the slow way."""
    k = one.shape[-1]
    flat = [len(set(a) & set(b)) / k for a, b in zip(one.reshape(-1, k), np.broadcast_to(other, one.shape).reshape(-1, k), strict=True)]
    return np.array(flat).reshape(one.shape[:-1])


class Raw:
    """Top ids of the raw hidden states at the last position: by prompt, layer (and head)."""

    def __init__(self, case, k):
        self.case, case.k = case, k
        self.heads, self.norms = [], []
        self.states = {kind: [] for kind in ("attention_output", "residual_mid", "residual_post", "mlp_output")}
        self.embedding = []
        for run_ in case.passes:
            written = np.stack([np.einsum("hd,hdm->hm", layer.head[:, -1], layer.w_o) for layer in run_.layers])
            self.heads.append(case.top(run_, written))
            self.norms.append(np.linalg.norm(written, axis=-1))
            for kind, found in self.states.items():
                found.append(case.top(run_, np.stack([layer.states[kind][-1] for layer in run_.layers])))
            self.embedding.append(case.top(run_, run_.embeddings["embedding"][-1]))

    def values(self, prompt, layer):
        """Of every head and source: top ids, attention, norm of what is added."""
        run_, found = self.case.passes[prompt], self.case.passes[prompt].layers[layer]
        written = np.einsum("htd,hdm->htm", found.value, found.w_o)
        return self.case.top(run_, written), found.attention[:, -1], np.linalg.norm(written, axis=-1) * found.attention[:, -1]


@pytest.fixture(scope="module")
def raw(case):
    return Raw(case, 20)


def of(figure, line, subset="all prompts"):
    """The means of a line by layer."""
    rows = figure.data.filter((pl.col("line") == line) & (pl.col("subset") == subset)).sort("layer")
    return rows["mean"].to_numpy()


def test_heads_against_what_they_feed(case, figures, raw):
    heads, norms = np.stack(raw.heads), np.stack(raw.norms)
    fed = {"attention output": np.stack(raw.states["attention_output"]), "block output": np.stack(raw.states["residual_post"])}
    fed["final output"] = fed["block output"][:, -1:].repeat(heads.shape[1], 1)
    order = np.argsort(-norms, axis=2)
    other = partners(len(case), 0)
    for name, ids in fed.items():
        assert of(figures["heads_with_wo"], name) == pytest.approx(shared(heads, ids[:, :, None]).mean((0, 2)), abs=TIE)
        moved = shared(heads, ids[other][:, :, None]).mean((0, 2))
        assert of(figures["heads_with_wo"], f"{name}, shuffled prompts") == pytest.approx(moved, abs=TIE)
        first = np.take_along_axis(heads, order[:, :, :1, None], 2)[:, :, 0]
        assert of(figures["top_head"], name) == pytest.approx(shared(first, ids).mean(0), abs=TIE)
    own = np.take_along_axis(shared(heads, fed["attention output"][:, :, None]), order, 2)
    for rank in range(3):
        assert of(figures["heads_by_norm"], f"head of norm rank {rank + 1}") == pytest.approx(own[:, :, rank].mean(0), abs=TIE)
    assert of(figures["heads_by_norm"], "all other heads, mean") == pytest.approx(own[:, :, 3:].mean((0, 2)), abs=TIE)
    assert figures["heads_by_norm_rank"].panels[0].z == pytest.approx(own.mean(0), abs=TIE)
    assert figures["heads_by_index"].panels[0].z == pytest.approx(shared(heads, fed["attention output"][:, :, None]).mean(0), abs=TIE)


def test_memory_values_against_their_head(case, figures, raw):
    layers, width = raw.heads[0].shape[:2]
    by = {"attention": {}, "norm": {}}
    best = np.zeros((len(case), layers, width))
    for prompt in range(len(case)):
        for layer in range(layers):
            ids, attention, norm = raw.values(prompt, layer)
            own = shared(ids, raw.heads[prompt][layer][:, None])
            for name, weight in (("attention", attention), ("norm", norm)):
                ordered = np.take_along_axis(own, np.argsort(-weight, axis=1), 1)
                for rank in range(ordered.shape[1]):
                    by[name].setdefault((layer, rank + 1), []).extend(ordered[:, rank])
            best[prompt, layer] = np.take_along_axis(own, attention.argmax(1)[:, None], 1)[:, 0]
    for rank in (1, 2, 3):
        wanted = [np.mean(by["attention"][layer, rank]) for layer in range(layers)]
        assert of(figures["values_by_attention"], f"value of attention rank {rank}") == pytest.approx(wanted, abs=TIE)
    for name in ("attention", "norm"):
        rows = figures[f"values_by_{name}_rank"].data.filter(pl.col("subset") == "all prompts")
        assert len(rows) == len(by[name])
        for row in rows.to_dicts():
            expected = by[name][row["layer"], row[f"{name}_rank"]]
            assert row["mean"] == pytest.approx(np.mean(expected), abs=TIE)
            assert row["values"] == len(expected)
    assert figures["values_by_head"].panels[0].z == pytest.approx(best.mean(0), abs=TIE)


def in_slices(heads, width):
    """Heads' vectors (heads, ..., d_head), each in its slice of zeros."""
    size = heads.shape[-1]
    placed = np.zeros((*heads.shape[:-1], width))
    for head in range(len(heads)):
        placed[head][..., head * size : (head + 1) * size] = heads[head]
    return placed


def test_heads_without_their_output_matrix(case, figures, raw):
    ids = np.stack(
        [case.top(r, np.stack([in_slices(layer.head[:, -1], r.gamma.size) for layer in r.layers])) for r in case.passes]
    )
    fed = np.stack(raw.states["attention_output"])
    assert of(figures["heads_without_wo"], "attention output") == pytest.approx(shared(ids, fed[:, :, None]).mean((0, 2)), abs=TIE)


def test_input_tokens_in_their_values(case, figures):
    found = [[] for _ in case.passes[0].layers]
    for run_, tokens in zip(case.passes, case.tokens, strict=True):
        for number, layer in enumerate(run_.layers):
            logits = run_.lens(np.einsum("htd,hdm->htm", layer.value, layer.w_o))
            p = np.exp(logits - logits.max(-1, keepdims=True))
            p /= p.sum(-1, keepdims=True)
            found[number].extend(p[:, np.arange(len(tokens)), tokens].ravel())
    assert of(figures["own_token_in_values"], "input token in its memory values") == pytest.approx([np.mean(f) for f in found], rel=1e-3)


def test_keys_against_values_and_queries(case, figures):
    found = {}
    for run_ in case.passes:
        for number, layer in enumerate(run_.layers):
            width = run_.gamma.size
            value = case.top(run_, np.einsum("htd,hdm->htm", layer.value, layer.w_o))
            key, bare_key = case.top(run_, np.einsum("htd,hmd->htm", layer.key, layer.w_q)), case.top(run_, in_slices(layer.key, width))
            query = case.top(run_, np.einsum("hd,hmd->hm", layer.query[:, -1], layer.w_k))
            bare_query = case.top(run_, in_slices(layer.query[:, -1], width))
            for name, one, other in (
                ("keys_and_values", key, value), ("queries_and_keys", key, query[:, None]),
                ("keys_and_values bare", bare_key, value), ("queries_and_keys bare", bare_key, bare_query[:, None]),
            ):  # fmt: skip
                found.setdefault((name, number), []).extend(shared(one, other).ravel())
    for name in ("keys_and_values", "queries_and_keys"):
        for line, more in (("with the QK circuit", ""), ("without a circuit", " bare")):
            wanted = [np.mean(found[name + more, number]) for number in range(len(case.passes[0].layers))]
            assert of(figures[name], line) == pytest.approx(wanted, abs=TIE), (name, line)


def test_random_vectors_and_weights_come_from_the_model(case):
    """The caption's baseline is what the lens makes of random vectors; figure 9 draws the matrix' own rows."""
    from ingest.analysis import ModelReader

    sample = Sample(case.store, options=Options(k=20, resamples=5))
    reader = ModelReader(str(case.model), sample.model["id"])
    wanted = case.top(case.passes[0], np.random.default_rng(4).standard_normal((40, case.passes[0].gamma.size)))
    assert shared(reader.random_ids(40, 4)[:, :20], wanted).min() >= 0.95
    sample = Sample(case.store, options=Options(k=20, resamples=5, weights=reader))
    keys, weights = analyze(sample, ["queries_and_keys", "neuron_weights"])
    ids = reader.random_ids(800, 0)[:, :20]
    baseline = keys.panels[0].curves[-1]
    assert (baseline.name, baseline.y[0]) == ("two random vectors through the lens", pytest.approx(shared(ids[::2], ids[1::2]).mean()))
    matrix = case.passes[0].layers[weights.parameters["layer"]].mlp_value
    for (line,), rows in weights.data.group_by("line", maintain_order=True):
        row = matrix.mean(0) if line == "mean neuron" else matrix[int(re.search(r"neuron (\d+)", line)[1])]
        assert rows["weight"].to_numpy() == pytest.approx(row, rel=1e-5, abs=1e-6)
    with pytest.raises(ModelError, match="not the model of the prompts"):
        ModelReader(str(case.model), "another")


def test_attention_output_against_residuals(figures, raw):
    attention, post = np.stack(raw.states["attention_output"]), np.stack(raw.states["residual_post"])
    before = np.concatenate([np.stack(raw.embedding)[:, None], post[:, :-1]], axis=1)
    wanted = {
        "residual before it": before, "block output": post, "residual after it": np.stack(raw.states["residual_mid"]),
        "MLP output": np.stack(raw.states["mlp_output"]),
    }  # fmt: skip
    figure = figures["attention_and_residuals"]
    for name, ids in wanted.items():
        assert of(figure, name) == pytest.approx(shared(attention, ids).mean(0), abs=TIE)
    last = shared(attention[:, 1:], attention[:, :-1]).mean(0)
    assert of(figure, "attention output of the layer before") == pytest.approx(last, abs=TIE)


def test_probability_of_the_prediction(case, figures):
    figure, right = figures["prediction_by_layer"], []
    exact, low = [], []
    for run_, target in zip(case.passes, case.targets, strict=True):
        rows = np.stack([run_.embeddings["embedding"][-1], *(layer.states["residual_post"][-1] for layer in run_.layers)])
        p = np.exp(run_.lens(rows) - run_.lens(rows).max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        predicted = int(run_.logits[-1].argmax())
        right.append(predicted == target)
        among = (p > p[:, [predicted]]).sum(1) < 10
        exact.append(p[:, predicted])
        low.append(np.where(among | right[-1], p[:, predicted], 0))
    assert 0 < sum(right) < len(right)
    right, exact, low = np.array(right), np.array(exact), np.array(low)
    assert of(figure, "final prediction", "answered right") == pytest.approx(exact[right].mean(0), rel=1e-3)
    assert of(figure, "final prediction", "answered wrong") == pytest.approx(low[~right].mean(0), rel=1e-3)
    most = of(figure, "final prediction, at most", "answered wrong")
    assert (most >= exact[~right].mean(0) - 1e-6).all()


def test_direct_effects_of_heads(case, figures):
    figure = figures["head_effects"]
    effects = {"target": [], "target minus foil": []}
    for run_, target, foil in zip(case.passes, case.targets, case.foils, strict=True):
        written = np.stack([np.einsum("hd,hdm->hm", layer.head[:, -1], layer.w_o) for layer in run_.layers])
        on_target = run_.effect(written, int(target), -1)
        effects["target"].append(on_target)
        if foil >= 0:
            effects["target minus foil"].append(on_target - run_.effect(written, int(foil), -1))
    for name, values in effects.items():
        rows = figure.data.filter(pl.col("effect_on") == name).sort("layer", "head")
        assert rows["prompts"].unique().to_list() == [len(values)]
        assert rows["effect"].to_numpy() == pytest.approx(np.mean(values, axis=0).ravel(), rel=2e-4, abs=2e-5)
    ordered = figure.data.filter(pl.col("effect_on") == "target minus foil").sort("effect")
    top, bottom = (panel.rows[0][0] for panel in figure.panels[-2:])
    assert top == f"{ordered['layer'][-1]}.{ordered['head'][-1]}"
    assert bottom == f"{ordered['layer'][0]}.{ordered['head'][0]}"


def test_neurons_beside_their_matrix(case, figures):
    data = figures["always_on_neurons"].data
    rank = figures["always_on_neurons"].parameters["rank"]
    run_ = case.passes[0]
    on = {}
    for number, layer in enumerate(run_.layers):
        rows = layer.mlp_value
        mean = data.filter((pl.col("group") == "mean of the matrix") & (pl.col("layer") == number))
        assert mean["norm"][0] == pytest.approx(np.linalg.norm(rows, axis=1).mean(), rel=1e-4)
        logits = run_.lens(rows)
        p = np.exp(logits - logits.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        entropy = -(p * np.log2(p)).sum(-1)
        assert mean["entropy"][0] == pytest.approx(entropy.mean(), abs=2e-4)
        chosen = [np.argsort(-np.abs(other.layers[number].after[-1]))[:rank] for other in case.passes]
        active = data.filter(pl.col("group").str.ends_with("most activated") & (pl.col("layer") == number))
        assert active["entropy"][0] == pytest.approx(np.mean([entropy[c].mean() for c in chosen]), abs=2e-4)
        for neuron in np.concatenate(chosen).tolist():
            on[number, neuron] = on.get((number, neuron), 0) + 1 / len(case)
    often = data.filter(pl.col("neuron").is_not_null())
    for row in often.to_dicts():
        assert row["share"] == pytest.approx(on[row["layer"], row["neuron"]])
    if (often["share"] >= 0.85).all():
        assert len(often) == sum(share >= 0.85 for share in on.values())
    else:
        assert often["share"].max() == pytest.approx(max(on.values()))


def test_figures_agree_with_the_named_queries(case, figures):
    rows = run(case.store, "alignment_heads", k=20).frame.sort("layer", "head")
    assert figures["heads_by_index"].panels[0].z.ravel() == pytest.approx(rows["overlap"].to_numpy())
    rows = run(case.store, "alignment_values_by_rank", k=20).frame
    for rank in (1, 2, 3):
        wanted = rows.filter(pl.col("rank") == rank).sort("layer")["overlap"].to_numpy()
        assert of(figures["values_by_attention"], f"value of attention rank {rank}") == pytest.approx(wanted)
    rows = run(case.store, "alignment_residuals", k=20).frame.filter(pl.col("compared") == "block_before").sort("layer")
    assert of(figures["attention_and_residuals"], "residual before it") == pytest.approx(rows["overlap"].to_numpy())


def test_every_figure_is_there_or_says_why(figures):
    assert list(figures) == list(ANALYSES)
    for figure in figures.values():
        if isinstance(figure, Missing):
            assert figure.reason
            continue
        assert isinstance(figure, Figure)
        assert figure.panels
        assert not figure.data.is_empty()
        assert figure.sentence.endswith(".")
        assert "nan" not in figure.sentence
        assert figure.query


def test_bands_hold_the_mean(figures):
    for figure in figures.values():
        if isinstance(figure, Figure) and {"mean", "low", "high"} <= set(figure.data.columns):
            assert (figure.data["low"] <= figure.data["mean"] + 1e-9).all(), figure.name
            assert (figure.data["high"] >= figure.data["mean"] - 1e-9).all(), figure.name
