"""Valid shards of any shape, quickly, with planted facts: what tests, benchmarks and stores are tried on.

No model runs here. Numbers are plausible (ranks agree with top tokens, contributions sum to the
logit, scores with ranks) and drawn from a seed; on top of them `Planted` says what a question must
find. Nodes and edges are those of design: one query position (the last), post-MLP residuals, biases.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from flowatlas.schema import SCHEMAS
from flowatlas.shard_writer import write_shard
from flowatlas.shards import Shard
from flowatlas.vocabulary import (
    LENS_COLUMN,
    NEURON_STRIDE,
    RELATIONSHIP_TABLE,
    STATE_LABELS,
    STATE_STRIDE,
    TOP_IDS,
    TOP_TOKENS,
    Kind,
    Lens,
    Matrix,
)

Array = np.ndarray
_ODD_TOKENS: Final = ("\n", '"', ",", " the", "\u2019", " \u6771\u4eac", "\t", ";", "<b>", " a'b")


@dataclass(frozen=True)
class Shape:
    """What decides the size of a graph. Prompts have `tokens` tokens, or up to two more with `ragged`.

    With `lenses` every other prompt has all lenses, otherwise prompts have `circuit` alone.
    """

    n_layer: int = 12
    n_head: int = 12
    d_model: int = 768
    d_mlp: int = 3072
    vocabulary: int = 50_257
    tokens: int = 15
    ragged: bool = False
    lenses: bool = False

    def __post_init__(self) -> None:
        if self.d_model % self.n_head:
            raise ValueError("d_model must be a multiple of n_head")
        if self.vocabulary < 2 * TOP_IDS + 4 or self.n_layer < 2 or self.n_head < 2 or self.tokens < 3:
            raise ValueError("at least 104 tokens in the vocabulary, 2 layers, 2 heads and 3 tokens a prompt")


GPT2_SMALL: Final = Shape()
TINY: Final = Shape(n_layer=3, n_head=4, d_model=16, d_mlp=24, vocabulary=400, tokens=5, ragged=True, lenses=True)


@dataclass(frozen=True)
class Planted:
    """Facts that hold in every prompt (heads and neurons as (layer, index))."""

    promoting: tuple[int, int]
    """This head has the target first, attends to `subject` with 0.9 and contributes most."""
    demoting: tuple[int, int]
    """This head has the target among the last ten tokens and contributes least."""
    foil: tuple[int, int]
    """This head has the foil first."""
    clean_only: tuple[int, int]
    """This head has the target first in all prompts but the corrupted ones of a pair."""
    always_on: tuple[int, int]
    """This MLP neuron has rank 1 in every prompt, the largest norm and the highest entropy of its layer."""
    group_only: tuple[int, int]
    """This MLP neuron has rank 2 in group `first` and a low rank elsewhere."""
    subject: int
    """The position that the promoting head reads."""


def planted(shape: Shape) -> Planted:
    """Where the planted facts of a shape lie."""
    last = shape.n_layer - 1
    return Planted(
        promoting=(last, 0), demoting=(last, 1), foil=(last - 1, 0), clean_only=(last - 1, 1),
        always_on=(last, 7), group_only=(last - 1, 3), subject=1,
    )  # fmt: skip


def words(size: int) -> list[str]:
    """The texts of a vocabulary of `size` tokens, some of them hard to print."""
    return [*_ODD_TOKENS, *(f" word{i}" for i in range(len(_ODD_TOKENS), size))]


def model_id(shape: Shape, seed: int) -> str:
    """Fingerprint of the pretended model of a shape and a seed."""
    return hashlib.blake2b(repr((shape, seed)).encode(), digest_size=16).hexdigest()


def first_neuron(model: str) -> int:
    """Id of a model's neuron 0."""
    return int(model[:6], 16) * NEURON_STRIDE


class _Rows:
    """Columns of many tables, collected piece by piece."""

    def __init__(self) -> None:
        self._pieces: dict[str, dict[str, list[object]]] = defaultdict(lambda: defaultdict(list))
        self._sizes: dict[str, list[int]] = defaultdict(list)

    def add(self, table: str, columns: Mapping[str, object]) -> None:
        """Add rows: arrays of one length; scalars and None are repeated."""
        size = max(len(v) for v in columns.values() if isinstance(v, (np.ndarray, list, pa.Array)))
        if size == 0:
            return
        self._sizes[table].append(size)
        for name in SCHEMAS[table].names:
            self._pieces[table][name].append(columns.get(name))

    def count(self, tables: Sequence[str]) -> int:
        """Rows collected in `tables`."""
        return sum(sum(self._sizes[table]) for table in tables)

    def tables(self) -> dict[str, pa.Table]:
        """Everything as Arrow tables."""
        return {
            table: pa.table(
                [
                    pa.chunked_array(
                        [
                            _array(p, n, SCHEMAS[table].field(c).type)
                            for p, n in zip(pieces, self._sizes[table], strict=True)
                        ]
                    )
                    for c, pieces in columns.items()
                ],
                schema=SCHEMAS[table],
            ).combine_chunks()
            for table, columns in self._pieces.items()
        }


def _array(piece: object, size: int, kind: pa.DataType) -> pa.Array:
    if isinstance(piece, np.ndarray) and piece.ndim == 2:
        offsets = np.arange(0, piece.size + 1, piece.shape[1], dtype=np.int32)
        return pa.ListArray.from_arrays(offsets, pa.array(piece.ravel()).cast(kind.value_type))
    if isinstance(piece, np.ndarray):
        return pa.array(piece).cast(kind)
    if isinstance(piece, pa.Array):
        return piece.cast(kind)
    if isinstance(piece, list):
        return pa.array(piece, kind)
    return pa.nulls(size, kind) if piece is None else pa.repeat(pa.scalar(piece, kind), size)


def _lists(texts: pa.Array, ids: Array) -> pa.Array:
    """Rows of ids as rows of texts."""
    offsets = np.arange(0, ids.size + 1, ids.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, texts.take(pa.array(ids.ravel())))


def _distinct_ids(rng: np.random.Generator, size: int, vocabulary: int, count: int) -> Array:
    """`size` rows of `count` distinct token ids; rows drawn near each other share many of them."""
    step = rng.integers(1, max(2, min(4, vocabulary // (count + 1))), size)
    start = rng.integers(0, max(1, min(vocabulary, 600)), size)
    ids: Array = (start[:, None] + step[:, None] * np.arange(count)) % vocabulary
    return ids


def _ranks(scores: Array) -> Array:
    """Rank of every |score| in its row, 1 = the largest."""
    order = np.argsort(-np.abs(scores), axis=-1, kind="stable")
    ranks: Array = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(1, scores.shape[-1] + 1), axis=-1)
    return ranks


def model_tables(shape: Shape, seed: int = 0) -> dict[str, pa.Table]:
    """`Model` and `Neuron` of a pretended model."""
    rng = np.random.default_rng(seed)
    texts = pa.array(words(shape.vocabulary))
    identity, facts, rows = model_id(shape, seed), planted(shape), _Rows()
    rows.add(
        "Model",
        {
            "id": [identity], "name": f"synthetic-{seed}", "family": "gpt2", "n_layer": shape.n_layer,
            "n_head": shape.n_head, "n_kv_head": shape.n_head, "d_model": shape.d_model,
            "d_head": shape.d_model // shape.n_head, "d_mlp": shape.d_mlp, "n_expert": 1,
            "vocab_size": shape.vocabulary, "n_context": 1024, "parallel": False, "gated": False, "lens": "circuit",
        },
    )  # fmt: skip
    for layer in range(shape.n_layer):
        for matrix, width in ((Matrix.MLP, shape.d_mlp), (Matrix.ATTENTION_OUTPUT, shape.d_model)):
            _add_neurons(rows, rng, shape, texts, identity, facts, layer, matrix, width)
    return rows.tables()


def _add_neurons(
    rows: _Rows, rng: np.random.Generator, shape: Shape, texts: pa.Array, identity: str, facts: Planted,
    layer: int, matrix: Matrix, width: int,
) -> None:  # fmt: skip
    start = first_neuron(identity) + layer * (shape.d_mlp + shape.d_model)
    start += 0 if matrix is Matrix.MLP else shape.d_mlp
    index = np.arange(width)
    norm = _neuron_norms(shape, layer, matrix)
    entropy = rng.uniform(6, 12, width)
    if matrix is Matrix.MLP and facts.always_on[0] == layer:
        entropy[facts.always_on[1]] = 14.0
    ids = _distinct_ids(rng, width, shape.vocabulary, TOP_IDS)
    mlp = matrix is Matrix.MLP
    rows.add(
        "Neuron",
        {
            "id": start + index, "model": identity, "layer": layer, "matrix": str(matrix), "index": index,
            "head": None if mlp else index // (shape.d_model // shape.n_head), "expert": 0 if mlp else None,
            "top_tokens": _lists(texts, ids[:, :TOP_TOKENS]), "bottom_tokens": _lists(texts, ids[:, -TOP_TOKENS:]),
            "norm": norm, "top_probs": 0.2 * 0.7 ** np.tile(np.arange(TOP_TOKENS), (width, 1)), "top_ids": ids,
            "entropy": entropy,
            "key_top_tokens": _lists(texts, ids[:, 10:20]) if mlp else None,
            "key_bottom_tokens": _lists(texts, ids[:, 20:30]) if mlp else None,
            "key_norm": norm * 0.8 if mlp else None,
        },
    )  # fmt: skip


def _neuron_norms(shape: Shape, layer: int, matrix: Matrix) -> Array:
    """Norms of a matrix's rows: the same whenever asked, so that prompts need no model."""
    width = shape.d_mlp if matrix is Matrix.MLP else shape.d_model
    norms: Array = np.random.default_rng([layer, matrix is Matrix.MLP]).uniform(1, 3, width)
    always = planted(shape).always_on
    if matrix is Matrix.MLP and always[0] == layer:
        norms[always[1]] = 8.0
    return norms.astype(np.float32)


@dataclass(frozen=True)
class _Prompt:
    """What is decided about a prompt before its graph."""

    number: int
    ids: Array
    target: int
    foil: int | None
    correct: bool
    group: str
    pair: str | None
    role: str | None


def _draw_prompt(rng: np.random.Generator, shape: Shape, number: int) -> _Prompt:
    tokens = shape.tokens + (number % 3 if shape.ragged else 0)
    target, foil = (int(i) for i in rng.choice(min(600, shape.vocabulary), 2, replace=False))
    paired = number % 4 in (0, 1)
    return _Prompt(
        number=number, ids=rng.integers(0, shape.vocabulary, tokens), target=target,
        foil=None if number % 7 == 6 else foil, correct=number % 5 != 4,
        group="first" if number % 3 == 0 else "second", pair=f"pair-{number // 4}" if paired else None,
        role=("clean" if number % 4 == 0 else "corrupted") if paired else None,
    )  # fmt: skip


@dataclass(frozen=True)
class _Layout:
    """Local indices of a prompt's states: embeddings, then layer after layer, then the final norm."""

    shape: Shape
    tokens: int

    @property
    def block(self) -> int:
        return 10 + 2 * self.shape.n_head * (1 + self.tokens)

    @property
    def states(self) -> int:
        return 4 + self.shape.n_layer * self.block

    def at(self, kind: Kind) -> Array:
        """Local indices by layer (and head, and source)."""
        heads, tokens = self.shape.n_head, self.tokens
        layer = 3 + np.arange(self.shape.n_layer) * self.block
        head = np.arange(heads)
        memory = head[:, None] * tokens + np.arange(tokens)
        wide = {Kind.QUERY: 10 + head, Kind.HEAD: 10 + heads + head, Kind.KEY: 10 + 2 * heads + memory,
                Kind.VALUE: 10 + 2 * heads + heads * tokens + memory}  # fmt: skip
        if kind in wide:
            outer: Array = np.add.outer(layer, wide[kind])
            return outer
        if kind in _EMBEDDINGS:
            return np.array([_EMBEDDINGS.index(kind)])
        return np.array([self.states - 1]) if kind is Kind.FINAL_NORM else layer + _SINGLE.index(kind)


_EMBEDDINGS: Final = (Kind.TOKEN_EMBEDDING, Kind.POSITION_EMBEDDING, Kind.EMBEDDING)
_SINGLE: Final = (
    Kind.ATTENTION_NORM, Kind.QKV, Kind.CONCATENATED_HEADS, Kind.ATTENTION_OUTPUT, Kind.ATTENTION_BIAS,
    Kind.RESIDUAL_MID, Kind.MLP_NORM, Kind.MLP_OUTPUT, Kind.MLP_BIAS, Kind.RESIDUAL_POST,
)  # fmt: skip
_RELATIONSHIPS: Final = tuple(RELATIONSHIP_TABLE)
_RESIDUALS: Final = (Kind.RESIDUAL_MID, Kind.RESIDUAL_POST)


def prompt_tables(shape: Shape, numbers: Sequence[int], seed: int = 0) -> dict[str, pa.Table]:
    """Everything of some prompts of a pretended model; `numbers` choose them, ids start from 0 in their order."""
    texts, rows = pa.array(words(shape.vocabulary)), _Rows()
    for local, number in enumerate(numbers):
        rng = np.random.default_rng([seed, number])
        _PromptGraph(shape, seed, local, _draw_prompt(rng, shape, number), rng, texts).add_to(rows)
    return rows.tables()


class _PromptGraph:
    """One prompt's nodes and relationships."""

    def __init__(
        self, shape: Shape, seed: int, local: int, prompt: _Prompt, rng: np.random.Generator, texts: pa.Array
    ) -> None:
        self.shape, self.prompt, self.rng, self.texts = shape, prompt, rng, texts
        self.local, self.model = local, model_id(shape, seed)
        self.tokens = len(prompt.ids)
        self.layout = _Layout(shape, self.tokens)
        self.facts = planted(shape)
        self.contributions = 0.0
        self.foil_contributions = 0.0

    def add_to(self, rows: _Rows) -> None:
        before = rows.count(STATE_LABELS), rows.count(_RELATIONSHIPS)
        self.rows = rows
        self._tokens()
        self._states()
        self._embeddings()
        self._attention()
        self._mlp()
        self._residuals()
        self._prompt(rows.count(STATE_LABELS) - before[0], rows.count(_RELATIONSHIPS) - before[1])

    def _ids(self, kind: Kind) -> Array:
        return self.local * STATE_STRIDE + self.layout.at(kind)

    def _effects(self, contribution: Array) -> dict[str, object]:
        """Contribution columns of flat rows; half of it, less a bit, goes to the foil."""
        flat = contribution.ravel().astype(np.float32)
        foil = (flat * np.float32(0.5) - np.float32(0.01)) if self.prompt.foil is not None else None
        return {"contribution": flat, "foil_contribution": foil}

    def _count(self, effects: Mapping[str, object]) -> dict[str, object]:
        """The same, counted as a part of the logit."""
        own, foil = effects["contribution"], effects["foil_contribution"]
        assert isinstance(own, np.ndarray)
        self.contributions += float(own.sum(dtype=np.float64))
        if isinstance(foil, np.ndarray):
            self.foil_contributions += float(foil.sum(dtype=np.float64))
        return dict(effects)

    def _edges(self, name: str, start: Array, end: Array, columns: Mapping[str, object] | None = None) -> None:
        start, end = np.broadcast_arrays(start, end)
        flat = {k: v.ravel() if isinstance(v, np.ndarray) else v for k, v in (columns or {}).items()}
        self.rows.add(name, {"from": start.ravel(), "to": end.ravel(), **flat})

    def _norms(self, *size: int, around: float = 20.0) -> Array:
        return (around * self.rng.uniform(0.5, 1.5, size)).astype(np.float32)

    def _tokens(self) -> None:
        self.token_ids = self.local * STATE_STRIDE + np.arange(self.tokens)
        self.rows.add(
            "Token",
            {"id": self.token_ids, "prompt": self.local, "position": np.arange(self.tokens),
             "text": self.texts.take(pa.array(self.prompt.ids)), "token_id": self.prompt.ids},
        )  # fmt: skip
        self._edges("HAS_TOKEN_Prompt_Token", np.array([self.local]), self.token_ids)

    def _target_ranks(self, kind: Kind) -> tuple[Array, Array]:
        """Ranks of target and foil of a kind's states, in the shape of their ids."""
        ids, vocabulary = self.layout.at(kind), self.shape.vocabulary
        random = np.exp(self.rng.uniform(np.log(4), np.log(vocabulary - 10), (2, *ids.shape))).astype(np.int64)
        target, foil = random
        if kind in (Kind.RESIDUAL_POST, Kind.FINAL_NORM):
            depth = (
                np.arange(1, self.shape.n_layer + 1) / self.shape.n_layer if kind is not Kind.FINAL_NORM else np.ones(1)
            )
            best = 1 if self.prompt.correct else 3
            target = np.maximum(best, (vocabulary ** (1 - depth)).astype(np.int64))
            foil = target + 1
        if kind is Kind.HEAD:
            target[self.facts.promoting] = 1
            target[self.facts.demoting] = vocabulary - self.rng.integers(0, 10)
            foil[self.facts.foil] = 1
            if self.prompt.role != "corrupted":
                target[self.facts.clean_only] = 1
        if kind is Kind.VALUE:
            target[(*self.facts.promoting, self.facts.subject)] = 1
        foil = np.where(foil == target, foil + 1, foil)
        return target, foil

    def _states(self) -> None:
        """All vectors with their projections."""
        last, facts = self.tokens - 1, self.facts
        for kind in (*_EMBEDDINGS, *_SINGLE, Kind.FINAL_NORM, Kind.QUERY, Kind.KEY, Kind.VALUE, Kind.HEAD):
            ids = self._ids(kind)
            layers = {Kind.FINAL_NORM: np.array([self.shape.n_layer])}.get(
                kind, np.array([-1]) if kind in _EMBEDDINGS else np.arange(self.shape.n_layer)
            )
            layer = np.broadcast_to(layers.reshape(-1, *[1] * (ids.ndim - 1)), ids.shape)
            columns: dict[str, object] = {
                "id": ids.ravel(), "prompt": self.local, "kind": str(kind), "layer": layer.ravel(),
                "norm": (self._norms(*ids.shape, around=30.0) * (1 + 0.2 * layer)).ravel(),
            }  # fmt: skip
            if ids.ndim > 1:
                head = np.arange(self.shape.n_head).reshape(1, -1, *[1] * (ids.ndim - 2))
                columns["head"] = np.broadcast_to(head, ids.shape).ravel()
            columns["position"] = last
            if ids.ndim == 3:
                columns["source"] = np.broadcast_to(np.arange(self.tokens), ids.shape).ravel()
                columns["position"] = columns["source"]
            target, foil = self._target_ranks(kind)
            label = kind.capitalize() if ids.ndim > 1 else "State"
            sure = kind is Kind.HEAD, facts.promoting[0] * self.shape.n_head + facts.promoting[1]
            projection = self._projection(target.ravel(), foil.ravel(), sure)
            self.rows.add(label, {**columns, **projection, **self._other_lenses(projection)})
            if kind is Kind.FINAL_NORM:
                self.prediction = projection

    def _projection(self, target: Array, foil: Array, sure: tuple[bool, int]) -> dict[str, object]:
        """Top tokens and probabilities that agree with the ranks of target and foil."""
        size, vocabulary = len(target), self.shape.vocabulary
        first = self.rng.uniform(0.05, 0.6, size)
        if sure[0]:
            first[sure[1]] = 0.9
        decay = (1 - first) * 0.9
        shown = first[:, None] * decay[:, None] ** np.arange(TOP_TOKENS)
        ids = _distinct_ids(self.rng, size, vocabulary, TOP_IDS + 2)
        ids = _place(ids, target, self.prompt.target, foil, self.prompt.foil)
        probability = _probability_of(shown)
        has_foil = self.prompt.foil is not None
        own = 1 + 31 * target % vocabulary
        return {
            "entropy": (1 - first) * np.log2(vocabulary), "top_token": self.texts.take(pa.array(ids[:, 0])),
            "top_tokens": _lists(self.texts, ids[:, :TOP_TOKENS]), "top_probs": shown.astype(np.float32),
            "top_ids": ids[:, :TOP_IDS], "target_rank": target, "target_prob": probability(target),
            "foil_rank": foil if has_foil else None, "foil_prob": probability(foil) if has_foil else None,
            "source_rank": own, "source_prob": probability(own),
        }  # fmt: skip

    @property
    def lens(self) -> str:
        """The lenses of the prompt."""
        return ",".join(Lens) if self.shape.lenses and self.prompt.number % 2 == 0 else str(Lens.CIRCUIT)

    def _other_lenses(self, projection: Mapping[str, object]) -> dict[str, object]:
        """Distinct top ids of the lenses beside `circuit`, a few of them also those of `circuit`."""
        ids = np.asarray(projection["top_ids"])
        columns = [column for lens, column in LENS_COLUMN.items() if lens in self.lens]
        return {column: (ids + 1 + number) % self.shape.vocabulary for number, column in enumerate(columns)}

    def _embeddings(self) -> None:
        self._edges(
            "EMBEDS_Token_State", self.token_ids[-1:], self._ids(Kind.TOKEN_EMBEDDING), {"score": self._norms(1)}
        )
        parts = np.concatenate([self._ids(Kind.TOKEN_EMBEDDING), self._ids(Kind.POSITION_EMBEDDING)])
        effects = self._count(self._effects(self.rng.normal(0, 0.2, 2)))
        self._edges("ADDS_State_State", parts, self._ids(Kind.EMBEDDING), {"score": self._norms(2), **effects})

    def _attention(self) -> None:
        layers, heads, tokens = self.shape.n_layer, self.shape.n_head, self.tokens
        wide = (Kind.QUERY, Kind.KEY, Kind.VALUE, Kind.HEAD)
        ids: dict[Kind, Array] = {kind: self._ids(kind) for kind in (*_SINGLE, *wide)}
        logits = self.rng.normal(0, 1, (layers, heads, tokens))
        attention = 0.7 * np.exp(logits) / np.exp(logits).sum(-1, keepdims=True) + 0.3 / tokens
        attention[self.facts.promoting] = 0.1 / (tokens - 1)
        attention[(*self.facts.promoting, self.facts.subject)] = 0.9
        attention = attention.astype(np.float32)
        rank = _ranks(attention)
        weights: dict[str, object] = {"score": attention, "rank": rank}
        for label, kind in (("Key", Kind.KEY), ("Value", Kind.VALUE)):
            self._edges(f"CREATES_Token_{label}", self.token_ids, ids[kind])
        self._edges("PROJECTS_State_State", ids[Kind.ATTENTION_NORM], ids[Kind.QKV], {"score": self._norms(layers)})
        self._edges(
            "SPLITS_State_Query", ids[Kind.QKV][:, None], ids[Kind.QUERY], {"score": self._norms(layers, heads)}
        )
        self._edges(
            "ATTENDS_Query_Key", ids[Kind.QUERY][..., None], ids[Kind.KEY], {**weights, "logit": np.log(attention)}
        )
        self._edges("RECALLS_Key_Value", ids[Kind.KEY], ids[Kind.VALUE], weights)
        effect = attention * self.rng.normal(0, 0.4, attention.shape)
        effect[(*self.facts.promoting, self.facts.subject)] = 4.0
        effect[(*self.facts.demoting, self.facts.subject)] = -5.0
        norm = attention * self._norms(layers, heads, tokens, around=40.0)
        summed = {"norm": norm, **self._effects(effect)}
        self._edges("SUMS_Value_Head", ids[Kind.VALUE], ids[Kind.HEAD][..., None], {**weights, **summed})
        by_head = effect.sum(-1)
        shown = self._count(self._effects(by_head))
        score = {"score": self._norms(layers, heads, around=15.0)}
        self._edges(
            "CONCATENATES_Head_State", ids[Kind.HEAD], ids[Kind.CONCATENATED_HEADS][:, None], {**score, **shown}
        )
        self._attention_neurons(ids, by_head)
        bias = self._count(self._effects(self.rng.normal(0, 0.1, layers)))
        output = by_head.sum(-1) + np.asarray(bias["contribution"])
        self._edges("ADDS_State_State", ids[Kind.ATTENTION_BIAS], ids[Kind.ATTENTION_OUTPUT],
                    {"score": self._norms(layers, around=4), **bias})  # fmt: skip
        self._edges("ADDS_State_State", ids[Kind.ATTENTION_OUTPUT], ids[Kind.RESIDUAL_MID],
                    {"score": self._norms(layers), **self._effects(output)})  # fmt: skip

    def _attention_neurons(self, ids: Mapping[Kind, Array], by_head: Array) -> None:
        width, layers = self.shape.d_model, self.shape.n_layer
        entry = self.rng.normal(0, 1, (layers, width)).astype(np.float32)
        effect = self.rng.normal(0, 0.01, (layers, self.shape.n_head, width // self.shape.n_head))
        effect += (by_head / effect.shape[-1])[..., None] - effect.mean(-1, keepdims=True)
        self._edges("PROJECTS_State_State", ids[Kind.CONCATENATED_HEADS], ids[Kind.ATTENTION_OUTPUT],
                    {"score": self._norms(layers)})  # fmt: skip
        self._neurons(
            Matrix.ATTENTION_OUTPUT, entry, entry, effect, ids[Kind.CONCATENATED_HEADS], ids[Kind.ATTENTION_OUTPUT]
        )

    def _neurons(
        self, matrix: Matrix, before: Array, after: Array, effect: Array, source: Array, target: Array
    ) -> None:
        layers, width = before.shape
        start = first_neuron(self.model) + (0 if matrix is Matrix.MLP else self.shape.d_mlp)
        neuron = start + np.arange(layers)[:, None] * (self.shape.d_mlp + self.shape.d_model) + np.arange(width)
        norms = np.stack([_neuron_norms(self.shape, layer, matrix) for layer in range(layers)])
        self._edges("ACTIVATES_State_Neuron", source[:, None], neuron, {"score": before, "rank": _ranks(before)})
        writes = {"score": after, "rank": _ranks(after), "norm": np.abs(after) * norms,
                  "contribution": effect.astype(np.float32),
                  "target_rank": self.rng.integers(1, self.shape.vocabulary + 1, before.shape)}  # fmt: skip
        self._edges("WRITES_Neuron_State", neuron, target[:, None], writes)

    def _mlp(self) -> None:
        layers, width = self.shape.n_layer, self.shape.d_mlp
        before = self.rng.normal(-0.5, 1.0, (layers, width)).clip(-4, 4)
        on, other = self.facts.always_on, self.facts.group_only
        before[on] = 9.0
        before[other] = 8.0 if self.prompt.group == "first" else 0.0
        before[other[0], 4] = 9.5
        after = (before / (1 + np.exp(-1.702 * before))).astype(np.float32)
        effect = (self.rng.normal(0, 0.3, (layers, width)) / np.sqrt(width)).astype(np.float32)
        norm, output, bias = self._ids(Kind.MLP_NORM), self._ids(Kind.MLP_OUTPUT), self._ids(Kind.MLP_BIAS)
        self._edges("PROJECTS_State_State", norm, output, {"score": self._norms(layers)})
        self._neurons(Matrix.MLP, before.astype(np.float32), after, effect, norm, output)
        self.contributions += float(effect.sum(dtype=np.float64))
        added = self._count(self._effects(self.rng.normal(0, 0.1, layers)))
        self._edges("ADDS_State_State", bias, output, {"score": self._norms(layers, around=4), **added})
        total = self._effects(effect.sum(-1) + np.asarray(added["contribution"]))
        self._edges("ADDS_State_State", output, self._ids(Kind.RESIDUAL_POST), {"score": self._norms(layers), **total})

    def _residuals(self) -> None:
        layers = self.shape.n_layer
        middle, post = (self._ids(kind) for kind in _RESIDUALS)
        start = np.concatenate([self._ids(Kind.EMBEDDING), post[:-1]])
        normed = [(start, self._ids(Kind.ATTENTION_NORM)), (middle, self._ids(Kind.MLP_NORM)),
                  (post[-1:], self._ids(Kind.FINAL_NORM))]  # fmt: skip
        for residual, norm in normed:
            self._edges("NORMALIZES_State_State", residual, norm, {"score": self._norms(len(norm))})
        self._edges("SKIPS_State_State", start, middle, {"score": self._norms(layers, around=60.0)})
        self._edges("SKIPS_State_State", middle, post, {"score": self._norms(layers, around=60.0)})

    def _prompt(self, states: int, relationships: int) -> None:
        prompt, texts = self.prompt, self.texts
        target = texts[prompt.target].as_py()
        final = {
            name: np.asarray(self.prediction[name])[0]
            for name in ("top_ids", "top_probs", "target_prob", "target_rank")
        }
        predicted = int(final["top_ids"][0])
        text = "".join(texts.take(pa.array(prompt.ids)).to_pylist())
        foil = prompt.foil
        self.rows.add(
            "Prompt",
            {
                "id": [self.local], "key": f"{self.model[:12]}-{prompt.number}", "model": self.model, "text": text,
                "dataset": "facts" if prompt.number // 4 % 2 == 0 else "names", "group": prompt.group,
                "pair": prompt.pair, "role": None if prompt.number // 4 % 3 == 2 else prompt.role, "n_tokens": self.tokens, "target": target,
                "target_id": prompt.target, "foil": None if foil is None else texts[foil].as_py(), "foil_id": foil,
                "predicted": texts[predicted].as_py(), "predicted_id": predicted, "predicted_prob": final["top_probs"][0],
                "target_prob": final["target_prob"], "target_rank": int(final["target_rank"]),
                "correct": prompt.correct, "target_logit": self.contributions + 0.25, "target_constant": 0.25,
                "foil_logit": None if foil is None else self.foil_contributions - 0.5,
                "foil_constant": None if foil is None else -0.5, "lens": self.lens, "positions": "last",
                "keep": "full", "bos": False, "note": None, "n_state": states, "n_relationship": relationships,
                "complete": True,
            },
        )  # fmt: skip


def _probability_of(shown: Array) -> Callable[[Array], Array]:
    """The probability at a rank: as shown among the top tokens, falling with the rank after them."""

    def probability(rank: Array) -> Array:
        within = np.take_along_axis(shown, np.clip(rank - 1, 0, TOP_TOKENS - 1)[:, None], axis=1)[:, 0]
        value: Array = np.where(rank <= TOP_TOKENS, within, within * TOP_TOKENS / np.maximum(rank, 1)).astype(
            np.float32
        )
        return value

    return probability


def _place(ids: Array, target_rank: Array, target: int, foil_rank: Array, foil: int | None) -> Array:
    """`ids` (50 and two spare) with target and foil at their ranks and nowhere else among the 50."""
    ids = ids.copy()
    spare = ids.shape[1] - 1
    rows = np.arange(len(ids))
    for token, rank in ((target, target_rank), *([(foil, foil_rank)] if foil is not None else [])):
        wanted = np.where(rank <= TOP_IDS, rank - 1, spare)
        found = ids == token
        present = found.any(1)
        at = np.where(present, found.argmax(1), spare)
        ids[rows, at] = ids[rows, wanted]
        ids[rows, wanted] = token
        spare -= 1
    return ids


def write(directory: Path, shape: Shape, prompts: int, seed: int = 0, batch: int = 20) -> list[Shard]:
    """A model shard and shards of `batch` prompts each under `directory`, the model's first."""
    return list(written(directory, shape, prompts, seed, batch))


def written(directory: Path, shape: Shape, prompts: int, seed: int = 0, batch: int = 20) -> Iterator[Shard]:
    """The same one by one, so that memory is bounded by the batch."""
    yield write_shard(directory, "model", model_tables(shape, seed))
    for start in range(0, prompts, batch):
        numbers = range(start, min(start + batch, prompts))
        yield write_shard(directory, "prompts", prompt_tables(shape, numbers, seed))


def main() -> None:
    """`python -m benchmarks.synthetic FOLDER --prompts 100`."""
    parser = argparse.ArgumentParser(description="Write synthetic shards of GPT-2-small shape.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--prompts", type=int, default=100)
    parser.add_argument("--tiny", action="store_true", help="three small layers instead of GPT-2 small")
    options = parser.parse_args()
    start = time.perf_counter()
    shards = write(options.folder, TINY if options.tiny else GPT2_SMALL, options.prompts)
    print(f"{len(shards)} shards in {time.perf_counter() - start:.1f} s under {options.folder}")


if __name__ == "__main__":
    main()
