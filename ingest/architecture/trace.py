"""What a model does in one forward pass, as far as its modules show it: the raw material of a first description."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from flowatlas.errors import ModelError
from ingest.architecture.description import GUIDE
from ingest.capture.attention import Attention, Watcher, listener

Capture = Literal["interface", "eager", "sdpa"]
Sort = Literal["linear", "norm", "experts", "activation", "embedding"]
_TOKENS = 5


@dataclass(frozen=True)
class Step:
    """A module that ran: its path, what sort of part it may be, and the widths of what went in and out."""

    path: str
    sort: Sort
    module: nn.Module
    width_in: int
    width_out: int


@dataclass
class Trace:
    """The parts outside the layers, and those of the first layer before, around and after attention."""

    layers: str
    top: list[Step] = field(default_factory=list)
    before: list[Step] = field(default_factory=list)
    after: list[Step] = field(default_factory=list)
    attended: bool = False


def trace(model: Any, capture: Capture) -> Trace:
    """Run `model`, loaded for that way of capture, once and note the order of its parts.

    Raises ModelError where no list of layers is found.
    """
    path, layers = _layers(model)
    found = Trace(path)
    first = layers[0]
    inside = set(first.modules())

    def tell(layer: int, _attention: Attention) -> None:
        found.attended = found.attended or layer == 0

    watcher = Watcher(tell, int(model.config.num_attention_heads))
    with ExitStack() as stack:
        for name, module in _candidates(model):
            sort = _sort(module)
            if sort is None or (module not in inside and f"{path}." in f"{name}."):
                continue

            def note(part: nn.Module, args: Any, output: Any, name: str = name, sort: Sort = sort) -> None:
                step = Step(name.removeprefix(f"{path}.0."), sort, part, _width(args), _width(output))
                steps = found.top if part not in inside else found.after if found.attended else found.before
                if step.path not in [one.path for one in steps]:
                    steps.append(step)

            stack.callback(module.register_forward_hook(note).remove)
        stack.callback(first.register_forward_pre_hook(lambda *_: watcher.enter(0)).remove)
        stack.callback(first.register_forward_hook(lambda *_: watcher.leave()).remove)
        stack.callback(listener.reset, listener.set(tell))
        if capture != "interface":
            stack.enter_context(watcher)
        with torch.inference_mode():
            model(input_ids=torch.arange(1, 1 + _TOKENS)[None], use_cache=False)
    return found


def _layers(model: Any) -> tuple[str, nn.ModuleList]:
    count = int(model.config.num_hidden_layers)
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == count and "." in name:
            return name, module
    raise ModelError(
        f"{type(model).__name__} has no list of {count} layers.",
        next_step=f"Write the description by hand; see {GUIDE}.",
    )


def _candidates(model: Any) -> Iterator[tuple[str, nn.Module]]:
    for name, module in model.named_modules():
        if name:
            yield name, module


def _sort(module: nn.Module) -> Sort | None:
    """What a module looks like, from its own parameters."""
    own = dict(module.named_parameters(recurse=False))
    if any(parameter.ndim == 3 for parameter in own.values()):
        return "experts"
    weight = getattr(module, "weight", None)
    if isinstance(module, nn.Embedding):
        return "embedding"
    if isinstance(weight, Tensor) and weight.ndim == 2 and not any(module.children()):
        return "norm" if hasattr(module, "variance_epsilon") else "linear"
    if (isinstance(weight, Tensor) and weight.ndim == 1) or hasattr(module, "normalized_shape"):
        return "norm"
    if isinstance(module, nn.Dropout | nn.Identity) or any(True for _ in module.children()):
        return "norm" if _norms_of_heads(module) else None
    return "activation" if not own or all(parameter.numel() <= 2 for parameter in own.values()) else None


def _norms_of_heads(module: nn.Module) -> bool:
    """Whether a module is a list of norms."""
    children = list(module.children())
    return isinstance(module, nn.ModuleList) and bool(children) and all(_sort(child) == "norm" for child in children)


def _width(values: Any) -> int:
    """The last axis of the first tensor."""
    if isinstance(values, tuple | list):
        values = next((value for value in values if isinstance(value, Tensor)), None)
    return int(values.shape[-1]) if isinstance(values, Tensor) and values.ndim else 0
