"""Random models ingested once, with the float64 passes of the same prompts: what figures are checked against."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from flowatlas.stores import open_store
from flowatlas.stores.base import Store
from support.cli import flowatlas
from support.models import random_model
from support.reference import Pass, reference_pass

PROMPTS = ["the capital of Japan is", "when Mary and John went to", "a", "the city of Paris is", "Mary is the", "to France"]
FAMILIES = {"gpt2": {}, "llama": {"num_hidden_layers": 3}}


@dataclass
class Case:
    """A store, and what an independent pass says of its prompts, in the order of their ids."""

    uri: str
    model: Path
    store: Store
    passes: list[Pass]
    targets: np.ndarray
    foils: np.ndarray
    tokens: list[list[int]]
    k: int = 50

    def __len__(self) -> int:
        return len(self.passes)

    def top(self, run: Pass, rows: np.ndarray) -> np.ndarray:
        """Top k ids of vectors (..., d_model) by the float64 lens."""
        return np.argsort(-run.lens(rows), axis=-1, kind="stable")[..., : self.k]


@pytest.fixture(scope="session", params=list(FAMILIES))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    folder = tmp_path_factory.mktemp("analyses")
    model = random_model(request.param, folder / "models", **FAMILIES[request.param])
    yield from opened_case(folder, model)


def opened_case(folder: Path, model: Path) -> Iterator[Case]:
    """Ingest PROMPTS with a model; one of them asks for what the model predicts, so that it is answered right."""
    lines = [{"prompt": text, "target": " the", "foil": " of"} for text in PROMPTS]
    lines[1] = {"prompt": PROMPTS[1]}
    file = folder / "prompts.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    uri = str(folder / "store.lbug")
    done = flowatlas("ingest", file, "--model", model, "--store", uri, "--lens", "circuit,naive")
    assert done.code == 0, done.stderr
    with open_store(uri) as store:
        rows = store.read(
            "MATCH (p:Prompt) MATCH (t:Token) WHERE t.prompt = p.id "
            "RETURN p.id AS prompt, t.position AS position, t.token_id AS token, p.target_id AS target, p.foil_id AS foil "
            "ORDER BY prompt, position"
        ).to_pylist()
        ids: dict[int, list[int]] = {}
        for row in rows:
            ids.setdefault(row["prompt"], []).append(row["token"])
        first = {row["prompt"]: (row["target"], -1 if row["foil"] is None else row["foil"]) for row in rows}
        passes = [reference_pass(model, tokens) for _, tokens in sorted(ids.items())]
        targets, foils = np.array([first[prompt] for prompt in sorted(ids)]).T
        yield Case(uri, model, store, passes, targets, foils, [tokens for _, tokens in sorted(ids.items())])
