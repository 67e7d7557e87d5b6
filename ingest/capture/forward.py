"""A batch of prompts through the model, out as one `Forward` a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from flowatlas.errors import ModelError
from ingest.architecture.decoder import Array, Decoder, Forward, ForwardLayer, LayerWeights
from ingest.architecture.description import GUIDE
from ingest.architecture.parts import LayerParts, Parts
from ingest.architecture.weights import HeadShape, finished, key_norm, query_norm
from ingest.capture.recorder import Recorder, recording

Positions = Literal["last", "all"] | Sequence[int]
"""Which positions of a prompt are query positions; negative ones count from the end."""


@dataclass(frozen=True)
class Pass:
    """One run of the model over a batch: what was recorded, and the logits of each prompt's rows."""

    batch: Sequence[Sequence[int]]
    rows: Sequence[list[int]]
    recorder: Recorder
    logits: list[Array]


def run(parts: Parts, decoder: Decoder, batch: Sequence[Sequence[int]], positions: Positions) -> Pass:
    """Run the model once over `batch` (token ids), padded on the right.

    Causal attention makes padding on the right invisible to the tokens before it; the mask keeps it
    invisible to families that count positions from the mask. Raises ModelError for a prompt that is
    empty or longer than the context, and for a position outside it.
    """
    rows = [query_positions(len(tokens), positions) for tokens in batch]
    lengths = [len(tokens) for tokens in batch]
    if max(lengths) > decoder.n_context:
        raise ModelError(
            f"A prompt has {max(lengths)} tokens; the model's context is {decoder.n_context}.",
            next_step="Shorten the prompt.",
        )
    width = max(lengths)
    ids = torch.zeros((len(batch), width), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for prompt, tokens in enumerate(batch):
        ids[prompt, : len(tokens)] = torch.tensor(list(tokens), dtype=torch.long)
        mask[prompt, : len(tokens)] = 1
    recorder = Recorder(lengths, rows)
    with torch.inference_mode(), recording(parts, recorder):
        ids, mask = ids.to(parts.device), mask.to(parts.device)
        output = parts.model(input_ids=ids, attention_mask=mask, use_cache=False, return_dict=True)
    logits = output.logits[0].float().cpu().numpy()
    ends = np.cumsum([len(positions) for positions in rows])[:-1]
    return Pass(batch, rows, recorder, [np.ascontiguousarray(part) for part in np.split(logits, ends)])


def capture(
    parts: Parts, decoder: Decoder, shape: HeadShape, batch: Sequence[Sequence[int]], positions: Positions
) -> list[Forward]:
    """The forward pass of every prompt of `batch` (token ids) at its query positions.

    Raises what `run` raises, and ModelError where the model never ran a part that the description names.
    """
    return forwards(parts, decoder, shape, run(parts, decoder, batch, positions)) if batch else []


def forwards(parts: Parts, decoder: Decoder, shape: HeadShape, done: Pass) -> list[Forward]:
    """What a pass recorded, as the decomposition reads it."""
    read = _LayerReader(parts, decoder, shape, done.recorder)
    return [
        _forward(read, tokens, done.rows[prompt], prompt, done.logits[prompt])
        for prompt, tokens in enumerate(done.batch)
    ]


def query_positions(length: int, positions: Positions) -> list[int]:
    """`positions` of a prompt of `length` tokens as numbers from 0. Raises ModelError outside the prompt."""
    if length == 0:
        raise ModelError("A prompt has no tokens.", next_step="Give a prompt with text.")
    if isinstance(positions, str):
        return [length - 1] if positions == "last" else list(range(length))
    outside = [position for position in positions if not -length <= position < length]
    if outside or not len(positions):
        raise ModelError(
            f"A prompt of {length} tokens has no position {outside[0] if outside else ''}.".replace(" .", "."),
            next_step="Choose positions inside every prompt.",
        )
    return sorted({position % length for position in positions})


def _forward(read: _LayerReader, tokens: Sequence[int], rows: list[int], prompt: int, logits: Array) -> Forward:
    parts, recorder = read.parts, read.recorder
    token_embedding = read.needed(-1, "token_embedding", prompt)
    if parts.embedding_norm is None and parts.embedding_projection is None and parts.embedding_multiplier != 1.0:
        token_embedding = token_embedding * np.float32(parts.embedding_multiplier)
    layers = [read.layer(index, prompt) for index in range(len(parts.layers))]
    final = recorder.rows_of(-1, "final_norm", prompt)
    last = len(layers) - 1
    if final is None:
        final = recorder.rows_of(last, "mlp_post_norm", prompt)
    return Forward(
        token_ids=np.asarray(tokens, dtype=np.int64),
        positions=np.asarray(rows, dtype=np.int64),
        token_embedding=token_embedding,
        position_embedding=recorder.rows_of(-1, "position_embedding", prompt),
        embedding=read.needed(0, "residual", prompt),
        layers=layers,
        final_norm=layers[-1].residual_post if final is None else final,
        logits=logits,
    )


class _LayerReader:
    """Turns what was recorded into `ForwardLayer`s."""

    def __init__(self, parts: Parts, decoder: Decoder, shape: HeadShape, recorder: Recorder) -> None:
        self.parts = parts
        self.recorder = recorder
        self._decoder = decoder
        self._shape = shape
        self._block = parts.description.block

    def needed(self, layer: int, name: str, prompt: int) -> Array:
        """What was kept of a part. Raises ModelError when the model never ran it."""
        kept = self.recorder.rows_of(layer, name, prompt)
        if kept is None:
            where = "" if layer < 0 else f" of layer {layer}"
            raise ModelError(
                f"The model ran without its part '{name}'{where}.",
                known="Every part that the description names must take part in a forward pass.",
                next_step=f"Correct the description (another path, another way of capture?); see {GUIDE}.",
            )
        return kept

    def layer(self, index: int, prompt: int) -> ForwardLayer:
        """One layer of one prompt."""
        layer, shape = self.parts.layers[index], self._shape
        residual = self.needed(index, "residual", prompt)
        query, key, value = self._projections(layer, index, prompt)
        attention_post_norm = self.recorder.rows_of(index, "attention_post_norm", prompt)
        mlp_in = self.needed(index, "mlp_in", prompt)
        mlp = self._experts if layer.experts is not None else self._mlp
        is_final = index == len(self.parts.layers) - 1 and self._block == "post_norm" and not self.parts.final_norm
        after = self.needed(index, "residual_post" if self._block != "post_norm" else "mlp_post_norm_in", prompt)
        return ForwardLayer(
            attention_norm=residual if layer.attention_norm is None else self.needed(index, "attention_norm", prompt),
            query=query,
            key=key,
            value=value,
            attention_logits=self.needed(index, "logits", prompt),
            attention=self.needed(index, "attention", prompt),
            head=shape.heads(self.needed(index, "head", prompt)),
            attention_output=self.needed(index, "attention_output", prompt),
            attention_post_norm=attention_post_norm,
            residual_mid=self._residual_mid(layer, index, prompt),
            mlp_norm=mlp_in,
            **mlp(layer, index, prompt, mlp_in),
            mlp_output=self.needed(index, "mlp_output", prompt),
            mlp_post_norm=None if is_final else self.recorder.rows_of(index, "mlp_post_norm", prompt),
            residual_post=after,
        )

    def _residual_mid(self, layer: LayerParts, index: int, prompt: int) -> Array | None:
        if self._block == "parallel":
            return None
        if self._block == "post_norm":
            return self.needed(index, "attention_post_norm_in", prompt)
        return self.needed(index, "mlp_in" if layer.mlp_norm is None else "mlp_norm_in", prompt)

    def _projections(self, layer: LayerParts, index: int, prompt: int) -> tuple[Array, Array, Array]:
        """Queries of the query positions, keys and values of every token, heads apart, qk-norm applied."""
        shape = self._shape
        if layer.fused is not None:
            query, key, value = shape.split(self.needed(index, "fused", prompt))
            query = query[self.recorder.rows[prompt].numpy()]
        else:
            query, key, value = (shape.heads(self.needed(index, name, prompt)) for name in ("query", "key", "value"))
        return (
            finished(self.parts, query, query_norm(self.parts, layer)),
            finished(self.parts, key, key_norm(self.parts, layer)),
            np.ascontiguousarray(finished(self.parts, value, None)),
        )

    def _mlp(self, layer: LayerParts, index: int, prompt: int, _: Array) -> dict[str, Any]:
        if layer.mlp_key_up is not None:
            gate, up = np.split(self.needed(index, "mlp_key_up", prompt), 2, axis=-1)
            first: dict[str, Any] = {"mlp_gate": gate, "mlp_up": up}
        else:
            up_rows = None if layer.mlp_up is None else self.needed(index, "mlp_up", prompt)
            first = {"mlp_gate": self.needed(index, "mlp_key", prompt), "mlp_up": up_rows}
        return first | {"mlp_coefficient": self.needed(index, "mlp_coefficient", prompt)}

    def _experts(self, layer: LayerParts, index: int, prompt: int, mlp_in: Array) -> dict[str, Any]:
        """The chosen experts' neurons, computed again from what went in: their code keeps no whole vector."""
        weights: LayerWeights = self._decoder.layer(index)
        d_mlp = self._decoder.d_mlp
        assert weights.mlp_up is not None
        chosen = self.needed(index, "chosen", prompt).astype(np.int64)
        router = np.repeat(self.needed(index, "router", prompt), d_mlp, axis=1)
        neuron = (chosen[:, :, None] * d_mlp + np.arange(d_mlp)).reshape(len(chosen), -1)
        gate = np.einsum("pd,pfd->pf", mlp_in, weights.mlp_key[neuron])
        up = np.einsum("pd,pfd->pf", mlp_in, weights.mlp_up[neuron])
        coefficient = self._activated(layer, gate) * up * router
        return {"mlp_gate": gate, "mlp_up": up, "mlp_coefficient": coefficient, "neuron": neuron, "router": router}

    def _activated(self, layer: LayerParts, gate: Array) -> Array:
        with torch.inference_mode():
            activated: Array = layer.mlp_activation(torch.from_numpy(gate).to(self.parts.device)).cpu().numpy()
        return activated
