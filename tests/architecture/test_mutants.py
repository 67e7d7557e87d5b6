"""A wrong description does not load, or it was not wrong: it gives the same numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from flowatlas.errors import ModelError
from ingest.architecture.decoder import Decoder, Forward, ForwardLayer, LayerWeights, Norm
from ingest.architecture.description import resolve
from ingest.architecture.load import Understood, load_model, understand
from ingest.capture.forward import capture
from support.models import LIKE_ANOTHER, SHAPES, random_model
from support.mutants import mutants

Array = np.ndarray


@pytest.mark.parametrize("shape", [name for name in SHAPES if name not in LIKE_ANOTHER])
def test_no_mutant_that_changes_a_number_loads(shape: str, tmp_path: Path) -> None:
    loaded = load_model(str(random_model(shape, tmp_path)))
    good = numbers(Understood(loaded.parts, loaded.heads, loaded.decoder, loaded.report))
    outcomes: Counter[str] = Counter()
    for change, raw in mutants(loaded.parts.description, loaded.parts.model):
        try:
            mutant = understand(
                loaded.parts.model, resolve(raw, {}, "mutant"), name="mutant", family=shape, fingerprint=""
            )
        except ModelError as refused:
            assert refused.problem, change
            outcomes["refused"] += 1
            continue
        assert not differences(good, numbers(mutant)), f"{change} was loaded"
        outcomes["the same"] += 1
    assert outcomes["refused"] > 100
    assert outcomes["the same"] < 25, "most mutants should change something"


def numbers(understood: Understood) -> dict[str, Array | None]:
    """Every number that the graph is made from: a forward pass at all positions, and the decoder."""
    decoder = understood.decoder
    forward = capture(understood.parts, decoder, understood.heads, [[5, 6, 7, 8, 9]], "all")[0]
    found = {name: getattr(forward, name) for name in _arrays(Forward)}
    found |= {
        f"{field.name} {index}": getattr(layer, field.name)
        for index, layer in enumerate(forward.layers)
        for field in fields(ForwardLayer)
    }
    for index in range(decoder.n_layer):
        for field in fields(LayerWeights):
            found |= _flat(f"{field.name} of layer {index}", getattr(decoder.layer(index), field.name))
    found |= _flat("final norm", decoder.final_norm) | {"unembedding": decoder.unembedding}
    found["unembedding bias"] = decoder.unembedding_bias
    found["numbers"] = np.array([float(getattr(decoder, name) or 0) for name in _numbers(decoder)])
    return found


def _arrays(record: type) -> list[str]:
    return [field.name for field in fields(record) if field.name not in ("layers", "bos")]


def _numbers(decoder: Decoder) -> list[str]:
    return [field.name for field in fields(Decoder) if isinstance(getattr(decoder, field.name), int | float | None)]


def _flat(name: str, value: Array | Norm | None) -> dict[str, Array | None]:
    if isinstance(value, Norm):
        kind = np.array([value.eps, value.kind == "rms"])
        return {f"{name}: weight": value.weight, f"{name}: bias": value.bias, f"{name}: kind": kind}
    return {name: value}


def differences(one: dict[str, Array | None], other: dict[str, Array | None]) -> list[str]:
    """Names of what differs by more than 1e-4, relative to its largest entry."""
    return [name for name in one if name not in other or _differ(one[name], other[name])]


def _differ(one: Array | None, other: Array | None) -> bool:
    if one is None or other is None:
        return one is not other
    if one.shape != other.shape:
        return True
    finite = np.isfinite(one)
    scale = float(np.abs(one[finite]).max(initial=0))
    return not np.allclose(one[finite], other[finite], rtol=0, atol=1e-4 * scale)
