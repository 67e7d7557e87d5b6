"""Models that cannot be loaded: one clear error each, and never a pickle or a model's own code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BertConfig, BertForMaskedLM

from flowatlas.errors import ModelError
from ingest.architecture.description import files
from ingest.architecture.load import load_model
from support.cli import flowatlas
from support.models import edit_json, random_model


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model("gpt2", tmp_path_factory.mktemp("whole"))


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "model"))


def refusal(source: Path | str) -> str:
    with pytest.raises(ModelError) as refused:
        load_model(str(source))
    assert refused.value.problem
    assert refused.value.next_step
    return str(refused.value)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert "There is no model folder" in refusal(tmp_path / "nothing" / "here")


def test_a_file_in_place_of_a_folder(folder: Path) -> None:
    assert "is a file" in refusal(folder / "model.safetensors")


def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    message = refusal("someone/some-model")
    assert "hub cannot be reached" in message
    assert "'demo'" in message


def test_pickled_weights_are_never_read(folder: Path) -> None:
    marker = folder / "was-run"
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(f"cos\nsystem\n(S'touch {marker}'\ntR.".encode())
    message = refusal(folder)
    assert "not safetensors: pytorch_model.bin" in message
    assert "save_pretrained" in message
    assert not marker.exists()


def test_a_folder_without_weights_or_config(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert "has no weights" in refusal(folder)
    (folder / "config.json").unlink()
    assert "has no config.json" in refusal(folder)


def test_a_config_that_is_no_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    assert "config.json" in refusal(folder)


def test_an_unknown_family_lists_the_known_ones(folder: Path) -> None:
    edit_json(folder / "config.json", model_type="mamba", architectures=["MambaForCausalLM"])
    message = refusal(folder)
    assert "'mamba' is not known" in message
    assert all(family in message for family in files())
    assert "docs/add-a-model.md" in message
    edit_json(folder / "config.json", model_type="gpt22")
    assert "Did you mean 'gpt2'?" in refusal(folder)


def test_an_encoder(tmp_path: Path) -> None:
    config = BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    BertForMaskedLM(config).save_pretrained(tmp_path)
    assert "BertForMaskedLM) is not a decoder" in refusal(tmp_path)


def test_a_quantised_model(folder: Path) -> None:
    edit_json(folder / "config.json", quantization_config={"quant_method": "gptq", "bits": 4, "group_size": 128})
    assert "quantised" in refusal(folder)


def test_a_model_with_code_of_its_own_is_not_run(folder: Path) -> None:
    marker = folder / "was-run"
    (folder / "modeling.py").write_text(f"open({str(marker)!r}, 'w')\nclass Config: ...\nclass Model: ...\n")
    auto_map = {"AutoConfig": "modeling.Config", "AutoModelForCausalLM": "modeling.Model"}
    edit_json(folder / "config.json", model_type="strange", auto_map=auto_map)
    assert "needs code of its own" in refusal(folder)
    assert not marker.exists()


def test_a_truncated_file(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "cut short or damaged" in refusal(folder)
    weights.write_bytes(b"")
    assert "cut short or damaged" in refusal(folder)


def test_a_missing_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["transformer.h.1.mlp.c_fc.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert "transformer.h.1.mlp.c_fc.weight" in refusal(folder)


def test_a_tensor_of_another_shape(folder: Path) -> None:
    edit_json(folder / "config.json", n_inner=64)
    assert "c_fc" in refusal(folder)


def test_weights_that_are_no_numbers(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["transformer.h.0.ln_1.weight"][3] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert "not finite numbers: transformer.h.0.ln_1.weight" in refusal(folder)


def sharded(folder: Path, target: Path) -> Path:
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.save_pretrained(target, max_shard_size="40KB")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder / name, target)
    return target


def test_shards_give_the_same_model_and_a_missing_one_is_named(folder: Path, tmp_path: Path) -> None:
    target = sharded(folder, tmp_path / "sharded")
    shards = sorted(target.glob("*.safetensors"))
    assert len(shards) > 2
    one, many = load_model(str(folder)), load_model(str(target))
    for name, weights in one.parts.model.state_dict().items():
        assert torch.equal(weights, many.parts.model.state_dict()[name]), name
    # Where a tensor lies in memory decides how products are vectorised: last digits may differ.
    logits = [loaded.capture([[1, 2, 3]])[0].logits for loaded in (one, many)]
    np.testing.assert_allclose(*logits, rtol=1e-5, atol=1e-5)
    shards[1].unlink()
    message = refusal(target)
    assert "1 of the model's" in message
    assert shards[1].name in message
    (target / "model.safetensors.index.json").write_text(json.dumps({"weight_map": 3}))
    assert "index" in refusal(target)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_on_disk_is_computed_in_float32(whole: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    model = AutoModelForCausalLM.from_pretrained(whole).to(dtype)
    model.save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(whole / name, tmp_path)
    loaded = load_model(str(tmp_path))
    assert {parameter.dtype for parameter in loaded.parts.model.parameters()} == {torch.float32}
    rounded = model.transformer.h[0].attn.c_attn.weight.float()
    heads = loaded.decoder.layer(0).w_q
    assert (heads.transpose(1, 0, 2).reshape(32, 32) == rounded[:, :32].detach().numpy()).all()
    assert max(loaded.report.largest().values()) < 1e-5


def test_a_folder_without_a_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("[]")
    assert "tokenizer" in refusal(folder)


def test_the_fingerprint_is_of_content_alone(folder: Path, tmp_path: Path) -> None:
    elsewhere = Path(shutil.copytree(folder, tmp_path / "another name"))
    first = load_model(str(folder)).decoder.fingerprint
    assert load_model(str(elsewhere)).decoder.fingerprint == first
    tensors = load_file(elsewhere / "model.safetensors")
    tensors["transformer.wte.weight"][7, 7] += 1e-3
    save_file(tensors, elsewhere / "model.safetensors", metadata={"format": "pt"})
    assert load_model(str(elsewhere)).decoder.fingerprint != first


def test_the_command_line_says_it_in_one_message(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    done = flowatlas("model", "check", folder)
    assert done.code == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
