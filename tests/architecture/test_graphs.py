"""Every family's graph: how many nodes and relationships of each kind, and contributions that sum to the logit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig

from ingest.architecture.decoder import Decoder
from ingest.architecture.load import load_model
from ingest.lens.lens import LogitLens
from ingest.neurons import TargetRanks
from ingest.pipeline.batch import Workshop, graph_tables
from ingest.pipeline.prepare import Choices, Prepared, prepare
from ingest.prompts import PromptInput
from support.cli import flowatlas
from support.models import LIKE_ANOTHER, SHAPES, random_model

PROMPTS = ["the capital of Japan is", "the city of", " to"]
PARALLEL = {"gptj", "gpt_neox, parallel", "phi", "phi, grouped, qk-norm", "stablelm, parallel, qk-norm"} | {
    "falcon, 7b", "falcon, new", "falcon, new, one norm", "cohere", "cohere, qk-norm", "cohere2"
}  # fmt: skip
OWN_MLP_NORM = {"gpt_neox, parallel", "falcon, new"}
NO_PRE_NORMS = {"olmo2", "olmo3", "exaone4", "opt, as 350m", "flex_olmo"}
POST_NORMS = {"gemma2", "gemma3_text", "glm4", "olmo2", "olmo3", "exaone4", "opt, as 350m", "flex_olmo", "hyperclovax"}
POSITIONS = {"gpt2", "gpt2, scaled by layer", "gpt_neo", "opt", "opt, as 350m", "gpt_bigcode"} | {
    "gpt_bigcode, many keys", "biogpt"
}  # fmt: skip
EXPERTS = {"mixtral", "qwen3_moe", "olmoe", "granitemoe", "flex_olmo"}


@dataclass
class Case:
    """The tables of a family's prompts, and its own logits in float64."""

    shape: str
    decoder: Decoder
    prepared: list[Prepared]
    tables: dict[str, pl.DataFrame]
    logits: list[np.ndarray]
    visible: int


def visible_sources(config: PreTrainedConfig, lengths: list[int]) -> int:
    """How many positions the last one of each prompt sees, over all layers: a window hides the others."""
    window = getattr(config, "sliding_window", None) or getattr(config, "window_size", None) or max(lengths)
    kinds = getattr(config, "attention_layers", None) or getattr(config, "layer_types", None)
    if config.model_type == "mistral":
        kinds = ["sliding_attention"] * config.num_hidden_layers
    windowed = [kind in ("local", "sliding_attention") for kind in kinds or [""] * config.num_hidden_layers]
    return sum(min(length, window) if hidden else length for hidden in windowed for length in lengths)


@pytest.fixture(scope="module", params=[name for name in SHAPES if name not in LIKE_ANOTHER])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder: Path = random_model(request.param, tmp_path_factory.mktemp("model"))
    model = load_model(str(folder))
    lens = LogitLens.of(model.decoder)
    workshop = Workshop(model, lens, TargetRanks(model.decoder, lens), Choices(positions="last"), threads=1)
    inputs = [PromptInput(text=text, target=" the", where=f"line {n}") for n, text in enumerate(PROMPTS)]
    prepared = [one for source in inputs if isinstance(one := prepare(source, model, workshop.choices), Prepared)]
    tables = {name: pl.DataFrame(pl.from_arrow(table)) for name, table in graph_tables(workshop, prepared).items()}
    reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, experts_implementation="eager").eval()
    with torch.inference_mode():
        passes = [reference(input_ids=torch.tensor([list(one.token_ids)])).logits[0, -1].numpy() for one in prepared]
    visible = visible_sources(reference.config, [len(one.token_ids) for one in prepared])
    return Case(request.param, model.decoder, prepared, tables, passes, visible)


def test_every_kind_of_vector_is_there_as_often_as_the_formula_says(case: Case) -> None:
    decoder, shape = case.decoder, case.shape
    layers, heads, prompts = decoder.n_layer, decoder.n_head, len(PROMPTS)
    tokens = sum(len(one.token_ids) for one in case.prepared)
    each = layers * prompts
    weights = decoder.layer(0)
    expected = {
        "token_embedding": prompts,
        "position_embedding": prompts * (shape in POSITIONS),
        "embedding": prompts,
        "attention_norm": each * (shape not in NO_PRE_NORMS),
        "qkv": each,
        "query": each * heads,
        "key": layers * heads * tokens,
        "value": layers * heads * tokens,
        "head": each * heads,
        "concatenated_heads": each,
        "attention_output": each,
        "attention_bias": each * (weights.b_o is not None),
        "attention_post_norm": each * (shape in POST_NORMS),
        "residual_mid": each * (shape not in PARALLEL),
        "mlp_norm": each * (shape not in NO_PRE_NORMS and (shape not in PARALLEL or shape in OWN_MLP_NORM)),
        "mlp_output": each,
        "mlp_bias": each * (weights.mlp_bias is not None),
        "mlp_post_norm": (each - prompts * (shape == "opt, as 350m")) * (shape in POST_NORMS),
        "residual_post": each,
        "final_norm": prompts,
    }
    nodes = pl.concat([case.tables[label].select("kind") for label in ("State", "Query", "Key", "Value", "Head")])
    found = dict(nodes.group_by("kind").len().iter_rows())
    assert found == {kind: count for kind, count in expected.items() if count}


def test_every_type_of_relationship_is_there_as_often_as_the_formula_says(case: Case) -> None:
    decoder = case.decoder
    layers, heads, prompts = decoder.n_layer, decoder.n_head, len(PROMPTS)
    tokens = sum(len(one.token_ids) for one in case.prepared)
    chosen = 2 if case.shape in EXPERTS else 1
    neurons = layers * prompts * (chosen * decoder.d_mlp + heads * decoder.d_head)
    count = {name: len(table) for name, table in case.tables.items()}
    seen = heads * case.visible
    assert count["ATTENDS_Query_Key"] == count["RECALLS_Key_Value"] == count["SUMS_Value_Head"] == seen
    assert count["CONCATENATES_Head_State"] == count["SPLITS_State_Query"] == layers * heads * prompts
    assert count["WRITES_Neuron_State"] == count["ACTIVATES_State_Neuron"] == neurons
    assert count["HAS_TOKEN_Prompt_Token"] == tokens
    skips = layers * prompts * (1 if case.shape in PARALLEL else 2)
    assert count["SKIPS_State_State"] == skips
    writes = case.tables["ACTIVATES_State_Neuron"]
    assert (writes["router"].null_count() < len(writes)) == (case.shape in EXPERTS)
    assert (writes["gate"].null_count() < len(writes)) == decoder.gated


def test_contributions_and_the_constant_sum_to_the_models_own_logit(case: Case) -> None:
    tables = case.tables
    kinds = tables["State"].select(pl.col("id"), pl.col("kind"))
    adds = tables["ADDS_State_State"].join(kinds, left_on="from", right_on="id")
    parts = [
        adds.filter(pl.col("kind").is_in(["token_embedding", "position_embedding", "attention_bias", "mlp_bias"]))
        .select(pl.col("to").alias("end"), "contribution"),
        tables["CONCATENATES_Head_State"].select(pl.col("to").alias("end"), "contribution"),
        tables["WRITES_Neuron_State"]
        .join(kinds.filter(pl.col("kind") == "mlp_output"), left_on="to", right_on="id")
        .select(pl.col("to").alias("end"), "contribution"),
    ]  # fmt: skip
    owner = tables["State"].select("id", "prompt")
    added = pl.concat(parts).join(owner, left_on="end", right_on="id")
    size = float(added["contribution"].cast(pl.Float64).abs().max())  # type: ignore[arg-type]
    for row in tables["Prompt"].iter_rows(named=True):
        mine = added.filter(pl.col("prompt") == row["id"])["contribution"].cast(pl.Float64).sum()
        logit = float(case.logits[row["id"]][row["target_id"]])
        raw = logit if case.decoder.softcap is None else _uncapped(logit, case.decoder.softcap)
        slack = 1e-4 * max(abs(raw), size, 1.0)
        assert mine + row["target_constant"] == pytest.approx(raw, abs=slack)
        assert row["target_logit"] == pytest.approx(raw, abs=slack)


def _uncapped(logit: float, cap: float) -> float:
    """The logit before a softcap: contributions sum to that one."""
    return cap * float(np.arctanh(logit / cap))


def test_the_prompts_probabilities_are_the_models(case: Case) -> None:
    for row in case.tables["Prompt"].iter_rows(named=True):
        logits = case.logits[row["id"]]
        probabilities = np.exp(logits - logits.max())
        probabilities /= probabilities.sum()
        assert row["predicted_id"] == int(logits.argmax())
        assert row["predicted_prob"] == pytest.approx(probabilities.max(), rel=1e-3)
        assert row["target_prob"] == pytest.approx(probabilities[row["target_id"]], rel=1e-3)


@pytest.mark.parametrize("shape", list(SHAPES))
def test_the_command_line_ingests_it(shape: str, tmp_path: Path) -> None:
    folder, prompts = random_model(shape, tmp_path), tmp_path / "prompts.txt"
    prompts.write_text("\n".join(PROMPTS) + "\n")
    done = flowatlas(
        "ingest", prompts, "--model", folder, "--store", tmp_path / "a.lbug", FLOWATLAS_CACHE=str(tmp_path / "cache")
    )
    assert done.code == 0, done.stderr
    info = flowatlas("store", "info", "--store", tmp_path / "a.lbug")
    assert f"prompts\t{len(PROMPTS)}" in info.stdout
