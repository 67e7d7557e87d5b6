"""What norms do to token probabilities, against float64 passes written independently, and as a command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from flowatlas import open_store
from flowatlas.errors import ModelError
from flowatlas.selection import Selection
from ingest.architecture.load import load_model
from ingest.norms.effects import batches, norm_effects
from ingest.norms.prompts import choose
from ingest.norms.table import write
from support.cli import flowatlas
from support.models import random_model
from support.reference import Pass, norm, reference_pass, softmax
from support.synthetic_shards import PROMPTS, folder_of, tiny_shards

KINDS = ("attention_norm", "mlp_norm")
SHAPES = {"gpt2": {}, "llama": {"num_key_value_heads": 2}, "gpt2 many": {"n_embd": 24, "n_head": 3, "n_layer": 1}}
DRAW = np.random.default_rng(5)
TOKENS = [DRAW.integers(0, 300, size).tolist() for size in (1, 4, 4, 7, 9)]


def frame_of(folder: Path, file: Path, **options: object) -> pl.DataFrame:
    model = load_model(str(folder))
    rows = write(file, norm_effects(model, TOKENS, **options), model.tokenizer.labels, {"model": "m"})
    frame = pl.read_parquet(file)
    assert frame.height == rows
    return frame


@pytest.fixture(scope="module", params=SHAPES)
def case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, pl.DataFrame, list[Pass]]:
    folder = random_model(request.param.split()[0], tmp_path_factory.mktemp("model"), **SHAPES[request.param])
    frame = frame_of(folder, folder.parent / "norms.parquet", seed=3)
    return folder, frame, [reference_pass(folder, tokens) for tokens in TOKENS]


def around(ref: Pass, layer: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """What goes into the norm at the last position, and what comes out."""
    states = ref.layers[layer].states
    entering = ref.embeddings["embedding"] if layer == 0 else ref.layers[layer - 1].states["residual_post"]
    return (entering if kind == "attention_norm" else states["residual_mid"])[-1], states[kind][-1]


def probabilities(ref: Pass, lens: str, rows: np.ndarray) -> np.ndarray:
    return softmax(ref.lens(rows) if lens == "circuit" else rows @ ref.unembedding)


def test_means_over_prompts_are_those_of_float64(case: tuple[Path, pl.DataFrame, list[Pass]]) -> None:
    _, frame, references = case
    groups = frame.filter(pl.col("source") == "prompts").group_by("layer", "norm", "lens")
    seen = set()
    for (layer, kind, lens), rows in groups:
        pairs = [around(ref, layer, kind) for ref in references]
        for name, vectors in zip(("before", "after"), map(np.stack, zip(*pairs, strict=True)), strict=True):
            assert rows["token_id"].to_list() == list(range(300))
            expected = probabilities(references[0], lens, vectors).mean(0)
            np.testing.assert_allclose(rows[name], expected, rtol=2e-4, atol=1e-9)
            of_mean = probabilities(references[0], lens, vectors.mean(0))
            np.testing.assert_allclose(rows[f"mean_state_{name}"], of_mean, rtol=2e-4, atol=1e-9)
        assert rows["n"].unique().to_list() == [len(TOKENS)]
        seen.add((layer, kind, lens))
    assert len(seen) == len(references[0].layers) * 2 * 2


def test_random_vectors_have_the_mean_and_spread_of_the_residuals(case: tuple[Path, pl.DataFrame, list[Pass]]) -> None:
    """The control is drawn again here, and normalized with the weights that the file of the model has."""
    folder, frame, references = case
    decoder = load_model(str(folder)).decoder
    for layer in range(len(references[0].layers)):
        for number, kind in enumerate(KINDS):
            before = np.stack([around(ref, layer, kind)[0] for ref in references])
            noise = np.random.default_rng([3, layer, number]).standard_normal(before.shape)
            rows = before.mean(0) + before.std(0) * noise
            weights = getattr(decoder.layer(layer), kind)
            after = norm(rows, weights.kind, weights.weight, 0.0 if weights.bias is None else weights.bias, weights.eps)
            for lens in ("circuit", "no_final_norm"):
                found = frame.filter(layer=layer, norm=kind, lens=lens, source="random")
                assert found["n"].unique().to_list() == [len(TOKENS)]
                for name, vectors in (("before", rows), ("after", after)):
                    expected = probabilities(references[0], lens, vectors).mean(0)
                    np.testing.assert_allclose(found[name], expected, rtol=2e-3, atol=1e-8)


def test_the_same_numbers_whatever_the_batches(
    case: tuple[Path, pl.DataFrame, list[Pass]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, frame, _ = case
    monkeypatch.setattr("ingest.norms.effects.BATCH_TOKENS", 8)
    monkeypatch.setattr("ingest.norms.means.BLOCK_BYTES", 4 * 300 * 2)
    assert [len(batch) for batch in batches(TOKENS)] == [2, 1, 1, 1]
    again = frame_of(folder, tmp_path / "n.parquet", seed=3)
    assert again.select(pl.exclude(pl.Float32)).equals(frame.select(pl.exclude(pl.Float32)))
    for name in ("before", "after", "mean_state_before", "mean_state_after"):
        np.testing.assert_allclose(again[name], frame[name], rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize(
    ("family", "there"), [("gptj", {"attention_norm"}), ("gpt_neox, parallel", set(KINDS)), ("gemma2", set(KINDS))]
)
def test_families_have_the_norms_that_they_have(family: str, there: set[str], tmp_path: Path) -> None:
    """Both norms of a parallel block read one residual; probabilities of every family (softcap, too) sum to 1."""
    frame = frame_of(random_model(family, tmp_path / "model"), tmp_path / "n.parquet")
    assert set(frame["norm"]) == there
    sums = frame.group_by("layer", "norm", "lens", "source").agg(pl.col("before", "after", "mean_state_after").sum())
    np.testing.assert_allclose(sums.select("before", "after", "mean_state_after").to_numpy(), 1.0, rtol=1e-5)
    first, second = (frame.filter(source="prompts", norm=kind)["before"].to_numpy() for kind in KINDS)
    assert np.array_equal(first, second) is family.endswith("parallel")


@pytest.mark.parametrize("family", ["olmo2", "opt, as 350m"])
def test_norms_after_the_branches_are_told(family: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no norms before attention and the MLP"):
        frame_of(random_model(family, tmp_path / "model"), tmp_path / "n.parquet")
    assert not list(tmp_path.glob("*n.parquet*"))


def test_one_prompt_has_no_control(tmp_path: Path) -> None:
    model = load_model(str(random_model("gpt2", tmp_path / "model", n_layer=1)))
    effects = [effect for group in norm_effects(model, TOKENS[:1]) for effect in group]
    assert {effect.source for effect in effects} == {"prompts"}


def test_prompts_are_chosen_from_the_store(store_uri: str) -> None:
    """Tokens as the store has them, in the order of the prompts."""
    model, *prompts = tiny_shards()
    with open_store(store_uri, mode="write") as store:
        store.write(model)
        for shard in prompts:
            store.write(shard)
        rows = pl.DataFrame(pl.from_arrow(pa.concat_tables([shard.table("Prompt") for shard in prompts])))
        tokens = [
            part.sort("position")["token_id"].to_list()
            for shard in prompts
            for part in pl.DataFrame(pl.from_arrow(shard.table("Token"))).partition_by("prompt", maintain_order=True)
        ]
        chosen = choose(store, Selection())
        assert (chosen.model, len(chosen.prompts), chosen.prompts) == (model.manifest.model, PROMPTS, tokens)
        wanted = [ids for ids, group in zip(tokens, rows["group"], strict=True) if group == "first"]
        assert choose(store, Selection(group="first", model=chosen.name), limit=2).prompts == wanted[:2]


def test_the_command(tmp_path: Path) -> None:
    folder = random_model("gpt2", tmp_path / "model")
    (tmp_path / "p.jsonl").write_text(
        '{"prompt": "the capital", "group": "a"}\n{"prompt": "of Japan is", "group": "a"}\n'
    )
    store, file = tmp_path / "s.lbug", tmp_path / "n.parquet"
    assert flowatlas("ingest", tmp_path / "p.jsonl", "--model", folder, "--store", store).code == 0
    done = flowatlas("norms", "-p", "group=a", "--model", folder, "--store", store, "--out", file)
    assert (done.code, done.stdout) == (0, "")
    assert "4,800 rows from 2 prompts" in done.stderr
    assert pl.read_parquet(file)["n"].unique().to_list() == [2]
    none = flowatlas("norms", "-p", "group=b", "--model", folder, "--store", store, "--out", file)
    assert (none.code, "No prompts are chosen by 'group=b'" in none.stderr) == (1, True)
    nowhere = flowatlas("norms", "--store", store, "--out", tmp_path / "no" / "n.parquet")
    assert (nowhere.code, "There is no folder" in nowhere.stderr) == (1, True)


def test_another_model_is_refused(tmp_path: Path) -> None:
    done = flowatlas("store", "load", folder_of(tiny_shards()), "--store", tmp_path / "s.lbug")
    assert done.code == 0
    other = random_model("gpt2", tmp_path / "model", n_layer=1)
    done = flowatlas("norms", "--model", other, "--store", tmp_path / "s.lbug", "--out", tmp_path / "n.parquet")
    assert done.code == 1
    assert "were ingested with another model" in done.stderr
    assert not (tmp_path / "n.parquet").exists()
