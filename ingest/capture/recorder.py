"""Hooks on a bound model: what passes through its parts, kept for chosen positions of each prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from flowatlas.errors import ModelError
from ingest.architecture.decoder import Array
from ingest.architecture.description import GUIDE
from ingest.architecture.parts import LayerParts, Parts
from ingest.capture.attention import Attention, Watcher, listener

Where = tuple[int, str]
"""A layer (-1 outside the layers) and the name of a part in it."""


class Recorder:
    """Rows of one batch. `lengths` are the prompts' tokens, `rows` the query positions of each prompt."""

    def __init__(self, lengths: Sequence[int], rows: Sequence[Sequence[int]]) -> None:
        self.lengths = lengths
        self.rows = [torch.tensor(positions, dtype=torch.long) for positions in rows]
        self._kept: dict[Where, list[Array]] = {}

    def rows_of(self, layer: int, name: str, prompt: int) -> Array | None:
        """What was kept of a part for a prompt, None when nothing passed there."""
        kept = self._kept.get((layer, name))
        return None if kept is None else kept[prompt]

    def keep(self, where: Where, tensor: Tensor, *, every: bool = False) -> None:
        """Copy the query positions (or every token) of [B, T, ...], [T, ...], [B * T, ...] to numpy."""
        width = max(self.lengths)
        if tensor.ndim == 2 and tensor.shape[0] == len(self.lengths) * width:
            tensor = tensor.unflatten(0, (len(self.lengths), width))
        if tensor.ndim == 2:
            tensor = tensor[None]
        shared = tensor.shape[0] == 1
        self._kept[where] = [
            _numpy(tensor[0 if shared else prompt][slice(0, length) if every else rows])
            for prompt, (length, rows) in enumerate(zip(self.lengths, self.rows, strict=True))
        ]

    def keep_attention(self, layer: int, attention: Attention) -> None:
        """Copy logits and probabilities [P, H, T], queries [P, H, d] and keys [T, n_kv, d] as they meet."""
        for name in ("met_query", "met_key", "logits", "attention"):
            self._kept[layer, name] = []
        floor = torch.finfo(attention.logits.dtype).min / 2
        for prompt, (length, rows) in enumerate(zip(self.lengths, self.rows, strict=True)):
            logits = attention.logits[prompt][:, rows, :length]
            logits = logits.masked_fill(logits < floor, -torch.inf)
            self._kept[layer, "logits"].append(_numpy(logits.transpose(0, 1)))
            self._kept[layer, "attention"].append(
                _numpy(attention.probabilities[prompt][:, rows, :length].transpose(0, 1))
            )
            self._kept[layer, "met_query"].append(_numpy(attention.query[prompt][:, rows].transpose(0, 1)))
            self._kept[layer, "met_key"].append(_numpy(attention.key[prompt][:, :length].transpose(0, 1)))


def _numpy(tensor: Tensor) -> Array:
    """A copy: some families add to their tensors in place afterwards."""
    return np.array(tensor.detach().float().cpu().numpy(), dtype=np.float32, order="C", copy=True)


@contextmanager
def recording(parts: Parts, recorder: Recorder) -> Iterator[None]:
    """While it lasts, a forward pass of `parts.model` fills `recorder`; the unembedding sees only its rows."""
    with ExitStack() as stack:
        hooks = _Hooks(recorder, stack)
        _hook_ends(hooks, parts, recorder)
        for index, layer in enumerate(parts.layers):
            _hook_layer(hooks, layer, index)
        if parts.description.attention.capture == "interface":
            token = listener.set(recorder.keep_attention)
            stack.callback(listener.reset, token)
        else:
            watcher = Watcher(recorder.keep_attention, parts.n_head)
            for index, layer in enumerate(parts.layers):
                hooks.around(layer.layer, partial(watcher.enter, index), watcher.leave)
                hooks.around(layer.output, watcher.leave, watcher.leave)
            stack.enter_context(watcher)
        yield


class _Hooks:
    """Installs hooks that vanish with the stack."""

    def __init__(self, recorder: Recorder, stack: ExitStack) -> None:
        self._recorder = recorder
        self._stack = stack

    def output(self, module: nn.Module | None, where: Where, *, every: bool = False) -> None:
        """Keep what a module gives."""

        def hook(module: nn.Module, _args: Any, output: Any) -> None:
            rows = output[0] if isinstance(output, tuple) else output
            if not isinstance(rows, Tensor):
                raise ModelError(
                    f"{where[1]}: {type(module).__name__} gives no vectors.",
                    next_step=f"Correct the description; see {GUIDE}.",
                )
            self._recorder.keep(where, rows, every=every)

        if module is not None:
            self._stack.callback(module.register_forward_hook(hook).remove)

    def input(self, module: nn.Module | None, where: Where) -> None:
        """Keep what a module gets."""

        def hook(_module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
            self._recorder.keep(where, args[0] if args else kwargs["hidden_states"])

        if module is not None:
            self._stack.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)

    def replace_input(self, module: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
        """Give a module something else than it was to get."""

        def hook(_module: nn.Module, args: Any) -> Any:
            return (change(args[0]), *args[1:])

        self._stack.callback(module.register_forward_pre_hook(hook).remove)

    def experts(self, module: nn.Module, layer: int) -> None:
        """Keep the rows, choices and weights that the module of all experts gets."""

        def hook(_module: nn.Module, args: Any) -> None:
            for name, tensor in zip(("mlp_in", "chosen", "router"), args, strict=False):
                self._recorder.keep((layer, name), tensor)

        self._stack.callback(module.register_forward_pre_hook(hook).remove)

    def around(self, module: nn.Module, before: Callable[[], None], after: Callable[[], None]) -> None:
        """Call something before and after a module runs."""
        self._stack.callback(module.register_forward_pre_hook(lambda _module, _args: before()).remove)
        self._stack.callback(module.register_forward_hook(lambda _module, _args, _output: after()).remove)


def _hook_ends(hooks: _Hooks, parts: Parts, recorder: Recorder) -> None:
    """Embeddings, the final norm, and the unembedding's rows."""
    hooks.output(parts.embedding_norm or parts.embedding_projection or parts.token_embedding, (-1, "token_embedding"))
    hooks.output(parts.position_embedding, (-1, "position_embedding"))
    hooks.output(parts.final_norm, (-1, "final_norm"))

    def chosen(hidden: Tensor) -> Tensor:
        return torch.cat([hidden[prompt, rows] for prompt, rows in enumerate(recorder.rows)])[None]

    hooks.replace_input(parts.unembedding, chosen)


def _hook_layer(hooks: _Hooks, layer: LayerParts, index: int) -> None:
    hooks.input(layer.layer, (index, "residual"))
    hooks.output(layer.layer, (index, "residual_post"))
    hooks.output(layer.attention_norm, (index, "attention_norm"))
    hooks.output(layer.query, (index, "query"))
    projections: tuple[tuple[nn.Module | None, Literal["key", "value", "fused"]], ...] = (
        (layer.key, "key"),
        (layer.value, "value"),
        (layer.fused, "fused"),
    )
    for module, name in projections:
        hooks.output(module, (index, name), every=True)
    hooks.input(layer.output, (index, "head"))
    hooks.output(layer.output, (index, "attention_output"))
    hooks.output(layer.attention_post_norm, (index, "attention_post_norm"))
    hooks.input(layer.attention_post_norm, (index, "attention_post_norm_in"))
    hooks.input(layer.mlp_norm, (index, "mlp_norm_in"))
    hooks.output(layer.mlp_norm, (index, "mlp_norm"))
    hooks.output(layer.mlp_key, (index, "mlp_key"))
    hooks.output(layer.mlp_up, (index, "mlp_up"))
    hooks.output(layer.mlp_key_up, (index, "mlp_key_up"))
    if layer.experts is not None:
        hooks.experts(layer.experts, index)
    else:
        hooks.input(layer.mlp_key or layer.mlp_key_up, (index, "mlp_in"))
    hooks.input(layer.mlp_value, (index, "mlp_coefficient"))
    hooks.output(layer.mlp_value or layer.experts, (index, "mlp_output"))
    hooks.input(layer.mlp_post_norm, (index, "mlp_post_norm_in"))
    hooks.output(layer.mlp_post_norm, (index, "mlp_post_norm"))
