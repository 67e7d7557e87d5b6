"""`flowatlas model new`: a family that nobody described, described from its modules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from ingest.architecture.description import files, read
from ingest.architecture.load import load_model
from ingest.architecture.propose import propose
from support.cli import flowatlas
from support.models import LIKE_ANOTHER, SHAPES, random_model

BY_HAND = {"stablelm, parallel, qk-norm"}
"""A list of norms, one for each head, is beyond the proposal."""


@pytest.mark.parametrize("shape", [name for name in SHAPES if name not in LIKE_ANOTHER | BY_HAND])
def test_a_proposal_gives_the_numbers_of_the_description_that_ships(shape: str, tmp_path: Path) -> None:
    folder = random_model(shape, tmp_path)
    proposal = propose(folder)
    assert proposal.problem is None
    proposed = load_model(str(folder), description=yaml.safe_load(proposal.text()))
    ours = load_model(str(folder)).capture([[5, 6, 7, 8]])[0]
    theirs = proposed.capture([[5, 6, 7, 8]])[0]
    for mine, other in zip(ours.layers, theirs.layers, strict=True):
        for name in ("query", "key", "value", "head", "attention_output", "mlp_coefficient", "residual_post"):
            np.testing.assert_allclose(getattr(mine, name), getattr(other, name), atol=1e-5)


def test_what_cannot_be_proposed_is_printed_and_refused(tmp_path: Path) -> None:
    folder = random_model("stablelm, parallel, qk-norm", tmp_path)
    done = flowatlas("model", "new", folder, "--out", tmp_path / "stablelm.yaml")
    assert done.code == 1
    assert "No description was found for the family 'stablelm'" in done.stderr
    assert "'query' is off" in done.stderr
    assert yaml.safe_load(done.stdout)["layers"] == "model.layers"
    assert not (tmp_path / "stablelm.yaml").exists()


def test_a_new_family_from_nothing_to_a_checked_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way a person goes: unknown, proposed, written, checked."""
    folder, own = random_model("cohere", tmp_path), tmp_path / "descriptions"
    shipped = files()
    monkeypatch.setattr("ingest.architecture.description.resource", lambda _: tmp_path / "nothing-ships")
    environment = {"FLOWATLAS_MODEL_CONFIGS": str(own)}
    unknown = flowatlas("model", "check", folder, **environment)
    assert unknown.code == 1
    assert "flowatlas model new FOLDER" in unknown.stderr
    made = flowatlas("model", "new", folder, **environment)
    assert made.code == 0, made.stderr
    assert Path(made.stdout.strip()) == own / "cohere.yaml"
    assert read(own / "cohere.yaml")["block"] == read(shipped["cohere"])["block"] == "parallel"
    checked = flowatlas("model", "check", folder, **environment)
    assert checked.code == 0, checked.stderr
    assert "attention rows\t" in checked.stdout
    again = flowatlas("model", "new", folder, **environment)
    assert again.code == 2
    assert "description already" in again.stderr


def test_the_list_names_every_family_with_what_it_is() -> None:
    done = flowatlas("model", "list")
    assert done.code == 0
    rows = dict(line.split("\t") for line in done.stdout.splitlines())
    assert set(rows) == set(files())
    assert all(len(text) > 10 for text in rows.values())


def test_every_description_that_ships_is_tested() -> None:
    assert {family for family, _ in SHAPES.values()} == set(files())
