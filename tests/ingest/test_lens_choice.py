"""Which lenses an ingest is asked for."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from flowatlas.errors import ModelError, UsageError
from ingest.lenses import naive_slice
from ingest.pipeline.prepare import Choices, prompt_key
from ingest.prompts import PromptInput


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        ("circuit", "circuit"),
        ("naive", "circuit,naive"),
        ("no_final_norm, naive,circuit,naive", "circuit,naive,no_final_norm"),
    ],
)
def test_lenses_come_in_one_order_with_circuit_first(asked: str, stored: str) -> None:
    assert Choices(lens=asked).lens == stored


@pytest.mark.parametrize("asked", ["", "naiv", "circuit,", "circuit naive"])
def test_a_lens_that_does_not_exist(asked: str) -> None:
    with pytest.raises(UsageError, match="Known: circuit, naive, no_final_norm"):
        Choices(lens=asked)


def test_the_lenses_belong_to_the_key_of_a_prompt_and_their_order_does_not() -> None:
    source = PromptInput(text="a", where="line 1")
    keys = [
        prompt_key("m", source, Choices(lens=lens)) for lens in ("circuit", "naive", "circuit,naive", "no_final_norm")
    ]
    assert keys[1] == keys[2]
    assert len(set(keys)) == 3


def test_slices_of_heads_that_are_narrower_or_wider_together_than_the_residual() -> None:
    narrow, wide = SimpleNamespace(d_head=3, d_model=8), SimpleNamespace(d_head=5, d_model=8)
    vector = np.arange(1, 4)
    np.testing.assert_array_equal(vector @ naive_slice(narrow, 1), [0, 0, 0, 1, 2, 3, 0, 0])
    np.testing.assert_array_equal(vector @ naive_slice(wide, 1)[:3], [0, 0, 0, 0, 0, 1, 2, 3])
    np.testing.assert_array_equal(np.arange(1, 6) @ naive_slice(wide, 1), [4, 5, 0, 0, 0, 1, 2, 3])
    with pytest.raises(ModelError, match="no slice"):
        naive_slice(SimpleNamespace(d_head=9, d_model=8), 0)
