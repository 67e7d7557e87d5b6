"""Train the demo model: a small GPT-2 that knows some facts and finds the indirect object.

    python examples/demo_model/train.py [--out FOLDER] [--steps N]

Takes about five minutes on two idle CPU cores. The same machine and versions give the same model.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from corpus import END_OF_TEXT, Corpus, tokenizer_texts
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from torch.utils.hooks import RemovableHandle
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

SEED = 0
VOCABULARY = 2048
POSITIONS = 64
BATCH = 64
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.05
WARM_UP = 50
# How often training leaves out each layer's MLP. Without it the MLPs at the last position decode
# what the heads bring in a code of their own; with it the heads write the answer itself, which the
# logit lens can read. The first layer's MLP, where a subject's tokens become the subject, stays.
MLP_SKIP_RATES = (0.0, 0.4, 0.6, 0.6)
IGNORED = -100


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE learned from the corpus."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(tokenizer_texts(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        unk_token=END_OF_TEXT,
        model_max_length=POSITIONS,
        clean_up_tokenization_spaces=False,
    )


def build_model(tokenizer: PreTrainedTokenizerFast) -> GPT2LMHeadModel:
    end = tokenizer.eos_token_id
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_positions=POSITIONS,
            n_embd=128,
            n_layer=4,
            n_head=4,
            n_inner=512,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=end,
            eos_token_id=end,
            pad_token_id=end,
        )
    )


def encode(tokenizer: PreTrainedTokenizerFast, documents: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids padded on the right, and labels that ignore the padding."""
    rows = [ids[:POSITIONS] for ids in tokenizer(documents)["input_ids"]]
    width = max(len(row) for row in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    labels = torch.full((len(rows), width), IGNORED)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = labels[index, : len(row)] = torch.tensor(row)
    return ids, labels


def skip_mlps_at_random(model: GPT2LMHeadModel) -> list[RemovableHandle]:
    """Stochastic depth on the MLPs, drawn for every document; no effect on a model in eval mode."""

    def hook_for(rate: float) -> Callable[[nn.Module, object, torch.Tensor], torch.Tensor]:
        def hook(mlp: nn.Module, _: object, output: torch.Tensor) -> torch.Tensor:
            if not mlp.training:
                return output
            kept = torch.rand(output.shape[0], 1, 1) >= rate
            return output * kept / (1.0 - rate)

        return hook

    blocks: list[Any] = list(model.transformer.h)
    return [block.mlp.register_forward_hook(hook_for(rate)) for block, rate in zip(blocks, MLP_SKIP_RATES, strict=True)]


def train(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, steps: int) -> float:
    """Train in place and return the seconds it took."""
    corpus = Corpus(seed=SEED)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / WARM_UP, 1.0) * max(1.0 - step / steps, 0.0)
    )
    started = time.monotonic()
    hooks = skip_mlps_at_random(model)
    model.train()
    for step in range(steps):
        ids, labels = encode(tokenizer, corpus.batch(BATCH))
        # Padding is on the right: causal attention keeps it from the tokens that count.
        loss = model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps - 1:
            print(f"step {step:5d}  loss {loss.item():.3f}  {time.monotonic() - started:.0f} s")
    model.eval()
    for hook in hooks:
        hook.remove()
    return time.monotonic() - started


def save(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write weights, config and tokenizer so that the Auto classes load the same things."""
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    # Named outright: from config.json alone AutoTokenizer would build GPT-2's own tokenizer.
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    path.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the demo model.")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent)
    parser.add_argument("--steps", type=int, default=2000)
    options = parser.parse_args()

    torch.manual_seed(SEED)
    torch.set_num_threads(2)
    tokenizer = build_tokenizer()
    model = build_model(tokenizer)
    seconds = train(model, tokenizer, options.steps)
    options.out.mkdir(parents=True, exist_ok=True)
    save(model, tokenizer, options.out)
    print(f"trained {options.steps} steps in {seconds:.0f} s: {options.out}")


if __name__ == "__main__":
    main()
