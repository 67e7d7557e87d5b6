"""Measure the demo model: what it knows, where in the layers it knows it, and which heads say it.

    python examples/demo_model/evaluate.py [--model FOLDER] [--json FILE]

Knowing means: the first token of the true answer is the model's first guess after the prompt.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import facts
import indirect_object
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2LMHeadModel,
    PreTrainedTokenizerBase,
)

BATCH = 128
TOP = 10
UNSEEN_PAIRS = 300


@dataclass(frozen=True)
class Question:
    text: str
    answer: str
    group: str


@dataclass(frozen=True)
class Trace:
    """Ranks of the answer (1 = first) at the last position: after every layer, and per head."""

    residual: torch.Tensor  # (questions, layers + 1): embedding first, last layer last
    head: torch.Tensor  # (questions, layers, heads)

    @property
    def correct(self) -> torch.Tensor:
        return self.residual[:, -1] == 1


def load(folder: Path) -> tuple[GPT2LMHeadModel, PreTrainedTokenizerBase]:
    model = AutoModelForCausalLM.from_pretrained(
        folder, use_safetensors=True, trust_remote_code=False, dtype=torch.float32
    )
    assert isinstance(model, GPT2LMHeadModel)
    model.requires_grad_(requires_grad=False).train(mode=False)
    return model, AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def fact_questions(prompts: Sequence[facts.FactPrompt]) -> list[Question]:
    return [Question(p.text, p.fact.answer, p.fact.relation) for p in prompts]


def indirect_object_questions(
    prompts: Sequence[indirect_object.IndirectObjectPrompt],
) -> list[Question]:
    return [Question(p.text, p.answer, p.template) for p in prompts]


def _ranks(model: GPT2LMHeadModel, vectors: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Rank of the target under the logit lens: the model's final norm and unembedding."""
    logits: torch.Tensor = model.lm_head(model.transformer.ln_f(vectors))
    index = target.view(-1, *[1] * (logits.dim() - 1)).expand(*logits.shape[:-1], 1)
    return (logits > logits.gather(-1, index)).sum(-1) + 1


def _batch_trace(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase, questions: Sequence[Question]) -> Trace:
    encoded = tokenizer([q.text for q in questions], padding=True, return_tensors="pt")
    rows = torch.arange(len(questions))
    last = encoded["attention_mask"].sum(-1) - 1
    target = torch.tensor([tokenizer.encode(f" {q.answer}")[0] for q in questions])

    residuals: list[torch.Tensor] = []
    heads: list[torch.Tensor] = []
    hooks = []
    blocks: list[Any] = list(model.transformer.h)
    for block in blocks:
        # What enters the output projection is every head's output, side by side.
        hooks.append(block.attn.c_proj.register_forward_pre_hook(lambda _, inputs: heads.append(inputs[0][rows, last])))
        hooks.append(block.register_forward_pre_hook(lambda _, inputs: residuals.append(inputs[0][rows, last])))
    hooks.append(
        model.transformer.ln_f.register_forward_pre_hook(lambda _, inputs: residuals.append(inputs[0][rows, last]))
    )
    model.transformer(input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"])
    for hook in hooks:
        hook.remove()

    head_count = model.config.n_head
    moved = []
    for block, side_by_side in zip(blocks, heads, strict=True):
        split = side_by_side.view(len(questions), head_count, -1)
        through = block.attn.c_proj.weight.view(head_count, split.shape[-1], -1)
        moved.append(torch.einsum("qhd,hdm->qhm", split, through))
    return Trace(
        residual=_ranks(model, torch.stack(residuals, dim=1), target),
        head=_ranks(model, torch.stack(moved, dim=1), target),
    )


def _batches(questions: Sequence[Question]) -> Iterator[Sequence[Question]]:
    for start in range(0, len(questions), BATCH):
        yield questions[start : start + BATCH]


@torch.inference_mode()
def trace(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase, questions: Sequence[Question]) -> Trace:
    parts = [_batch_trace(model, tokenizer, batch) for batch in _batches(questions)]
    return Trace(
        residual=torch.cat([part.residual for part in parts]),
        head=torch.cat([part.head for part in parts]),
    )


@dataclass(frozen=True)
class Report:
    """What was measured on one set of questions."""

    questions: int
    top_1: float
    by_group: dict[str, float]
    mean_rank: list[float]
    some_head: float  # share of the questions where some head has the answer in its top
    best_heads: dict[str, float]


def _share(mask: torch.Tensor) -> float:
    return round(mask.float().mean().item(), 4)


def report(questions: Sequence[Question], found: Trace, heads: int = 6) -> Report:
    groups = dict.fromkeys(question.group for question in questions)
    members = {group: torch.tensor([question.group == group for question in questions]) for group in groups}
    in_top = (found.head <= TOP).float().mean(0)
    order = in_top.flatten().argsort(descending=True)[:heads].tolist()
    width = in_top.shape[1]
    return Report(
        questions=len(questions),
        top_1=_share(found.correct),
        by_group={group: _share(found.correct[rows]) for group, rows in members.items()},
        mean_rank=[round(rank, 1) for rank in found.residual.float().mean(0).tolist()],
        some_head=_share(found.head.flatten(1).min(dim=1).values <= TOP),
        best_heads={f"{index // width}.{index % width}": round(in_top.flatten()[index].item(), 3) for index in order},
    )


def evaluate(folder: Path) -> dict[str, Report]:
    model, tokenizer = load(folder)
    trained, held_out = facts.split_prompts()
    sets = {
        "facts": fact_questions(trained),
        "facts in a phrasing held out": fact_questions(held_out),
        "name pairs held out": indirect_object_questions(indirect_object.held_out_prompts(UNSEEN_PAIRS)),
    }
    return {name: report(questions, trace(model, tokenizer, questions)) for name, questions in sets.items()}


def _print(name: str, measured: Report) -> None:
    print(f"{name}: {measured.questions} prompts, top-1 {measured.top_1:.1%}")
    for group, share in measured.by_group.items():
        print(f"    {share:7.1%}  {group}")
    print(f"    mean rank, embedding to last layer: {measured.mean_rank}")
    print(f"    some head has the answer in its top {TOP}: {measured.some_head:.1%}")
    print(f"    heads (layer.head) that do, and how often: {measured.best_heads}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the demo model.")
    parser.add_argument("--model", type=Path, default=Path(__file__).resolve().parent)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    reports = evaluate(options.model)
    for name, measured in reports.items():
        _print(name, measured)
    if options.json:
        numbers = {name: asdict(measured) for name, measured in reports.items()}
        options.json.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
