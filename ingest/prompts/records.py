"""What a prompts file is turned into: prompts, and records that cannot be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Format = Literal["txt", "jsonl", "json", "csv", "tsv", "parquet"]
Role = Literal["clean", "corrupted"]


@dataclass(frozen=True)
class PromptInput:
    """One prompt as its file gives it.

    `target` and `foil` are text that continues `text` as it stands: a word after a word starts with
    its blank (" Tokyo"). `pair` is shared by the two prompts of a minimal pair. `where` is the place
    in the file, for messages ("facts.jsonl, line 7").
    """

    text: str
    target: str | None = None
    foil: str | None = None
    dataset: str | None = None
    group: str | None = None
    pair: str | None = None
    role: Role | None = None
    where: str = ""


@dataclass(frozen=True)
class Broken:
    """A record that is no prompt: where it stands and what is wrong with it."""

    where: str
    reason: str


@dataclass(frozen=True)
class ReadOptions:
    """How a prompts file is read.

    `format` overrides the file's extension (stdin is `txt` without it). The `..._field` options name
    fields, with dots into nested ones (`requested_rewrite.subject`); None means the field of the
    same name, or what a known shape says. `dataset` names the data set of all prompts (otherwise a
    record's own, or the file's name). `template` makes the prompt from fields in braces
    (`The capital of {subject} is`); `{}` is the prompt itself. `sample` draws that many records with
    `seed`, in their order in the file; `limit` takes the first ones. A minimal pair is one record.
    Relation files hold several templates a relation: the first is used, or all with `all_templates`.
    """

    format: str | None = None
    prompt_field: str | None = None
    target_field: str | None = None
    foil_field: str | None = None
    dataset_field: str | None = None
    group_field: str | None = None
    dataset: str | None = None
    template: str | None = None
    all_templates: bool = False
    sample: int | None = None
    seed: int = 0
    limit: int | None = None
