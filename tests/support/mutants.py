"""Wrong descriptions made from a good one: every field changed to what somebody might have written instead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from torch import nn

from ingest.architecture.description import (
    AttentionDescription,
    Description,
    ExpertsDescription,
    MLPDescription,
    NormDescription,
)

Mutant = tuple[str, dict[str, Any]]
"""What was changed, and the description that comes of it (not yet validated)."""

_OF_CONFIG = ("embedding_multiplier", "residual_multiplier", "logit_multiplier", "logit_divisor", "softcap", "clip")
_NUMBERS = ("rms_norm_eps", "initializer_range", "num_hidden_layers", "no_such_field")


def mutants(description: Description, model: nn.Module) -> Iterator[Mutant]:
    """Every mutant of `description`: each path to each other module of the same sort in its place, to a
    misspelt one and to none; each choice to each other; numbers to others; q and k, key and up swapped."""
    good = description.model_dump()
    layer = model.get_submodule(description.layers)[0]  # type: ignore[index]
    for name in Description.model_fields:
        if name not in ("attention", "mlp", "norm"):
            for value in _others(Description, name, good[name], model, top=True):
                yield f"{name}: {good[name]} -> {value}", good | {name: value}
    for part, described in (("attention", AttentionDescription), ("mlp", MLPDescription), ("norm", NormDescription)):
        for name in described.model_fields:
            if name in ("experts", "qk_norm"):
                continue
            for value in _others(described, name, good[part][name], layer):
                yield f"{part}.{name}: {good[part][name]} -> {value}", _with(good, part, **{name: value})
    if good["mlp"]["experts"]:
        for name in ExpertsDescription.model_fields:
            for value in (*good["mlp"]["experts"].values(), "no.such.part"):
                changed = good["mlp"]["experts"] | {name: value}
                yield f"mlp.experts.{name} -> {value}", _with(good, "mlp", experts=changed)
    for part, one, other in (
        ("attention", "query", "key"),
        ("attention", "key", "value"),
        ("attention", "query_norm", "key_norm"),
        ("attention", "norm", "post_norm"),
        ("mlp", "key", "up"),
        ("mlp", "norm", "post_norm"),
    ):
        if good[part][one] and good[part][other]:
            yield f"{part}: {one} <-> {other}", _with(good, part, **{one: good[part][other], other: good[part][one]})
    yield (
        "norms of attention and MLP swapped",
        _with(_with(good, "attention", norm=good["mlp"]["norm"]), "mlp", norm=good["attention"]["norm"]),
    )
    if good["mlp"]["key_up"]:
        plain = {"key_up": None, "key": good["mlp"]["key_up"]}
        yield "gate and up taken for one matrix", _with(good, "mlp", **plain)
    qk_norms = [NormDescription(kind="layer"), NormDescription(kind="rms"), NormDescription(kind="rms", offset=1.0)]
    for norm in qk_norms:
        yield f"attention.qk_norm -> {norm}", _with(good, "attention", qk_norm=norm.model_dump())


def _with(description: dict[str, Any], part: str, **changes: Any) -> dict[str, Any]:
    return description | {part: description[part] | changes}


def _others(described: type[BaseModel], name: str, value: Any, root: nn.Module, *, top: bool = False) -> list[Any]:
    """What else a field might hold."""
    choices = get_args(described.model_fields[name].annotation)
    if name in ("kind", "block", "weights", "layout", "qk_norm_over", "capture"):
        flat = [choice for one in choices for choice in (get_args(one) or (one,)) if isinstance(choice, str)]
        return [choice for choice in flat if choice != value] + ([None] if value and type(None) in choices else [])
    if name in ("offset", "eps"):
        return [number for number in (0.0, 1.0, 0.5, 1e-3) if number != value]
    if name in _OF_CONFIG:
        return [other for other in (*_NUMBERS, None) if other != value]
    modules = {path: module for path, module in root.named_modules() if path}
    if value is None:
        alike = [path for path in modules if path.count(".") < 2]
    else:
        here = root.get_submodule(value) if value in modules else None
        alike = [path for path, module in modules.items() if _alike(module, here)]
    if top:
        alike = [path for path in alike if not any(step.isdigit() for step in path.split("."))]
    return [*(path for path in alike if path != value), *([] if value is None else [f"{value}x", None])]


def _alike(one: nn.Module, other: nn.Module | None) -> bool:
    """Whether two modules are of the same sort: both with a matrix, both with a vector, or both with neither."""
    return _rank(one) == _rank(other)


def _rank(module: nn.Module | None) -> int:
    weight = getattr(module, "weight", None)
    return 0 if weight is None else int(weight.ndim)
