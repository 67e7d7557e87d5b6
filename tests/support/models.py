"""Small random models on disk, with every bias and norm weight randomised so that nothing hides at 0 or 1."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

logging.disable_progress_bar()

VOCABULARY = 300
_COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": None,
    "tie_word_embeddings": False,
    "max_position_embeddings": 64,
}
_ROTARY = _COMMON | {"intermediate_size": 48, "num_key_value_heads": 2}
_EXPERTS = _ROTARY | {"num_local_experts": 4, "num_experts": 4, "num_experts_per_tok": 2}
_FALCON = _COMMON | {"ffn_hidden_size": 48}

SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", _COMMON | {"n_inner": 80}),
    "gpt2, scaled by layer": ("gpt2", _COMMON | {"scale_attn_by_inverse_layer_idx": True, "tie_word_embeddings": True}),
    "gptj": ("gptj", _COMMON | {"rotary_dim": 4, "n_inner": 48}),
    "gpt_neo": (
        "gpt_neo",
        _COMMON | {"attention_types": [[["global", "local"], 1]], "window_size": 3, "intermediate_size": 48},
    ),
    "gpt_neox, parallel": ("gpt_neox", _COMMON | {"intermediate_size": 48, "use_parallel_residual": True}),
    "gpt_neox, sequential": ("gpt_neox", _COMMON | {"intermediate_size": 48, "use_parallel_residual": False}),
    "opt": ("opt", _COMMON | {"ffn_dim": 48, "word_embed_proj_dim": 32}),
    "opt, as 350m": (
        "opt",
        _COMMON
        | {"ffn_dim": 48, "word_embed_proj_dim": 20, "do_layer_norm_before": False, "tie_word_embeddings": True},
    ),
    "bloom": ("bloom", _COMMON),
    "llama": ("llama", _ROTARY | {"attention_bias": True, "mlp_bias": True}),
    "llama, odd heads, tied": (
        "llama",
        _ROTARY
        | {"hidden_size": 30, "head_dim": 14, "num_attention_heads": 6, "num_key_value_heads": 2}
        | {"tie_word_embeddings": True},
    ),
    "llama, yarn": (
        "llama",
        _ROTARY
        | {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4}}
        | {"max_position_embeddings": 256},
    ),
    "mistral": ("mistral", _ROTARY | {"sliding_window": 4}),
    "mixtral": ("mixtral", _EXPERTS),
    "qwen2": ("qwen2", _ROTARY),
    "qwen3": ("qwen3", _ROTARY | {"head_dim": 12}),
    "gemma": ("gemma", _ROTARY | {"head_dim": 10}),
    "gemma2": ("gemma2", _ROTARY | {"head_dim": 10, "sliding_window": 4, "query_pre_attn_scalar": 24}),
    "gemma3_text": ("gemma3_text", _ROTARY | {"head_dim": 10, "sliding_window": 4, "num_hidden_layers": 3}),
    "phi": ("phi", _ROTARY | {"num_key_value_heads": 4, "partial_rotary_factor": 0.5}),
    "phi, grouped, qk-norm": ("phi", _ROTARY | {"partial_rotary_factor": 0.5, "qk_layernorm": True}),
    "phi3": ("phi3", _ROTARY),
    "stablelm": ("stablelm", _ROTARY | {"use_qkv_bias": True}),
    "stablelm, parallel, qk-norm": ("stablelm", _ROTARY | {"use_parallel_residual": True, "qk_layernorm": True}),
    "starcoder2": ("starcoder2", _ROTARY | {"use_bias": True}),
    "falcon, 7b": ("falcon", _FALCON | {"multi_query": True, "parallel_attn": True, "bias": False}),
    "falcon, new": (
        "falcon",
        _FALCON | {"new_decoder_architecture": True, "num_kv_heads": 2, "bias": False, "parallel_attn": True},
    ),
    "falcon, new, one norm": (
        "falcon",
        _FALCON
        | {"new_decoder_architecture": True, "num_kv_heads": 2, "num_ln_in_parallel_attn": 1, "parallel_attn": True},
    ),
    "falcon, rw": (
        "falcon",
        _FALCON | {"multi_query": False, "parallel_attn": False, "alibi": True, "bias": True},
    ),
    "granite": (
        "granite",
        _ROTARY
        | {"embedding_multiplier": 3.0, "residual_multiplier": 0.4, "logits_scaling": 2.5}
        | {"attention_multiplier": 0.2, "attention_bias": True, "mlp_bias": True},
    ),
    "olmo2": ("olmo2", _ROTARY | {"attention_bias": True}),
    "smollm3": ("smollm3", _ROTARY | {"no_rope_layer_interval": 2}),
    "seed_oss": ("seed_oss", _ROTARY | {"head_dim": 10, "attention_bias": True, "attention_out_bias": True}),
    "ministral": (
        "ministral",
        _ROTARY | {"head_dim": 8, "sliding_window": 4, "layer_types": ["full_attention", "sliding_attention"]},
    ),
    "helium": ("helium", _ROTARY | {"head_dim": 8}),
    "ernie4_5": ("ernie4_5", _ROTARY | {"use_bias": True, "head_dim": 8}),
    "cwm": ("cwm", _ROTARY | {"head_dim": 8, "sliding_window": 4}),
    "arcee": ("arcee", _ROTARY | {"mlp_bias": True}),
    "nemotron": ("nemotron", _ROTARY | {"attention_bias": True, "mlp_bias": True}),
    "apertus": ("apertus", _ROTARY),
    "olmo": ("olmo", _ROTARY),
    "olmo, clipped": ("olmo", _ROTARY | {"clip_qkv": 0.8}),
    "olmo3": ("olmo3", _ROTARY | {"sliding_window": 4}),
    "exaone4": ("exaone4", _ROTARY | {"sliding_window": 4}),
    "qwen3_moe": ("qwen3_moe", _EXPERTS | {"moe_intermediate_size": 24, "head_dim": 12, "norm_topk_prob": True}),
    "olmoe": ("olmoe", _EXPERTS | {"clip_qkv": 1.5}),
    "granitemoe": (
        "granitemoe",
        _EXPERTS | {"embedding_multiplier": 3.0, "residual_multiplier": 0.4, "logits_scaling": 2.5},
    ),
    "glm": ("glm", _ROTARY | {"head_dim": 8, "attention_bias": True}),
    "glm4": ("glm4", _ROTARY | {"head_dim": 8, "attention_bias": True}),
    "cohere": ("cohere", _ROTARY | {"logit_scale": 0.3}),
    "cohere, qk-norm": ("cohere", _ROTARY | {"logit_scale": 0.3, "use_qk_norm": True}),
    "cohere2": ("cohere2", _ROTARY | {"head_dim": 8, "sliding_window": 4}),
    "gpt_bigcode": ("gpt_bigcode", _COMMON | {"n_inner": 48}),
    "gpt_bigcode, many keys": ("gpt_bigcode", _COMMON | {"n_inner": 48, "multi_query": False}),
    "persimmon": ("persimmon", _ROTARY | {"qk_layernorm": True, "partial_rotary_factor": 0.5}),
    "biogpt": ("biogpt", _ROTARY),
    "vaultgemma": ("vaultgemma", _ROTARY | {"head_dim": 10, "sliding_window": 4}),
    "internlm3": ("internlm3", _ROTARY | {"head_dim": 8, "qkv_bias": True, "bias": True}),
    "jais2": ("jais2", _ROTARY | {"head_dim": 8}),
    "phimoe": ("phimoe", _EXPERTS | {"attention_bias": True, "lm_head_bias": True}),
    "minimax_m2": ("minimax_m2", _EXPERTS | {"head_dim": 12}),
    "flex_olmo": ("flex_olmo", _EXPERTS),
    "hyperclovax": (
        "hyperclovax",
        _ROTARY
        | {"head_dim": 8, "embedding_multiplier": 3.0, "residual_multiplier": 0.4, "logits_scaling": 2.5}
        | {"use_post_norm": True},
    ),
}
"""Every shape that tests run: its name, its family and the fields of its config."""

LIKE_ANOTHER = {
    *("qwen2", "smollm3", "seed_oss", "ministral", "helium", "ernie4_5", "cwm", "arcee", "glm", "olmo3"),
    *("llama, odd heads, tied", "gpt2, scaled by layer", "phi", "olmo", "falcon, new, one norm", "cohere", "cohere2"),
    *("gpt_bigcode", "biogpt", "nemotron", "exaone4", "gemma", "qwen3_moe", "granitemoe", "apertus"),
    *("vaultgemma", "internlm3", "jais2", "phimoe", "minimax_m2"),
}
"""Shapes whose description has the same fields as that of another one, which stands for them in the slower tests."""


def random_model(family: str, folder: Path, seed: int = 0, **overrides: Any) -> Path:
    """A random model of `family` (a name in SHAPES) with a byte-level BPE tokenizer, saved under `folder`; returns its folder.

    `overrides` are fields of the model's config. Weights are large enough that attention, nonlinearities
    and norms are far from linear.
    """
    torch.manual_seed(seed)
    name, base = SHAPES[family]
    fields = base | overrides
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **fields))
    randomize(model)
    target = folder / f"{name}-{len(list(folder.glob('*'))) if folder.exists() else 0}"
    model.save_pretrained(target)
    save_tokenizer(target, byte_level_tokenizer(int(model.config.vocab_size)))
    return target


def randomize(model: torch.nn.Module) -> None:
    """Draw every parameter: matrices of a sensible scale, biases and norm weights off their defaults."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 and not name.endswith("bias"):
                parameter.copy_(0.6 + 0.8 * torch.rand_like(parameter))
            elif parameter.ndim == 1:
                parameter.copy_(0.5 * torch.randn_like(parameter))
            else:
                parameter.copy_(torch.randn_like(parameter) * 1.5 / parameter.shape[-1] ** 0.5)


def byte_level_tokenizer(size: int = VOCABULARY) -> Tokenizer:
    """A byte-level BPE tokenizer of `size` tokens: the end of text, all bytes, then merges of frequent pairs."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = ["Ġthe", "Ġof", "Ġis", "Ġcapital", "ĠJapan", "ĠTokyo", "ĠParis", "ĠFrance", "ĠThe", "Ġcity", "ĠMary", "Ġto"]
    vocabulary = {"<|endoftext|>": 0} | {character: index + 1 for index, character in enumerate(alphabet)}
    merges: list[tuple[str, str]] = []
    for word in words:
        left = word[0]
        for right in word[1:]:
            if (left, right) not in merges and left + right not in vocabulary and len(vocabulary) < size:
                merges.append((left, right))
                vocabulary[left + right] = len(vocabulary)
            left += right
    while len(vocabulary) < size:
        left, right = alphabet[len(vocabulary) % 26 + 40], alphabet[len(vocabulary) // 26 % 26 + 40]
        token = left + right + "q" * (left + right in vocabulary)
        vocabulary.setdefault(token if token not in vocabulary else f"{token}{len(vocabulary)}", len(vocabulary))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def save_tokenizer(folder: Path, tokenizer: Tokenizer, **special: str) -> None:
    """Write tokenizer.json and tokenizer_config.json."""
    special = special or {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)


def edit_json(path: Path, **changes: Any) -> None:
    """Change fields of a JSON file; a value of None takes the field away."""
    content = json.loads(path.read_text("utf-8")) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}), "utf-8")
