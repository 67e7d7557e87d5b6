"""A model wired by hand, whose figures are known: a head that copies what it attends to, a neuron that is always on."""

from __future__ import annotations

from pathlib import Path

import tokenizers
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from support.models import save_tokenizer

WORDS = ["[UNK]", "the", "capital", "of", "Japan", "is", "city", "Tokyo", "France", "Paris", "a", "in"]
SUBJECT = "Japan"
NEURON = 5
ROGUE = 2


def copying_model(folder: Path, *, always_on: float = 0.0) -> Path:
    """One layer, one head. Embeddings are unit vectors; the query always asks for `SUBJECT`; W_V and W_O
    are the identity, so what the head reads is written back as it was. The MLP writes nothing, but with
    `always_on` its neuron `NEURON` is active in every prompt and has that one entry, at dimension `ROGUE`."""
    n = len(WORDS)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=n, n_positions=16, n_embd=n, n_layer=1, n_head=1, n_inner=8))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0 if "ln" in name and name.endswith("weight") else 0.0)
        block = model.transformer.h[0]
        model.transformer.wte.weight.copy_(torch.eye(n))
        block.attn.c_attn.weight[:, n : 2 * n] = torch.eye(n)
        block.attn.c_attn.weight[:, 2 * n :] = torch.eye(n)
        block.attn.c_attn.bias[WORDS.index(SUBJECT)] = 40.0
        block.attn.c_proj.weight.copy_(torch.eye(n))
        if always_on:
            block.mlp.c_fc.bias[NEURON] = 9.0
            block.mlp.c_proj.weight[NEURON, ROGUE] = always_on
    model.save_pretrained(folder)
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    save_tokenizer(folder, words, unk_token="[UNK]")
    return folder
