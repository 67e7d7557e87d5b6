"""The contract names the part that fails: each kind of wrong is refused for its own reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from flowatlas.errors import ModelError
from ingest.architecture.contract import check
from ingest.architecture.decoder import Decoder, LayerWeights
from ingest.architecture.description import files, read, resolve
from ingest.architecture.load import LoadedModel, load_model
from ingest.capture import attention
from support.models import edit_json, random_model


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_model(str(random_model("gpt2", tmp_path_factory.mktemp("gpt2"))))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model("llama", tmp_path_factory.mktemp("llama"))


def laid(base: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    name, _, rest = path.partition(".")
    return base | {name: laid(base[name], rest, value) if rest else value}


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("attention.query", "self_attn.k_proj", "attention.query"),
        ("attention.norm", "post_attention_layernorm", "attention norm"),
        ("attention.output", "self_attn.oh_proj", "attention.output"),
        ("mlp.key", "mlp.up_proj", "mlp coefficients"),
        ("mlp.norm", "input_layernorm", "residual after attention"),
        ("norm", {"kind": "layer"}, "attention norm"),
        ("norm", {"kind": "rms", "offset": 1.0}, "attention norm"),
        ("block", "parallel", "mlp norm"),
        ("weights", "in_out", "attention.key"),
        ("token_embedding", "lm_head", "embeddings"),
        ("residual_multiplier", "rms_norm_eps", "residual after attention"),
        ("logit_divisor", "hidden_size", "logits"),
        ("softcap", "hidden_size", "logits"),
        ("softcap", "no_such_number", "softcap"),
        ("final_norm", None, "logits"),
    ],
)
def test_a_wrong_field_is_named(llama: Path, field: str, value: Any, named: str) -> None:
    description = laid(read(files()["llama"]), field, value)
    with pytest.raises(ModelError) as refused:
        load_model(str(llama), description=description)
    assert named in refused.value.problem
    assert "docs/add-a-model.md" in refused.value.next_step


def test_queries_and_keys_swapped_are_noticed(tmp_path: Path) -> None:
    """With as many keys as queries only the rotary turn and the attention itself can tell."""
    folder = random_model("llama", tmp_path, num_key_value_heads=4)
    good = read(files()["llama"])
    swapped = laid(laid(good, "attention.query", "self_attn.k_proj"), "attention.key", "self_attn.q_proj")
    with pytest.raises(ModelError, match="'query' is off"):
        load_model(str(folder), description=swapped)


def test_the_wrong_split_is_noticed(tmp_path: Path) -> None:
    folder = random_model("gpt_neox, sequential", tmp_path)
    description = laid(read(files()["gpt_neox"]), "attention.layout", "blocks")
    with pytest.raises(ModelError, match="'query' is off"):
        load_model(str(folder), description=description)


def broken_layer(decoder: Decoder, change: Callable[[LayerWeights], LayerWeights]) -> Decoder:
    return replace(decoder, layer=lambda index: change(decoder.layer(index)) if index == 1 else decoder.layer(index))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        pytest.param(lambda w: replace(w, b_o=None), "'attention output' is off", id="a bias"),
        pytest.param(lambda w: replace(w, mlp_bias=None), "'mlp output' is off", id="the MLP's bias"),
        pytest.param(lambda w: replace(w, w_v=w.w_v[::-1]), "'value' is off", id="values in another order"),
        pytest.param(
            lambda w: replace(w, w_o=w.w_o.transpose(0, 2, 1).reshape(w.w_o.shape)),
            "'attention output' is off",
            id="W_O transposed",
        ),
        pytest.param(
            lambda w: replace(w, mlp_value=w.mlp_value[::-1]), "'mlp output' is off", id="neurons in another order"
        ),
        pytest.param(
            lambda w: replace(w, mlp_norm=replace(w.mlp_norm, bias=None)), "'mlp norm' is off", id="a norm's bias"
        ),
        pytest.param(
            lambda w: replace(w, attention_norm=replace(w.attention_norm, kind="rms")),
            "'attention norm' is off",
            id="another norm",
        ),
    ],
)
def test_a_wrong_matrix_is_named_with_its_layer(
    gpt2: LoadedModel, change: Callable[[LayerWeights], LayerWeights], named: str
) -> None:
    with pytest.raises(ModelError, match=named) as refused:
        check(gpt2.parts, broken_layer(gpt2.decoder, change), gpt2.heads)
    assert "in layer 1" in refused.value.problem
    assert refused.value.known.startswith("Expected: ")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        pytest.param(lambda d: replace(d, unembedding=d.unembedding[::-1]), "'logits' is off", id="unembedding"),
        pytest.param(lambda d: replace(d, logit_scale=1.01), "'logits' is off", id="scale"),
        pytest.param(
            lambda d: replace(d, unembedding_bias=np.ones(d.vocab_size, np.float32)), "'logits' is off", id="bias"
        ),
        pytest.param(lambda d: replace(d, final_norm=replace(d.final_norm, eps=0.1)), "'final norm' is off", id="eps"),
        pytest.param(
            lambda d: replace(d, residual_multiplier=1.001), "'residual after attention' is off", id="multiplier"
        ),
    ],
)
def test_a_wrong_head_is_named(gpt2: LoadedModel, change: Callable[[Decoder], Decoder], named: str) -> None:
    with pytest.raises(ModelError, match=named):
        check(gpt2.parts, change(gpt2.decoder), gpt2.heads)


def test_a_mask_that_is_not_causal_is_refused(tmp_path: Path) -> None:
    folder = random_model("gemma3_text", tmp_path)
    edit_json(folder / "config.json", use_bidirectional_attention=True)
    with pytest.raises(ModelError, match="'causal mask' is off"):
        load_model(str(folder))


def test_attention_that_is_not_the_models_own_is_refused(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were transformers to pass our attention something new that it leaves out, the logits would tell."""
    own = attention.functional.softmax
    warm = type("functional", (), {"softmax": staticmethod(lambda rows, dim: own(rows / 1.1, dim=dim))})
    monkeypatch.setattr(attention, "functional", warm)
    with pytest.raises(ModelError, match="'(attention rows|own attention)' is off"):
        load_model(str(llama))


def test_clipping_that_is_not_described_is_refused(tmp_path: Path) -> None:
    folder = random_model("olmo, clipped", tmp_path)
    description = laid(read(files()["olmo"]), "attention.clip", None)
    with pytest.raises(ModelError, match="is off"):
        load_model(str(folder), description=description)


def test_the_report_has_every_invariant_of_the_design(gpt2: LoadedModel) -> None:
    largest = gpt2.report.largest()
    assert {"attention rows", "heads", "attention output", "mlp output", "residual", "logits", "contributions"} <= set(
        largest
    )
    assert max(largest.values()) < 1e-5


def test_an_unknown_field_and_a_variant_without_a_condition_are_named() -> None:
    good = read(files()["gpt2"])
    with pytest.raises(ModelError, match="attention.colour: Extra inputs"):
        resolve(laid(good, "attention.colour", "blue"), {}, "gpt2.yaml")
    with pytest.raises(ModelError, match="has no 'when'"):
        resolve(good | {"variants": [{"block": "parallel"}]}, {}, "gpt2.yaml")
    with pytest.raises(ModelError, match="asks for 'no_such_field'"):
        resolve(good | {"variants": [{"when": {"no_such_field": 1}}]}, {}, "gpt2.yaml")


def test_a_capture_leaves_no_hook_behind(gpt2: LoadedModel) -> None:
    hooked = [m for m in gpt2.parts.model.modules() if m._forward_hooks or m._forward_pre_hooks]
    assert not hooked
    with pytest.raises(ModelError, match="no tokens"):
        gpt2.capture([[]])
    with torch.inference_mode():
        assert gpt2.parts.model(input_ids=torch.tensor([[1, 2, 3]])).logits.shape == (1, 3, gpt2.decoder.vocab_size)


def test_eager_code_is_not_taken_where_the_fused_one_is_usual(tmp_path: Path) -> None:
    folder = random_model("falcon, rw", tmp_path)
    with pytest.raises(ModelError, match="attention.capture: .* fused"):
        load_model(str(folder), description=laid(read(files()["falcon"]), "attention.capture", "eager"))
