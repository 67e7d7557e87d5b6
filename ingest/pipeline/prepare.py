"""Prompts made ready for the model: tokens, target, foil and key, or the reason why not."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowatlas.errors import InputError, UsageError
from flowatlas.vocabulary import SCHEMA_VERSION, Lens

if TYPE_CHECKING:
    from ingest.architecture.load import LoadedModel
    from ingest.capture.forward import Positions
    from ingest.prompts import PromptInput


@dataclass(frozen=True)
class Choices:
    """What an ingest stores: `positions` (`last`, `all`, or a list such as `0,3`), `keep`, `lens`.

    `lens` names lenses with commas between them; it is put into one order, `circuit` first and always there.
    """

    positions: str = "last"
    keep: str = "full"
    lens: str = "circuit"

    def __post_init__(self) -> None:
        """Raise UsageError for positions or a policy that do not exist."""
        if not re.fullmatch(r"last|all|-?\d+(,-?\d+)*", self.positions):
            raise UsageError(
                f"Positions '{self.positions}' are not known.", known="last, all, or a list such as 0,3,-1."
            )
        policy = re.fullmatch(r"full|top:([1-9]\d*)|mass:(0?\.\d+|1(?:\.0*)?|0)", self.keep)
        if policy is None or policy[2] == "0":
            known = "full, top:K with K from 1, or mass:P with a share P above 0 and up to 1."
            raise UsageError(f"What to keep, '{self.keep}', is not known.", known=known)
        object.__setattr__(self, "lens", ",".join(_lenses(self.lens)))

    @property
    def lenses(self) -> tuple[Lens, ...]:
        """The lenses of `lens`."""
        return tuple(Lens(name) for name in self.lens.split(","))

    @property
    def asked_positions(self) -> Positions:
        """`last`, `all`, or numbers."""
        if self.positions == "last":
            return "last"
        return "all" if self.positions == "all" else [int(part) for part in self.positions.split(",")]


def _lenses(text: str) -> list[Lens]:
    """The lenses that `text` names, in the order of the vocabulary. Raises UsageError."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in set(Lens):
            raise UsageError(f"There is no lens '{name}'.", known=f"Known: {', '.join(Lens)}; several with commas.")
    return [lens for lens in Lens if lens in names or lens is Lens.CIRCUIT]


@dataclass(frozen=True)
class Refused:
    """A prompt that is not ingested, and why."""

    where: str
    text: str
    reason: str


@dataclass(frozen=True)
class Prepared:
    """A prompt with its tokens. `target_id` and `foil_id` are -1 where none was given."""

    key: str
    source: PromptInput
    token_ids: list[int]
    bos: bool
    positions: list[int]
    target_id: int
    foil_id: int
    note: str | None


def prompt_key(model: str, source: PromptInput, choices: Choices) -> str:
    """Content hash of everything that decides what is stored for a prompt."""
    parts = [
        SCHEMA_VERSION, model, source.text, source.target, source.foil,
        choices.lens, choices.positions, choices.keep,
    ]  # fmt: skip
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


def prepare(source: PromptInput, model: LoadedModel, choices: Choices) -> Prepared | Refused:
    """Tokenize a prompt and its target and foil; refuse it with the reason where that cannot be done."""
    if not source.text.strip():
        return Refused(source.where, source.text, "the prompt is empty")
    token_ids, bos = model.tokenizer.encode(source.text)
    if not token_ids:
        return Refused(source.where, source.text, "the tokenizer makes no token of it")
    if len(token_ids) > model.decoder.n_context:
        length = f"it has {len(token_ids):,} tokens; {model.decoder.name} takes at most {model.decoder.n_context:,}"
        return Refused(source.where, source.text, length)
    notes: list[str] = []
    ids = []
    for role, text in (("target", source.target), ("foil", source.foil)):
        try:
            token, count = (-1, 0) if text is None else model.tokenizer.token_for(text, source.text)
        except InputError as error:
            return Refused(source.where, source.text, f"its {role}: {error.problem.rstrip('.')}")
        if count > 1:
            label = model.tokenizer.label(token)
            notes.append(f"the {role} {text!r} is {count} tokens; {label!r}, the first, stands for it")
        ids.append(token)
    try:
        positions = query_positions(choices.positions, len(token_ids))
    except ValueError as error:
        return Refused(source.where, source.text, str(error))
    key = prompt_key(model.decoder.fingerprint, source, choices)
    return Prepared(key, source, token_ids, bos, positions, ids[0], ids[1], "; ".join(notes) or None)


def query_positions(positions: str, n_tokens: int) -> list[int]:
    """The query positions that `positions` means for a prompt. Raises ValueError with the reason."""
    if positions == "last":
        return [n_tokens - 1]
    if positions == "all":
        return list(range(n_tokens))
    wanted = sorted({int(part) if int(part) >= 0 else n_tokens + int(part) for part in positions.split(",")})
    if wanted[0] < 0 or wanted[-1] >= n_tokens:
        raise ValueError(f"it has {n_tokens} tokens; positions {positions} are not all among them")
    return wanted
