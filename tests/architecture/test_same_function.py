"""One function written as two architectures: both descriptions must lead to the same vectors."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from ingest.architecture.decoder import Forward, ForwardLayer
from ingest.architecture.load import LoadedModel, load_model
from support.models import byte_level_tokenizer, random_model, save_tokenizer

PROMPTS = [[5, 6, 7, 8, 9, 250], [17, 2], [3, 299, 3, 3, 77]]
D_HEAD = 8


def saved(model: PreTrainedModel, folder: Path) -> LoadedModel:
    model.save_pretrained(folder)
    save_tokenizer(folder, byte_level_tokenizer())
    return load_model(str(folder))


def same(one: LoadedModel, other: LoadedModel, *, but: tuple[str, ...] = ()) -> None:
    for mine, theirs in zip(one.capture(PROMPTS, "all"), other.capture(PROMPTS, "all"), strict=True):
        for name in ("token_embedding", "position_embedding", "embedding", "final_norm", "logits"):
            close(mine, theirs, name)
        for ours, others in zip(mine.layers, theirs.layers, strict=True):
            for field in fields(ForwardLayer):
                if field.name not in but:
                    close(ours, others, field.name)


def close(one: Forward | ForwardLayer, other: Forward | ForwardLayer, name: str) -> None:
    mine, theirs = getattr(one, name), getattr(other, name)
    assert (mine is None) == (theirs is None), name
    if mine is not None:
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-4, err_msg=name)


def gpt2_without_qkv_bias(folder: Path) -> tuple[Path, PreTrainedModel]:
    source = random_model("gpt2", folder)
    model = AutoModelForCausalLM.from_pretrained(source)
    with torch.no_grad():
        for block in model.transformer.h:
            block.attn.c_attn.bias.zero_()
    model.save_pretrained(source)
    return source, model


def transformer(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_gpt2_as_gpt_neo(tmp_path: Path) -> None:
    """GPT-Neo does not divide by sqrt(d): its queries are made that much shorter."""
    source, gpt2 = gpt2_without_qkv_bias(tmp_path)
    config = AutoConfig.for_model(
        "gpt_neo", vocab_size=300, hidden_size=32, num_layers=2, num_heads=4, intermediate_size=80,
        attention_types=[[["global"], 2]], max_position_embeddings=64, activation_function="gelu_new",
        layer_norm_epsilon=gpt2.config.layer_norm_epsilon, tie_word_embeddings=False, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    neo = AutoModelForCausalLM.from_config(config).eval()
    tensors = transformer(gpt2)
    for layer in range(2):
        old, new = f"transformer.h.{layer}.attn", f"transformer.h.{layer}.attn.attention"
        q, k, v = tensors.pop(f"{old}.c_attn.weight").split(32, dim=1)
        tensors |= {f"{new}.q_proj.weight": q.T / D_HEAD**0.5, f"{new}.k_proj.weight": k.T, f"{new}.v_proj.weight": v.T}
        tensors[f"{new}.out_proj.weight"] = tensors.pop(f"{old}.c_proj.weight").T
        tensors[f"{new}.out_proj.bias"] = tensors.pop(f"{old}.c_proj.bias")
        del tensors[f"{old}.c_attn.bias"]
        for name in ("c_fc", "c_proj"):
            tensors[f"transformer.h.{layer}.mlp.{name}.weight"] = tensors[f"transformer.h.{layer}.mlp.{name}.weight"].T
    missing = neo.load_state_dict(tensors, strict=False)
    assert not missing.unexpected_keys
    assert all("attention.bias" in key for key in missing.missing_keys)
    same(load_model(str(source)), saved(neo, tmp_path / "neo"), but=("query",))


def test_gpt2_as_opt(tmp_path: Path) -> None:
    """OPT's positions begin two rows further down, and its MLP lies on the layer."""
    source = random_model("gpt2", tmp_path)
    gpt2 = AutoModelForCausalLM.from_pretrained(source)
    config = AutoConfig.for_model(
        "opt", vocab_size=300, hidden_size=32, word_embed_proj_dim=32, num_hidden_layers=2, num_attention_heads=4,
        ffn_dim=80, max_position_embeddings=64, activation_function="gelu_new", tie_word_embeddings=False,
        bos_token_id=0, eos_token_id=0, pad_token_id=None,
    )  # fmt: skip
    opt = AutoModelForCausalLM.from_config(config).eval()
    old, new = transformer(gpt2), {}
    decoder = "model.decoder"
    new[f"{decoder}.embed_tokens.weight"] = old["transformer.wte.weight"]
    new[f"{decoder}.embed_positions.weight"] = torch.cat([torch.zeros(2, 32), old["transformer.wpe.weight"]])
    new["lm_head.weight"] = old["lm_head.weight"]
    for part in ("weight", "bias"):
        new[f"{decoder}.final_layer_norm.{part}"] = old[f"transformer.ln_f.{part}"]
        for layer in range(2):
            block, target = f"transformer.h.{layer}", f"{decoder}.layers.{layer}"
            fused = old[f"{block}.attn.c_attn.{part}"].split(32, dim=-1)
            for name, tensor in zip(("q_proj", "k_proj", "v_proj"), fused, strict=True):
                new[f"{target}.self_attn.{name}.{part}"] = tensor.T if part == "weight" else tensor
            for name, path in (("self_attn.out_proj", "attn.c_proj"), ("fc1", "mlp.c_fc"), ("fc2", "mlp.c_proj")):
                tensor = old[f"{block}.{path}.{part}"]
                new[f"{target}.{name}.{part}"] = tensor.T if part == "weight" else tensor
            new[f"{target}.self_attn_layer_norm.{part}"] = old[f"{block}.ln_1.{part}"]
            new[f"{target}.final_layer_norm.{part}"] = old[f"{block}.ln_2.{part}"]
    opt.load_state_dict(new)
    same(load_model(str(source)), saved(opt, tmp_path / "opt"))


def test_grouped_heads_and_their_ungrouped_copy(tmp_path: Path) -> None:
    source = random_model("llama", tmp_path)
    grouped = AutoModelForCausalLM.from_pretrained(source)
    config = AutoConfig.from_pretrained(source)
    config.num_key_value_heads = 4
    copy = AutoModelForCausalLM.from_config(config).eval()
    tensors = {
        name: tensor.unflatten(0, (2, D_HEAD)).repeat_interleave(2, dim=0).flatten(0, 1)
        if "k_proj" in name or "v_proj" in name
        else tensor
        for name, tensor in transformer(grouped).items()
    }
    copy.load_state_dict(tensors)
    one, other = load_model(str(source)), saved(copy, tmp_path / "copy")
    assert (one.decoder.n_kv_head, other.decoder.n_kv_head) == (2, 4)
    same(one, other, but=("key", "value"))
    for mine, theirs in zip(one.capture(PROMPTS), other.capture(PROMPTS), strict=True):
        for ours, others in zip(mine.layers, theirs.layers, strict=True):
            for name in ("key", "value"):
                np.testing.assert_allclose(np.repeat(getattr(ours, name), 2, axis=1), getattr(others, name), atol=1e-5)


def test_gpt_neox_head_by_head_and_llama_like_projections(tmp_path: Path) -> None:
    """A fused projection and the same split in three: Phi's blocks against GPT-NeoX's, both in parallel."""
    source = random_model("gpt_neox, parallel", tmp_path, rotary_pct=0.5, hidden_act="gelu_new", layer_norm_eps=1e-5)
    neox = AutoModelForCausalLM.from_pretrained(source)
    with torch.no_grad():
        for layer in neox.gpt_neox.layers:
            layer.post_attention_layernorm.load_state_dict(layer.input_layernorm.state_dict())
    neox.save_pretrained(source)
    config = AutoConfig.for_model(
        "phi", vocab_size=300, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
        max_position_embeddings=64, partial_rotary_factor=0.5, hidden_act="gelu_new", layer_norm_eps=1e-5,
        tie_word_embeddings=False, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    phi = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        phi.model.embed_tokens.weight.copy_(neox.gpt_neox.embed_in.weight)
        phi.model.final_layernorm.load_state_dict(neox.gpt_neox.final_layer_norm.state_dict())
        phi.lm_head.weight.copy_(neox.get_output_embeddings().weight)
        phi.lm_head.bias.zero_()
        for old, new in zip(neox.gpt_neox.layers, phi.model.layers, strict=True):
            new.input_layernorm.load_state_dict(old.input_layernorm.state_dict())
            for part in ("weight", "bias"):
                fused = getattr(old.attention.query_key_value, part).unflatten(0, (4, 3, D_HEAD))
                for index, name in enumerate(("q_proj", "k_proj", "v_proj")):
                    getattr(getattr(new.self_attn, name), part).copy_(fused[:, index].flatten(0, 1))
            new.self_attn.dense.load_state_dict(old.attention.dense.state_dict())
            new.mlp.fc1.load_state_dict(old.mlp.dense_h_to_4h.state_dict())
            new.mlp.fc2.load_state_dict(old.mlp.dense_4h_to_h.state_dict())
    same(load_model(str(source)), saved(phi, tmp_path / "phi"))
