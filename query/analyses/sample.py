"""The prompts that a report is about, and their vectors as arrays: each asked of the store once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final, Protocol

import numpy as np
import polars as pl
import pyarrow as pa

from flowatlas.errors import QueryError
from flowatlas.selection import Selection
from flowatlas.stores.base import Store
from flowatlas.vocabulary import TOP_IDS, Kind
from query.analyses.overlap import as_ids, checked_k
from query.prompts import find_prompt, model_of
from query.run import Result, run

Array = np.ndarray
_ALL: Final = 2**40
_ORDER: Final = ("prompt", "layer", "head", "source", "kind")


class Weights(Protocol):
    """What needs the model itself: the command line gives one that reads it."""

    def rows(self, layer: int, neurons: Sequence[int]) -> Array:
        """Rows (neurons, d_model) of a layer's second MLP matrix."""

    def mean(self, layer: int) -> Array:
        """The mean row (d_model) of that matrix."""

    def random_ids(self, count: int, seed: int) -> Array:
        """Top ids (count, ids) of standard normal vectors through the lens."""


@dataclass(frozen=True)
class Options:
    """What the figures depend on beside the prompts.

    `k` of I_k, `seed` and `resamples` of the bootstrap (the seed also shuffles the prompts of the
    control), `prompt` and `layer` of the graphs (None: chosen by what they show), `norms` the rows of
    `flowatlas norms`, `weights` a reader of the model.
    """

    k: int = 50
    seed: int = 0
    resamples: int = 1000
    prompt: str | None = None
    layer: int | None = None
    norms: pl.DataFrame | None = None
    weights: Weights | None = None


@dataclass(frozen=True)
class Heads:
    """Every head at the last position: arrays (prompts, layers, heads), `ids` with top ids behind."""

    ids: Array
    norm: Array
    contribution: Array
    foil_contribution: Array
    target_rank: Array
    top_token: Array
    result: Result


@dataclass(frozen=True)
class Values:
    """Memory values of one layer, one row each: `prompt` is an index into the sample's prompts."""

    prompt: Array
    head: Array
    source: Array
    rank: Array
    norm_rank: Array
    source_prob: Array
    ids: Array
    result: Result


@dataclass(frozen=True)
class Sample:
    """The prompts of one model that a selection chooses. Raises what `query.run` raises for a bad selection."""

    store: Store
    selection: Selection = field(default_factory=Selection)
    options: Options = field(default_factory=Options)

    @property
    def given(self) -> Mapping[str, object]:
        """The selection as parameters of a query."""
        return self.selection.given

    def ask(self, name: str, **given: object) -> Result:
        """The answer of a named query over the sample. Raises UsageError, QueryError.

        Rows by prompt are sorted again here, because arrays are made of them by their order: the
        embedded store was seen to give a large answer in an order that was not quite the one asked for.
        """
        result = run(self.store, name, **given, **self.given)
        order = [(column, "ascending") for column in _ORDER if column in result.table.column_names]
        return replace(result, table=result.table.sort_by(order)) if order and order[0][0] == "prompt" else result

    @cached_property
    def prompts(self) -> pl.DataFrame:
        """One row a prompt in the order of ids, as the query `prompts` gives them."""
        return self.ask("prompts", limit=_ALL).frame

    @cached_property
    def model(self) -> dict[str, Any]:
        """The model of the prompts."""
        return model_of(self.store, find_prompt(self.store, int(self.prompts["prompt"][0])))

    @cached_property
    def correct(self) -> Array:
        """Whether each prompt is answered right (prompts)."""
        return self.prompts["correct"].to_numpy().astype(bool)

    @property
    def size(self) -> int:
        """How many prompts."""
        return len(self.prompts)

    @property
    def layers(self) -> int:
        """Layers of the model."""
        return int(self.model["n_layer"])

    @cached_property
    def k(self) -> int:
        """k of I_k, checked against what is stored. Raises UsageError."""
        return checked_k(self.options.k, min(TOP_IDS, int(self.model["vocab_size"])))

    @cached_property
    def subsets(self) -> dict[str, Array]:
        """The prompts' masks by what panels are called: all, answered right, answered wrong (where both exist)."""
        found = {"all prompts": np.ones(self.size, bool)}
        if self.correct.any() and not self.correct.all():
            found |= {"answered right": self.correct, "answered wrong": ~self.correct}
        return found

    @property
    def subset_note(self) -> tuple[str, ...]:
        """What to say when the prompts cannot be split by correctness."""
        if len(self.subsets) > 1:
            return ()
        answered = "right" if self.correct.all() else "wrong"
        return (f"The model answers every prompt of the selection {answered}: there is nothing to set against them.",)

    def index(self, table: pa.Table) -> Array:
        """Rows' prompts as indices into `prompts`."""
        ids = self.prompts["prompt"].to_numpy()
        found: Array = np.searchsorted(ids, table["prompt"].to_numpy())
        return found

    @cached_property
    def states(self) -> Result:
        """The query behind `state`."""
        return self.ask("tops_of_states")

    @cached_property
    def _states(self) -> dict[str, tuple[Array, Array]]:
        """Ids (prompts, layers, ids), and rows of the answer (prompts, layers), by kind."""
        table = self.states.table
        ids, prompt = as_ids(table["top_ids"]), self.index(table)
        layer, kind = table["layer"].to_numpy(), np.asarray(table["kind"].to_pylist())
        found = {}
        for name in np.unique(kind):
            here = np.flatnonzero(kind == name)
            row = np.full((self.size, self.layers), -1)
            row[prompt[here], np.clip(layer[here], 0, self.layers - 1)] = here
            found[str(name)] = ids[row], row
        return found

    def state_ids(self, kind: Kind) -> Array | None:
        """Top ids (prompts, layers, ids) of a kind of vector, None where the model has no such vector.

        The embedding is there once: (prompts, 1, ids).
        """
        if kind not in self._states:
            return None
        ids = self._states[kind][0]
        return ids[:, :1] if kind is Kind.EMBEDDING else ids

    @cached_property
    def memo(self) -> dict[tuple[str, int | None], Any]:
        """What several figures are made of, kept by those that made it: never vectors' ids, which are large."""
        return {}

    @cached_property
    def heads(self) -> Heads:
        """Every head of every prompt."""
        result = self.ask("tops_of_heads")
        table, shape = result.table, (self.size, self.layers, int(self.model["n_head"]))
        if table.num_rows != shape[0] * shape[1] * shape[2]:
            raise QueryError(
                "Some prompts lack heads, so they cannot be compared head by head.",
                known=f"{table.num_rows} of {shape[0] * shape[1] * shape[2]} heads are stored.",
                next_step="Ingest the prompts with --keep full.",
            )
        numbers = {
            name: table[name].to_numpy(zero_copy_only=False).astype(np.float64).reshape(shape)
            for name in ("norm", "contribution", "foil_contribution", "target_rank")
        }
        tokens = np.asarray(table["top_token"].to_pylist(), dtype=object).reshape(shape)
        return Heads(ids=as_ids(table["top_ids"]).reshape(*shape, -1), top_token=tokens, result=result, **numbers)

    def values(self, layer: int, most: int | None = None) -> Values:
        """Memory values of a layer; with `most` only so many of a head, the best by attention."""
        result = self.ask("tops_of_values", layer=layer, values=most)
        table = result.table
        frame = pl.DataFrame({name: table[name].to_numpy() for name in ("prompt", "head", "norm")})
        norm_rank = frame.select(pl.col("norm").rank("ordinal", descending=True).over("prompt", "head"))["norm"]
        return Values(
            self.index(table), table["head"].to_numpy(), table["source"].to_numpy(), table["rank"].to_numpy(),
            norm_rank.to_numpy(), table["source_prob"].to_numpy().astype(np.float64), as_ids(table["top_ids"]), result,
        )  # fmt: skip
