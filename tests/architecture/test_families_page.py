"""`docs/families.md` says what is measured here; FLOWATLAS_WRITE_DOCS=1 writes it again."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from ingest.architecture.load import LoadedModel, load_model
from support.models import SHAPES, random_model

PAGE = Path(__file__).parents[2] / "docs" / "families.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
COLUMNS = {
    "norms": ("attention norm", "attention post-norm", "mlp norm", "mlp post-norm", "final norm"),
    "queries, keys, values": ("query", "key", "value"),
    "rows sum to 1": ("attention rows",),
    "values x attention = head": ("heads",),
    "heads + bias = attention": ("attention output",),
    "neurons + bias = MLP": ("mlp gate", "mlp up", "mlp coefficients", "mlp output"),
    "residual sums": ("embeddings", "residual after attention", "residual"),
    "final lens = logits": ("logits", "own attention"),
    "contributions": ("contributions",),
}
PROMPTS = [[5, 6, 7, 8, 9, 250], [17, 2], [3, 299, 3, 3, 77, 21, 40, 8, 120, 121, 9]]
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[float]]:
    """The largest relative error of every invariant, then of logits in a padded batch against float64."""
    rows = {}
    for shape in SHAPES:
        folder = random_model(shape, tmp_path_factory.mktemp("model"))
        loaded = load_model(str(folder))
        largest = loaded.report.largest()
        errors = [max(largest.get(name, 0.0) for name in names) for names in COLUMNS.values()]
        rows[shape] = [*errors, against_float64(folder, loaded)]
    return rows


def against_float64(folder: Path, loaded: LoadedModel) -> float:
    reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, experts_implementation="eager").eval()
    errors = []
    for tokens, forward in zip(PROMPTS, loaded.capture(PROMPTS, "all"), strict=True):
        with torch.inference_mode():
            logits = reference(input_ids=torch.tensor([tokens])).logits[0].numpy()
        errors.append(float(np.abs(forward.logits - logits).max() / np.abs(logits).max()))
    return max(errors)


def table(rows: dict[str, list[float]]) -> str:
    names = ["family", *COLUMNS, "float64, padded batch"]
    lines = [" | ".join(names), "|".join("-" for _ in names)]
    lines += [" | ".join([shape, *(f"{error:.0e}" for error in errors)]) for shape, errors in rows.items()]
    return "\n".join(f"| {line} |" if "-|-" not in line else f"|{line}|" for line in lines)


def printed() -> dict[str, list[float]]:
    content = PAGE.read_text("utf-8")
    lines = content[content.index(BEGIN) : content.index(END)].splitlines()[3:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return {row[0]: [float(cell) for cell in row[1:]] for row in cells}


def test_the_page_says_what_is_measured(measured: dict[str, list[float]]) -> None:
    if os.environ.get("FLOWATLAS_WRITE_DOCS"):
        content = PAGE.read_text("utf-8")
        pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
        PAGE.write_text(pattern.sub(lambda _: f"{BEGIN}\n{table(measured)}\n{END}", content), "utf-8")
    page = printed()
    assert list(page) == list(measured), "write the page again with FLOWATLAS_WRITE_DOCS=1"
    for shape, errors in measured.items():
        assert max(errors) < TOLERANCE, shape
        for error, stated in zip(errors, page[shape], strict=True):
            assert stated < TOLERANCE
            # Another processor rounds otherwise, but by no order of magnitude.
            assert error <= max(10 * stated, 1e-6), f"{shape}: write the page again with FLOWATLAS_WRITE_DOCS=1"


def test_the_page_names_every_family() -> None:
    content = PAGE.read_text("utf-8")
    assert all(f"`{family}`" in content for family, _ in SHAPES.values())
