"""Every vector, score and contribution of a graph against a float64 pass written independently."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flowatlas.vocabulary import Lens
from ingest.architecture.load import load_model
from ingest.lens.lens import LogitLens
from ingest.neurons import NeuronIndex, TargetRanks
from ingest.pipeline.batch import Workshop, graph_tables
from ingest.pipeline.estimate import graph_size
from ingest.pipeline.prepare import Choices, Prepared, prepare
from ingest.prompts import PromptInput
from support.models import random_model
from support.reference import Pass, entropy_bits, reference_pass, softmax

RELATIVE = 1e-4
STRIDE = 2**24

SHAPES: dict[str, tuple[str, dict[str, object]]] = {
    "gpt2 tied": ("gpt2", {}),
    "gpt2 untied, odd heads": ("gpt2", {"n_embd": 60, "n_head": 5, "tie_word_embeddings": False}),
    "llama grouped, untied": ("llama", {"num_key_value_heads": 2}),
    "llama biases, tied, one group, heads wider than the residual": (
        "llama",
        {
            "num_key_value_heads": 1,
            "head_dim": 12,
            "attention_bias": True,
            "mlp_bias": True,
            "tie_word_embeddings": True,
        },
    ),
}
PROMPTS = ["the capital of Japan is", "when Mary and John went", "a"]


@dataclass
class Case:
    """Tables of a few prompts and what the reference says of each."""

    decoder: object
    prepared: list[Prepared]
    tables: dict[str, pl.DataFrame]
    references: list[Pass]
    positions: str


@pytest.fixture(
    scope="module", params=[(name, p) for name in SHAPES for p in ("last", "all")], ids=lambda p: f"{p[0]}-{p[1]}"
)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    name, positions = request.param
    family, overrides = SHAPES[name]
    folder: Path = random_model(family, tmp_path_factory.mktemp("model"), **overrides)
    model = load_model(str(folder))
    lens = LogitLens.of(model.decoder)
    choices = Choices(positions=positions, lens="no_final_norm,naive")
    workshop = Workshop(model, lens, TargetRanks(model.decoder, lens), choices, threads=2)
    inputs = [PromptInput(text=text, target=" the", foil=" of", where=f"line {n}") for n, text in enumerate(PROMPTS)]
    inputs.append(PromptInput(text=PROMPTS[0] + " city", where="line 9"))
    prepared = [prepare(source, model, workshop.choices) for source in inputs]
    assert all(isinstance(p, Prepared) for p in prepared), prepared
    tables = {name: pl.from_arrow(table) for name, table in graph_tables(workshop, prepared).items()}
    references = [reference_pass(folder, p.token_ids) for p in prepared]
    return Case(model.decoder, prepared, tables, references, positions)


def reference_vector(ref: Pass, row: dict[str, object]) -> tuple[np.ndarray, np.ndarray]:
    """The vector as the model holds it, and as the lens reads it."""
    kind, number, position = row["kind"], row["layer"], row["position"]
    if number == -1:
        return (ref.embeddings[kind][position],) * 2
    if kind == "final_norm":
        return ref.final[position], ref.layers[-1].states["residual_post"][position]
    layer = ref.layers[number]
    head = row.get("head")
    if kind in ("value", "head"):
        rows = layer.value if kind == "value" else layer.head
        return rows[head, position], rows[head, position] @ layer.w_o[head]
    if kind == "query":
        return layer.query[head, position], layer.w_k[head] @ layer.query[head, position]
    if kind == "key":
        return layer.key[head, position], layer.w_q[head] @ layer.key[head, position]
    if kind == "qkv":
        return None, np.einsum("hd,hmd->m", layer.query[:, position], layer.w_k)
    if kind == "concatenated_heads":
        return layer.head[:, position].reshape(-1), np.einsum("hd,hdm->m", layer.head[:, position], layer.w_o)
    return (layer.states[kind][position],) * 2


def asked(ref: Pass, prepared: Prepared, row: dict[str, object]) -> tuple[int, int]:
    """Target and foil of a state: the next token, at the end the prompt's."""
    last = len(prepared.token_ids) - 1
    if row["kind"] in ("key", "value") or row["position"] == last:
        target = prepared.target_id if prepared.target_id >= 0 else int(ref.logits[last].argmax())
        return target, prepared.foil_id
    return prepared.token_ids[row["position"] + 1], -1


@pytest.mark.parametrize("label", ["State", "Query", "Key", "Value", "Head"])
def test_every_state_is_the_reference_vector_and_its_projection(case: Case, label: str) -> None:
    rows = case.tables[label].to_dicts()
    assert rows
    for row in rows:
        ref, prepared = case.references[row["prompt"]], case.prepared[row["prompt"]]
        held, read = reference_vector(ref, row)
        where = f"{row['kind']} layer {row['layer']} position {row['position']}"
        if held is not None:
            assert row["norm"] == pytest.approx(np.linalg.norm(held), rel=RELATIVE), where
        logits = ref.lens(read)
        p = softmax(logits)
        assert row["entropy"] == pytest.approx(entropy_bits(logits), abs=2e-4), where
        k = min(50, len(logits))
        assert len(row["top_ids"]) == k
        np.testing.assert_allclose(logits[row["top_ids"]], np.sort(logits)[::-1][:k], atol=1e-4, err_msg=where)
        np.testing.assert_allclose(row["top_probs"], p[row["top_ids"][:10]], rtol=1e-3, err_msg=where)
        for name, token in zip(("target", "foil"), asked(ref, prepared, row), strict=True):
            if token < 0:
                assert row[f"{name}_rank"] is None
                assert row[f"{name}_prob"] is None
                continue
            slack = 1e-5 * max(1.0, np.abs(logits).max())
            low = 1 + int((logits > logits[token] + slack).sum())
            high = 1 + int((logits > logits[token] - slack).sum()) - 1
            assert low <= row[f"{name}_rank"] <= max(low, high), where
            assert row[f"{name}_prob"] == pytest.approx(p[token], rel=1e-3, abs=1e-9), where


def assert_top(ids: list[int], logits: np.ndarray, where: str) -> None:
    """`ids` are those of the greatest logits, in their order."""
    assert len(set(ids)) == len(ids) == min(50, len(logits))
    np.testing.assert_allclose(logits[ids], np.sort(logits)[::-1][: len(ids)], atol=1e-4, err_msg=where)


@pytest.mark.parametrize("label", ["Query", "Key", "Value", "Head"])
def test_naive_projections_put_a_heads_vector_into_its_slice(case: Case, label: str) -> None:
    """Section 3.1, note 6; heads that go beyond the last coordinate go on from the first."""
    for row in case.tables[label].to_dicts():
        ref = case.references[row["prompt"]]
        held, _ = reference_vector(ref, row)
        zeros = np.zeros(len(ref.gamma))
        for number, entry in enumerate(held):
            zeros[(row["head"] * len(held) + number) % len(zeros)] = entry
        assert_top(row["naive_top_ids"], ref.lens(zeros), f"{label} {row['layer']} {row['head']}")


def test_the_final_norm_says_what_the_model_says(case: Case) -> None:
    last = case.tables["State"].filter(pl.col("kind") == "final_norm").group_by("prompt", maintain_order=True).last()
    for row, prompt in zip(last.to_dicts(), case.tables["Prompt"].to_dicts(), strict=True):
        assert row["top_ids"][0] == prompt["predicted_id"]
        assert row["target_rank"] == prompt["target_rank"]
        assert row["target_prob"] == pytest.approx(prompt["target_prob"], rel=1e-4)


def test_projections_without_the_final_norm(case: Case) -> None:
    """Appendix E."""
    for row in case.tables["State"].to_dicts():
        ref = case.references[row["prompt"]]
        _, read = reference_vector(ref, row)
        assert_top(row["no_final_norm_top_ids"], read @ ref.unembedding, f"{row['kind']} {row['layer']}")
    assert case.tables["Prompt"]["lens"].unique().to_list() == ["circuit,naive,no_final_norm"]


def test_values_have_rank_and_probability_of_the_token_they_come_from(case: Case) -> None:
    """Figure 18."""
    for row in case.tables["Value"].to_dicts():
        ref, prepared = case.references[row["prompt"]], case.prepared[row["prompt"]]
        _, read = reference_vector(ref, row)
        logits, token = ref.lens(read), prepared.token_ids[row["source"]]
        assert row["source_prob"] == pytest.approx(softmax(logits)[token], rel=1e-3, abs=1e-9)
        others = np.delete(logits, token)
        low, high = (1 + int((others > logits[token] + slack).sum()) for slack in (1e-4, -1e-4))
        assert low <= row["source_rank"] <= high


def states(case: Case) -> dict[int, dict[str, object]]:
    return {
        row["id"]: row for label in ("State", "Query", "Key", "Value", "Head") for row in case.tables[label].to_dicts()
    }


def test_attention_edges_carry_the_reference_attention(case: Case) -> None:
    nodes = states(case)
    for row in case.tables["ATTENDS_Query_Key"].to_dicts():
        query, key = nodes[row["from"]], nodes[row["to"]]
        layer = case.references[query["prompt"]].layers[query["layer"]]
        assert (query["head"], query["layer"]) == (key["head"], key["layer"])
        at = (query["head"], query["position"], key["source"])
        assert row["score"] == pytest.approx(layer.attention[at], rel=RELATIVE, abs=1e-7)
        assert row["logit"] == pytest.approx(layer.logits[at], rel=RELATIVE, abs=1e-5)
        seen = layer.attention[query["head"], query["position"], : query["position"] + 1]
        assert (
            abs(row["rank"] - (1 + (seen > layer.attention[at]).sum()))
            <= (np.abs(seen - layer.attention[at]) < 1e-6).sum() - 1
        )


def test_values_times_attention_make_the_head_and_its_contribution(case: Case) -> None:
    nodes, heads = states(case), case.tables["CONCATENATES_Head_State"]
    for row in case.tables["SUMS_Value_Head"].to_dicts():
        value, head = nodes[row["from"]], nodes[row["to"]]
        ref = case.references[value["prompt"]]
        layer = ref.layers[value["layer"]]
        part = layer.attention[head["head"], head["position"], value["source"]] * (
            layer.value[head["head"], value["source"]] @ layer.w_o[head["head"]]
        )
        assert row["norm"] == pytest.approx(np.linalg.norm(part), rel=1e-3, abs=1e-6)
        target, _ = asked(ref, case.prepared[head["prompt"]], head)
        assert row["contribution"] == pytest.approx(ref.effect(part, target, head["position"]), rel=1e-3, abs=1e-5)
    summed = case.tables["SUMS_Value_Head"].group_by("to").agg(pl.col("contribution", "score").sum()).sort("to")
    np.testing.assert_allclose(summed["score"], 1.0, rtol=1e-5)
    np.testing.assert_allclose(summed["contribution"], heads.sort("from")["contribution"], rtol=1e-3, atol=1e-5)


def test_contributions_and_the_constant_sum_to_the_logit(case: Case) -> None:
    adds, nodes = case.tables["ADDS_State_State"], states(case)
    bottom = [
        row
        for row in adds.to_dicts()
        if nodes[row["from"]]["kind"] in ("token_embedding", "position_embedding", "attention_bias", "mlp_bias")
    ]
    edges = bottom + case.tables["CONCATENATES_Head_State"].to_dicts()
    edges += [row for row in case.tables["WRITES_Neuron_State"].to_dicts() if nodes[row["to"]]["kind"] == "mlp_output"]
    for number, (ref, prepared) in enumerate(zip(case.references, case.prepared, strict=True)):
        last = len(prepared.token_ids) - 1
        mine = [r for r in edges if r["to"] // STRIDE == number and nodes[r["to"]]["position"] == last]
        row = case.tables["Prompt"].row(number, named=True)
        target = row["target_id"]
        assert row["target_logit"] == pytest.approx(ref.logits[last, target], rel=RELATIVE)
        assert row["target_constant"] == pytest.approx(ref.constant(target), rel=RELATIVE, abs=1e-6)
        total = sum(r["contribution"] for r in mine) + row["target_constant"]
        assert total == pytest.approx(ref.logits[last, target], rel=RELATIVE, abs=1e-4)
        if prepared.foil_id >= 0:
            # Neurons carry no foil contribution: the MLP's output has it as a whole.
            other = [r for r in mine if "foil_contribution" in r and nodes[r["from"]]["kind"] != "mlp_bias"]
            other += [
                r for r in adds.to_dicts()
                if r["from"] // STRIDE == number and nodes[r["from"]]["kind"] == "mlp_output" and nodes[r["from"]]["position"] == last
            ]  # fmt: skip
            total = sum(r["foil_contribution"] for r in other) + row["foil_constant"]
            assert total == pytest.approx(ref.logits[last, prepared.foil_id], rel=RELATIVE, abs=1e-4)


def test_both_levels_of_contributions_agree(case: Case) -> None:
    """What flows into a branch's output contributes what the output adds to the residual."""
    nodes = states(case)
    into: dict[int, float] = {}
    for name in ("WRITES_Neuron_State", "ADDS_State_State"):
        for row in case.tables[name].to_dicts():
            if nodes[row["to"]]["kind"] in ("attention_output", "mlp_output"):
                into[row["to"]] = into.get(row["to"], 0.0) + row["contribution"]
    outof = {r["from"]: r["contribution"] for r in case.tables["ADDS_State_State"].to_dicts() if r["from"] in into}
    assert outof.keys() == into.keys()
    for state, contribution in outof.items():
        assert into[state] == pytest.approx(contribution, rel=1e-3, abs=1e-4)


def test_neuron_coefficients_ranks_and_target_ranks(case: Case) -> None:
    nodes, index = states(case), NeuronIndex.of(case.decoder)
    activates = case.tables["ACTIVATES_State_Neuron"].sort("from", "to")
    writes = case.tables["WRITES_Neuron_State"].sort("to", "from")
    for name, table, end in (("before", activates, "from"), ("after", writes, "to")):
        for (state,), part in table.group_by(end):
            node = nodes[state]
            layer = case.references[node["prompt"]].layers[node["layer"]]
            attention = node["kind"] in ("concatenated_heads", "attention_output")
            expected = (
                layer.head[:, node["position"]].reshape(-1) if attention else getattr(layer, name)[node["position"]]
            )
            first = index.attention_output(node["layer"]) if attention else index.mlp(node["layer"])
            neuron = part["to" if end == "from" else "from"].to_numpy() - first
            scores = part["score"].to_numpy()
            np.testing.assert_allclose(scores, expected[neuron], rtol=1e-3, atol=1e-5)
            assert len(neuron) == len(expected)
            order = np.argsort(part["rank"].to_numpy())
            assert sorted(part["rank"]) == list(range(1, len(neuron) + 1))
            assert (np.diff(np.abs(scores[order])) <= 0).all()
            if end == "to":
                rows = (layer.w_o.reshape(-1, layer.w_o.shape[-1]) if attention else layer.mlp_value)[neuron]
                check_written(case, node, rows, scores, part)


def check_written(
    case: Case, node: dict[str, object], rows: np.ndarray, scores: np.ndarray, part: pl.DataFrame
) -> None:
    ref = case.references[node["prompt"]]
    target, _ = asked(ref, case.prepared[node["prompt"]], node)
    np.testing.assert_allclose(part["norm"], np.abs(scores) * np.linalg.norm(rows, axis=1), rtol=1e-3, atol=1e-6)
    effects = scores * ref.effect(rows, target, node["position"])
    np.testing.assert_allclose(part["contribution"], effects, rtol=1e-2, atol=1e-5)
    logits = ref.lens(np.where(scores >= 0, 1.0, -1.0)[:, None] * rows)
    rank = 1 + (logits > logits[:, [target]] + 1e-6).sum(1)
    assert (
        np.abs(part["target_rank"].to_numpy() - rank) <= (np.abs(logits - logits[:, [target]]) < 1e-5).sum(1) - 1
    ).all()


def test_gated_neurons_carry_gate_and_up(case: Case) -> None:
    nodes = states(case)
    rows = [r for r in case.tables["ACTIVATES_State_Neuron"].to_dicts() if nodes[r["from"]]["kind"] == "mlp_norm"]
    index = NeuronIndex.of(case.decoder)
    for row in rows:
        node = nodes[row["from"]]
        layer = case.references[node["prompt"]].layers[node["layer"]]
        if layer.gate is None:
            assert row["gate"] is None
            assert row["up"] is None
            continue
        neuron = row["to"] - index.mlp(node["layer"])
        assert row["gate"] == pytest.approx(layer.gate[node["position"], neuron], rel=1e-3, abs=1e-5)
        assert row["up"] == pytest.approx(layer.up[node["position"], neuron], rel=1e-3, abs=1e-5)


def test_embeddings_and_additions_are_the_last_residual(case: Case) -> None:
    for ref, prepared in zip(case.references, case.prepared, strict=True):
        total = ref.embeddings["embedding"] + sum(
            layer.states["attention_output"] + layer.states["mlp_output"] for layer in ref.layers
        )
        np.testing.assert_allclose(total, ref.layers[-1].states["residual_post"], rtol=1e-9, atol=1e-9)
        assert len(total) == len(prepared.token_ids)
    nodes = states(case)
    for row in case.tables["SKIPS_State_State"].to_dicts() + case.tables["ADDS_State_State"].to_dicts():
        source = nodes[row["from"]]
        held, _ = reference_vector(case.references[source["prompt"]], source)
        assert row["score"] == pytest.approx(np.linalg.norm(held), rel=RELATIVE, abs=1e-6)


def expected_counts(case: Case, tokens: int) -> dict[str, int]:
    """Numbers of nodes and relationships by formula, in layers L, heads H, tokens T, positions P, d, f."""
    d = case.decoder
    bias_o, bias_m = (int(d.layer(0).b_o is not None), int(d.layer(0).mlp_bias is not None))
    gpt2 = int(d.family == "gpt2")
    L, H, T, f, a = d.n_layer, d.n_head, tokens, d.d_mlp, d.n_head * d.d_head
    P = T if case.positions == "all" else 1
    pairs = T * (T + 1) // 2 if case.positions == "all" else T
    cross = L * H * P if case.positions == "all" and T > 1 else 0
    return {
        "Token": T, "Query": L * H * P, "Head": L * H * P, "Key": L * H * T, "Value": L * H * T,
        "State": P * (2 + gpt2 + L * (8 + bias_o + bias_m) + 1),
        "HAS_TOKEN_Prompt_Token": T, "EMBEDS_Token_State": P,
        "CREATES_Token_Key": L * H * T, "CREATES_Token_Value": L * H * T,
        "CREATES_State_Key": cross, "CREATES_State_Value": cross,
        "NORMALIZES_State_State": P * (2 * L + 1), "PROJECTS_State_State": 3 * P * L, "SPLITS_State_Query": L * H * P,
        "ATTENDS_Query_Key": L * H * pairs, "RECALLS_Key_Value": L * H * T, "SUMS_Value_Head": L * H * pairs,
        "CONCATENATES_Head_State": L * H * P,
        "ACTIVATES_State_Neuron": L * P * (a + f), "WRITES_Neuron_State": L * P * (a + f),
        "ADDS_State_State": P * (1 + gpt2 + L * (2 + bias_o + bias_m)), "SKIPS_State_State": 2 * P * L,
    }  # fmt: skip


def test_counts_follow_the_formula(case: Case) -> None:
    for number, prepared in enumerate(case.prepared):
        expected = expected_counts(case, len(prepared.token_ids))
        for name, count in expected.items():
            table = case.tables[name]
            mine = table["prompt"] == number if "prompt" in table.columns else table["to"] // STRIDE == number
            if name.startswith("ACTIVATES"):
                mine = table["from"] // STRIDE == number
            assert mine.sum() == count, (name, len(prepared.token_ids))
        row = case.tables["Prompt"].row(number, named=True)
        node_counts = {"Query", "Key", "Value", "Head", "State"}
        assert row["n_state"] == sum(expected[name] for name in node_counts)
        assert row["n_relationship"] == sum(expected[name] for name in expected if "_" in name)


def test_the_estimate_is_the_count(case: Case) -> None:
    from ingest.decompose.shape import GraphShape

    shape = GraphShape.of(case.decoder, position_embedding=case.decoder.family == "gpt2")
    for number, prepared in enumerate(case.prepared):
        size = graph_size(case.decoder, shape, len(prepared.token_ids), prepared.positions, lenses=list(Lens))
        row = case.tables["Prompt"].row(number, named=True)
        assert (size.states, size.relationships) == (row["n_state"], row["n_relationship"])
        lists = [case.tables[label].filter(prompt=number) for label in ("Query", "Key", "Value", "Head", "State")]
        assert size.lists == sum(
            len(rows) - rows[column].null_count() for rows in lists for column in rows.columns if column.endswith("_top_ids")
        )


def test_ids_are_unique_and_every_edge_joins_nodes_of_its_prompt(case: Case) -> None:
    nodes = states(case)
    assert len(nodes) == sum(case.tables[label].height for label in ("State", "Query", "Key", "Value", "Head"))
    for name, table in case.tables.items():
        if "from" not in table.columns or "Token" in name or "Neuron" in name or "Prompt" in name:
            continue
        for row in table.to_dicts():
            assert nodes[row["from"]]["prompt"] == nodes[row["to"]]["prompt"]
