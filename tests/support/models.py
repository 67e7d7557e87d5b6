"""Small random models on disk, with every bias and norm weight randomised so that nothing hides at 0 or 1."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

VOCABULARY = 300
_COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": None,
    "tie_word_embeddings": False,
}
_ROTARY = _COMMON | {"intermediate_size": 48, "num_key_value_heads": 2, "max_position_embeddings": 64}
_FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2": _COMMON | {"n_positions": 64, "n_inner": 80},
    "llama": _ROTARY | {"attention_bias": True, "mlp_bias": True},
}


def random_model(family: str, folder: Path, seed: int = 0, **overrides: Any) -> Path:
    """A random model of `family` with a byte-level BPE tokenizer, saved under `folder`; returns its folder.

    `overrides` are fields of the model's config. Weights are large enough that attention, nonlinearities
    and norms are far from linear.
    """
    torch.manual_seed(seed)
    fields = _FAMILIES.get(family, _ROTARY) | overrides
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **fields))
    randomize(model)
    target = folder / f"{family}-{len(list(folder.glob('*'))) if folder.exists() else 0}"
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
