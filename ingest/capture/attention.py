"""Seeing attention: what softmax gets and gives, whatever code computes it.

Most families call transformers' attention interface: a function registered there computes attention
and tells the recorder (`interface`). The others compute it in their own code, loaded as `eager` or
`sdpa`: there a `Watcher` sees the call of the softmax or of the fused attention.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

INTERFACE: Final = "flowatlas"
Listener = Callable[[int, "Attention"], None]


class Attention:
    """One layer's attention for a batch: logits before softmax and probabilities [B, H, T, T].

    `query` [B, H, T, d_head] and `key` [B, n_kv_head, T, d_head] are as they meet (after the rotary turn).
    """

    __slots__ = ("key", "logits", "probabilities", "query")

    def __init__(self, query: Tensor, key: Tensor, logits: Tensor, probabilities: Tensor) -> None:
        self.query = query
        self.key = key
        self.logits = logits
        self.probabilities = probabilities


listener: ContextVar[Listener | None] = ContextVar("listener", default=None)
"""Who is told of each layer's attention, when someone listens."""


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """Attention as transformers' interface asks for it: query [B, H, T, d], key and value [B, n_kv, T, d].

    Returns heads [B, T, H, d] and probabilities. The mask holds causality, padding and windows.
    """
    groups = query.shape[1] // key.shape[1]
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    logits = query @ key.repeat_interleave(groups, dim=1).transpose(-1, -2) * scale
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    if attention_mask is not None:
        logits = logits + attention_mask
    probabilities = functional.softmax(logits, dim=-1)
    heads = probabilities @ value.repeat_interleave(groups, dim=1)
    tell = listener.get()
    if tell is not None:
        tell(int(module.layer_idx), Attention(query, key, logits, probabilities))  # type: ignore[arg-type]
    return heads.transpose(1, 2).contiguous(), probabilities


AttentionInterface.register(INTERFACE, attend)
AttentionMaskInterface.register(INTERFACE, eager_mask)


_PRODUCTS: Final = {torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, Tensor.bmm}
_SUMS_OF_PRODUCTS: Final = {torch.baddbmm, Tensor.baddbmm}
_SOFTMAX: Final = {functional.softmax, torch.softmax, Tensor.softmax}


class Watcher(TorchFunctionMode):
    """Sees the attention of code that takes no function from outside.

    Between `enter(layer)` and `leave()` the operands of the last product before a softmax are the
    queries and keys, the softmax's input the logits and its output the probabilities; a fused
    attention gets queries, keys and mask as arguments.
    """

    def __init__(self, tell: Listener, n_head: int) -> None:
        super().__init__()
        self._tell = tell
        self._n_head = n_head
        self._layer: int | None = None
        self._operands: tuple[Tensor, Tensor] | None = None

    def enter(self, layer: int) -> None:
        """The attention of `layer` begins."""
        self._layer, self._operands = layer, None

    def leave(self) -> None:
        """It has ended."""
        self._layer = None

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run `func`; remember it if it is part of attention."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if self._layer is None:
            return result
        if func in _PRODUCTS:
            self._operands = (args[0], args[1])
        elif func in _SUMS_OF_PRODUCTS:
            given = [*args[1:], *(kwargs[name] for name in ("batch1", "batch2") if name in kwargs)]
            self._operands = (given[0], given[1])
        elif func in _SOFTMAX and self._operands is not None:
            query, key = self._operands
            logits = args[0] if args else kwargs["input"]
            logits = logits.unflatten(0, (-1, self._n_head)) if logits.ndim == 3 else logits
            result_by_head = result.reshape(logits.shape)
            batch, _, _, n_key = logits.shape
            self._tell(
                self._layer,
                Attention(
                    query.reshape(batch, self._n_head, *query.shape[-2:]),
                    key.transpose(-1, -2).reshape(batch, -1, n_key, key.shape[-2]),
                    logits,
                    result_by_head,
                ),
            )
        elif func is functional.scaled_dot_product_attention:
            self._tell(self._layer, _fused(*args, **kwargs))
        return result


def _fused(
    query: Tensor,
    key: Tensor,
    _value: Tensor,
    attn_mask: Tensor | None = None,
    _dropout: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    **_: Any,
) -> Attention:
    """What torch's scaled_dot_product_attention computes inside, from its arguments, in its order."""
    groups = query.shape[1] // key.shape[1]
    logits = query @ key.repeat_interleave(groups, dim=1).transpose(-1, -2)
    logits = logits * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        logits = logits.masked_fill(torch.ones_like(logits, dtype=torch.bool).triu(1), -torch.inf)
    if attn_mask is not None:
        masked = attn_mask.dtype == torch.bool
        logits = logits.masked_fill(~attn_mask, -torch.inf) if masked else logits + attn_mask
    return Attention(query, key, logits, functional.softmax(logits, dim=-1))
