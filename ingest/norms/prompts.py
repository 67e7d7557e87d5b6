"""The tokens of chosen prompts, and the model that they were ingested with, out of a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from flowatlas.errors import ModelError, QueryError, UsageError
from flowatlas.selection import Selection
from flowatlas.stores.base import Store
from ingest.architecture.decoder import Decoder


@dataclass(frozen=True)
class Chosen:
    """Token ids of prompts, in the order of their ids, all of one model."""

    model: str
    name: str
    prompts: list[list[int]]

    def check(self, decoder: Decoder) -> None:
        """Raise ModelError unless `decoder` is the prompts' model."""
        if decoder.fingerprint != self.model:
            raise ModelError(
                f"The prompts were ingested with another model than '{decoder.name}': {self.name} ({self.model}).",
                known=f"'{decoder.name}' has the fingerprint {decoder.fingerprint}.",
                next_step="Give the prompts' model with --model.",
            )


def choose(store: Store, selection: Selection, limit: int | None = None) -> Chosen:
    """The first `limit` complete prompts of `selection`; its `model` may be an id or a name.

    Raises QueryError when there are none, UsageError when they belong to several models.
    """
    names = {
        row["id"]: row["name"] for row in store.read("MATCH (m:Model) RETURN m.id AS id, m.name AS name").to_pylist()
    }
    where, parameters = _by_id(selection, names).conditions("p")
    text = f"MATCH (p:Prompt) WHERE p.complete {where} RETURN p.id AS id, p.model AS model ORDER BY id"
    found = store.read(text, parameters).to_pylist()
    if not found:
        raise QueryError(f"No prompts are chosen by '{selection}'.", next_step="`flowatlas query prompts` lists them.")
    models = sorted({row["model"] for row in found})
    if len(models) > 1:
        raise UsageError(
            "The prompts belong to several models.",
            known=", ".join(f"{names[model]} ({model})" for model in models),
            next_step="Choose one: -p model=ID.",
        )
    return Chosen(models[0], names[models[0]], _tokens(store, [row["id"] for row in found][:limit]))


def _by_id(selection: Selection, names: Mapping[str, str]) -> Selection:
    """`selection` with a model's id where its name was given. Raises UsageError when several have the name."""
    named = [model for model, name in names.items() if name == selection.model]
    if len(named) > 1:
        raise UsageError(f"Several models are called '{selection.model}'.", known=f"Their ids: {', '.join(named)}.")
    return replace(selection, model=named[0]) if named else selection


def _tokens(store: Store, ids: list[int]) -> list[list[int]]:
    text = (
        "MATCH (t:Token) WHERE t.prompt >= $first AND t.prompt <= $last "
        "RETURN t.prompt AS prompt, t.token_id AS token ORDER BY prompt, t.position"
    )
    table = store.read(text, {"first": ids[0], "last": ids[-1]})
    prompt, token = table["prompt"].to_numpy(), table["token"].to_numpy()
    starts, ends = np.searchsorted(prompt, ids), np.searchsorted(prompt, ids, side="right")
    return [token[start:end].tolist() for start, end in zip(starts, ends, strict=True)]
