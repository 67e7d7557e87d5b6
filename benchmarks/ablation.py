"""Do the heads that the queries name matter to the model? Each is set to its mean and the target's logit is measured.

    python -m benchmarks.ablation [--quick] [--store URI]

For the demo model and its prompts on indirect objects and minimal pairs: every head's output at the
last position is replaced by its mean over the data set (mean ablation), in pairs also by what it is in
the corrupted prompt (patching), and the fall of the target's logit is compared with what
`top_heads_by_contribution`, `heads_always_promoting_target` and `minimal_pairs_mean` say of the head,
as Spearman's rank correlation. Reported, not asserted: heads also act through later layers, which
direct effects leave out.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import torch
from scipy.stats import spearmanr
from transformers import AutoTokenizer, GPT2LMHeadModel

from benchmarks.report import ratio
from flowatlas.resources import resource
from flowatlas.stores import open_store
from flowatlas.stores.base import Store
from query.run import run

_ROOT: Final = Path(__file__).resolve().parents[1]
Heads = dict[tuple[int, int], float]
Prompts = list[tuple[str, int]]


class Model:
    """The demo model with heads that can be replaced at the last position."""

    def __init__(self) -> None:
        folder = resource("demo_model")
        self.model = GPT2LMHeadModel.from_pretrained(folder, use_safetensors=True).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.layers, self.heads = self.model.config.n_layer, self.model.config.n_head

    def head_outputs(self, text: str) -> np.ndarray:
        """What every head gives at the last position, before W_O: layers x heads x d_head."""
        seen: list[np.ndarray] = []
        hooks = [
            block.attn.c_proj.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0, -1].numpy().copy()))
            for block in self.model.transformer.h
        ]
        self._logits(text)
        for hook in hooks:
            hook.remove()
        return np.stack(seen).reshape(self.layers, self.heads, -1)

    def logit(
        self, text: str, target: int, layer: int | None = None, head: int = 0, value: np.ndarray | None = None
    ) -> float:
        """The target's logit; with a layer, after its head was set to `value` at the last position."""
        if layer is None or value is None:
            return float(self._logits(text)[target])
        width = len(value)

        def replace(_: Any, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
            changed = inputs[0].clone()
            changed[0, -1, head * width : (head + 1) * width] = torch.from_numpy(value)
            return (changed,)

        hook = self.model.transformer.h[layer].attn.c_proj.register_forward_pre_hook(replace)
        try:
            return float(self._logits(text)[target])
        finally:
            hook.remove()

    @torch.no_grad()
    def _logits(self, text: str) -> torch.Tensor:
        logits: torch.Tensor = self.model(**self.tokenizer(text, return_tensors="pt")).logits[0, -1]
        return logits


def falls(model: Model, prompts: Prompts, instead: Sequence[np.ndarray]) -> Heads:
    """Mean fall of the target's logit over `prompts` when a head is set to what `instead` has for the prompt."""
    whole = np.array([model.logit(text, target) for text, target in prompts])
    return {
        (layer, head): float(
            np.mean(
                [
                    before - model.logit(text, target, layer, head, other[layer, head])
                    for before, (text, target), other in zip(whole, prompts, instead, strict=True)
                ]
            )
        )
        for layer in range(model.layers)
        for head in range(model.heads)
    }


def means(model: Model, prompts: Prompts) -> list[np.ndarray]:
    """The mean of every head over `prompts`, once for each of them."""
    return [np.mean([model.head_outputs(text) for text, _ in prompts], axis=0)] * len(prompts)


def said(store: Store, name: str, column: str, given: Mapping[str, object]) -> Heads:
    """What a named query says of every head."""
    rows = run(store, name, **given, limit=100_000).frame
    sign = -1.0 if column == "mean_change" else 1.0  # what changes less the clean prompt's: a fall is the other way round
    return {(layer, head): sign * value for layer, head, value in rows.select("layer", "head", column).rows()}


def agreement(measured: Heads, claimed: Heads) -> float:
    """Spearman's rank correlation; a head that a query does not list counts as 0."""
    heads = sorted(measured)
    return float(spearmanr([measured[h] for h in heads], [claimed.get(h, 0.0) for h in heads]).statistic)


def report(store: Store, limit: int) -> None:
    """Print the correlations and the heads behind them."""
    model = Model()
    prompts = pl.DataFrame(
        pl.from_arrow(
            store.read(
                "MATCH (p:Prompt) RETURN p.id AS id, p.text AS text, p.target_id AS target_id, p.dataset AS dataset, p.pair AS pair, p.role AS role ORDER BY id"
            )
        )
    )
    objects: Prompts = prompts.filter(pl.col("dataset") == "indirect_object").head(limit).select("text", "target_id").rows()
    measured = falls(model, objects, means(model, objects))
    for name, column in (
        ("top_heads_by_contribution", "mean_contribution"),
        ("heads_always_promoting_target", "share"),
    ):
        claimed = said(store, name, column, {"dataset": "indirect_object"})
        _print(f"{name}, {len(objects)} prompts", measured, claimed)
    texts = prompts.select("id", "text", "target_id")
    pairs = (
        run(store, "pairs", limit=100_000, dataset="indirect_object")
        .frame.select("clean", "corrupted")
        .join(texts, left_on="clean", right_on="id")
        .join(texts.select("id", other="text"), left_on="corrupted", right_on="id")
        .sort("clean")
        .head(limit)
    )
    if len(pairs):
        clean: Prompts = pairs.select("text", "target_id").rows()
        claimed = said(store, "minimal_pairs_mean", "mean_change", {"dataset": "indirect_object"})
        patched = falls(model, clean, [model.head_outputs(text) for text in pairs["other"]])
        _print(f"minimal_pairs_mean, {len(clean)} pairs, head of the corrupted prompt", patched, claimed)
        _print(f"minimal_pairs_mean, {len(clean)} pairs, mean", falls(model, clean, means(model, clean)), claimed)


def _print(name: str, measured: Heads, claimed: Heads) -> None:
    best = sorted(measured, key=lambda head: -measured[head])[:5]
    print(
        f"{name}: "
        + ", ".join(
            f"{layer}.{head} falls {measured[layer, head]:.2f} (said {claimed.get((layer, head), 0):.3g})"
            for layer, head in best
        )
    )
    ratio(f"rank correlation with ablation, {name}", agreement(measured, claimed))


def main() -> None:
    """Ingest the examples (or take a store of them) and report."""
    parser = argparse.ArgumentParser(description="Compare what queries say of heads with what ablation does.")
    parser.add_argument("--quick", action="store_true", help="twenty prompts of each kind")
    parser.add_argument("--store", help="a store that holds examples/prompts.jsonl under the demo model")
    options = parser.parse_args()
    limit = 20 if options.quick else 200
    with tempfile.TemporaryDirectory() as folder:
        uri = options.store or str(Path(folder) / "demo.lbug")
        if not options.store:
            words = ["ingest", str(_ROOT / "examples/prompts.jsonl"), "--model", "demo", "--store", uri]
            subprocess.run(
                [sys.executable, "-m", "flowatlas", *words],
                check=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        with open_store(uri) as store:
            report(store, limit)


if __name__ == "__main__":
    main()
