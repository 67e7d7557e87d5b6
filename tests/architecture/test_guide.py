"""docs/add-a-model.md: its descriptions, its errors and its list of fields are real."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from flowatlas.errors import ModelError
from ingest.architecture.description import (
    AttentionDescription,
    Description,
    ExpertsDescription,
    MLPDescription,
    files,
    read,
)
from ingest.architecture.load import load_model
from support.models import random_model

PAGE = (Path(__file__).parents[2] / "docs" / "add-a-model.md").read_text("utf-8")
FIRST, WHOLE = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
MESSAGES = re.findall(r"    (The description does not fit.*)\n    (Expected: .*)\n", PAGE)
REPAIRS: list[dict[str, object]] = [
    {"norm": {"kind": "layer"}},
    {"block": "parallel"},
    {"logit_multiplier": "logit_scale"},
]


def without_number(message: str) -> str:
    return re.sub(r"off by \S+", "off by", message)


def test_each_attempt_fails_as_the_page_says_until_the_last(tmp_path: Path) -> None:
    folder = random_model("cohere", tmp_path)
    description = dict(FIRST)
    for (problem, expected), repair in zip(MESSAGES, REPAIRS, strict=True):
        with pytest.raises(ModelError) as refused:
            load_model(str(folder), description=description)
        assert without_number(refused.value.problem) == without_number(problem)
        assert refused.value.known == expected
        description |= repair
    load_model(str(folder), description=description)
    assert description == {name: value for name, value in WHOLE.items() if name != "variants"}


def test_the_whole_description_is_the_one_that_ships() -> None:
    assert read(files()["cohere"]) == WHOLE


def test_every_field_is_explained() -> None:
    table = PAGE[PAGE.index("## Every field") : PAGE.index("## What the contract")]
    for described in (Description, AttentionDescription, MLPDescription, ExpertsDescription):
        for name in described.model_fields:
            if name not in ("attention", "mlp"):
                assert re.search(rf"`(\w+\.)?{name}`", table), name
