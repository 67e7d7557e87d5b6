"""Seconds a prompt by family at equal size: the model's own forward pass, its capture, and the whole graph.

    python -m benchmarks.families [--quick] [FAMILY ...]

Every family gets the same layers, widths, heads, neurons and vocabulary, and random weights.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import tokenizers
import torch
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from benchmarks.report import ratio
from ingest.architecture.description import files
from ingest.architecture.load import LoadedModel, load_model, quiet
from ingest.lens.lens import LogitLens
from ingest.neurons import TargetRanks
from ingest.pipeline.batch import Workshop, graph_tables
from ingest.pipeline.prepare import Choices, Prepared, prepare
from ingest.prompts import PromptInput

TOKENS: Final = 15
PROMPTS: Final = 8
QUICK: Final = ("gpt2", "gptj", "llama", "mixtral")


def main() -> None:
    """Measure every family, print a line each, and how each compares with GPT-2."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"small, and only {', '.join(QUICK)}")
    parser.add_argument("families", nargs="*", help="which ones; default: all")
    options = parser.parse_args()
    quiet()
    families = options.families or (list(QUICK) if options.quick else list(files()))
    size = sizes(64, 512) if options.quick else sizes(256, 8000)
    whole: dict[str, float] = {}
    print(f"{'seconds a prompt':<16} {'forward':>9} {'capture':>9} {'graph':>9}")
    for family in families:
        with tempfile.TemporaryDirectory() as folder:
            model = random_model(family, size, Path(folder))
            forward, captured, graph = measure(model)
        whole[family] = graph
        print(f"{family:<16} {forward:>9.5f} {captured:>9.5f} {graph:>9.5f}", flush=True)
    for family in families:
        ratio(f"families: graph of a prompt, {family} / {families[0]}", whole[family] / whole[families[0]])


def sizes(width: int, vocabulary: int) -> dict[str, Any]:
    """The fields of a config that make every family equally large."""
    return {
        "vocab_size": vocabulary, "hidden_size": width, "num_hidden_layers": 6, "num_attention_heads": 8,
        "num_key_value_heads": 8, "num_kv_heads": 8, "head_dim": width // 8, "rotary_dim": width // 16,
        "intermediate_size": 4 * width, "n_inner": 4 * width, "ffn_dim": 4 * width, "ffn_hidden_size": 4 * width,
        "moe_intermediate_size": 4 * width, "num_local_experts": 4, "num_experts": 4, "num_experts_per_tok": 2,
        "word_embed_proj_dim": width, "attention_types": [[["global", "local"], 3]], "max_position_embeddings": 64,
        "sliding_window": 64, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None, "tie_word_embeddings": False,
    }  # fmt: skip


def random_model(family: str, size: dict[str, Any], folder: Path) -> LoadedModel:
    """A model with random weights and a tokenizer of whole words, saved and loaded."""
    torch.manual_seed(0)
    # Falcon works its head width out itself.
    fields = {name: value for name, value in size.items() if not _is_computed(family, name)}
    AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **fields)).save_pretrained(folder)
    vocabulary = {f"w{number}": number for number in range(size["vocab_size"])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="w0"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="w0").save_pretrained(folder)
    return load_model(str(folder))


def _is_computed(family: str, field: str) -> bool:
    """Whether a config has a field that cannot be given."""
    return isinstance(getattr(CONFIG_MAPPING[family], field, None), property)


def measure(model: LoadedModel) -> tuple[float, float, float]:
    """Seconds a prompt of the plain forward pass, of its capture and of the whole graph."""
    draw = np.random.default_rng(0)
    batch = draw.integers(1, model.decoder.vocab_size, (PROMPTS, TOKENS))
    ids = torch.from_numpy(batch)
    lens = LogitLens.of(model.decoder)
    workshop = Workshop(model, lens, TargetRanks(model.decoder, lens), Choices(), threads=torch.get_num_threads())
    texts = [" ".join(f"w{token}" for token in row) for row in batch.tolist()]
    found = [prepare(PromptInput(text=text, where=""), model, workshop.choices) for text in texts]
    prepared = [one for one in found if isinstance(one, Prepared)]

    def plain() -> None:
        with torch.inference_mode():
            model.parts.model(input_ids=ids, use_cache=False)

    return (
        seconds(plain) / PROMPTS,
        seconds(lambda: model.capture(batch.tolist(), "last")) / PROMPTS,
        seconds(lambda: graph_tables(workshop, prepared)) / PROMPTS,
    )


def seconds(work: Callable[[], object]) -> float:
    """The quickest of three runs, after one that warms up."""
    work()
    times = []
    for _ in range(3):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


if __name__ == "__main__":
    main()
