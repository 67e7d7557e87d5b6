"""Fields to prompts: plain records, and the shapes of data sets that people already have.

| shape | recognised by | prompts |
|---|---|---|
| plain | prompt | prompt, target, foil, dataset, group, pair, role as they are |
| relation | prompt_templates, samples | a sample's subject in the template; target the object |
| known facts | prompt, attribute | target the attribute; group the relation_id |
| indirect object | prompt, answer | target the answer; foil the other name, the one said twice |
| greater than | clean, corrupted, label | a minimal pair; target the label, the year's last two digits |
| CounterFact | requested_rewrite | subject in the prompt; target target_true; foil target_new |

The targets of shapes are words, so they get the blank that a prompt without one at its end needs;
the label of *greater than* goes on within a number and gets none.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final, cast

from flowatlas.errors import did_you_mean
from ingest.prompts.files import Record
from ingest.prompts.records import Broken, PromptInput, ReadOptions, Role

Fields = Mapping[str, object]
_BRACES: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")
_ESCAPE: Final = re.compile(r"\\u([0-9a-fA-F]{4})")
_NAME: Final = re.compile(r"\b[A-Z][a-z]+\b")


class RecordError(Exception):
    """A record that is no prompt; the message is the reason."""


def prompts_of(record: Record, dataset: str | None, options: ReadOptions) -> list[PromptInput] | Broken:
    """The prompts of one record: mostly one, two of a minimal pair. `dataset` is for records that name none."""
    try:
        shape = _plain if options.prompt_field or options.template is not None else _shape_of(record.fields)
        found = [replace(prompt, where=record.where) for prompt in shape(record, options)]
        changed = [_with_chosen_fields(prompt, record.fields, options) for prompt in found]
    except RecordError as error:
        return Broken(record.where, str(error))
    return [replace(prompt, dataset=options.dataset or prompt.dataset or dataset) for prompt in changed]


def expand(record: Record, options: ReadOptions) -> Iterator[Record]:
    """A relation as one record a sample and template, each prompt with each of its answers once; others as they are."""
    fields = record.fields
    templates, samples = fields.get("prompt_templates"), fields.get("samples")
    if not isinstance(templates, list) or not isinstance(samples, list):
        yield record
        return
    said = set()
    for template in templates if options.all_templates else templates[:1]:
        for number, sample in enumerate(samples, start=1):
            where = f"{record.where}, sample {number}"
            if not isinstance(sample, dict):
                yield Record(where, {})
                continue
            said_now = (template, sample.get("subject"), sample.get("object"))
            if said_now not in said:
                said.add(said_now)
                yield Record(where, {**sample, "relation": fields.get("name"), "relation_template": template})


def _shape_of(fields: Fields) -> Callable[[Record, ReadOptions], list[PromptInput]]:
    for needed, shape in _SHAPES:
        if all(name in fields for name in needed):
            return shape
    return _plain


def _plain(record: Record, options: ReadOptions) -> list[PromptInput]:
    fields = record.fields
    if options.template is None:
        text = _text(fields, options.prompt_field or "prompt")
    else:
        text = fill(options.template, fields, options.prompt_field or "prompt")
    if not text.strip():
        raise RecordError("its prompt is empty")
    role = _optional(fields, "role")
    if role not in (None, "clean", "corrupted"):
        raise RecordError(f"its role is '{role}'; a role is clean or corrupted")
    return [
        PromptInput(
            text,
            target=_optional(fields, "target"),
            foil=_optional(fields, "foil"),
            dataset=_optional(fields, "dataset"),
            group=_optional(fields, "group"),
            pair=_optional(fields, "pair"),
            role=cast("Role | None", role),
        )
    ]


def _relation_sample(record: Record, _: ReadOptions) -> list[PromptInput]:
    fields = record.fields
    subject, object_ = (_unescaped(_text(fields, name)) for name in ("subject", "object"))
    text = _in_template(_text(fields, "relation_template"), subject)
    group = _optional(fields, "relation")
    return [PromptInput(text, target=_word_after(text, object_), dataset="relations", group=group)]


def _known_fact(record: Record, _: ReadOptions) -> list[PromptInput]:
    text = _text(record.fields, "prompt")
    target = _word_after(text, _text(record.fields, "attribute"))
    return [PromptInput(text, target=target, group=_optional(record.fields, "relation_id"))]


def _indirect_object(record: Record, _: ReadOptions) -> list[PromptInput]:
    text, answer = _text(record.fields, "prompt"), _text(record.fields, "answer")
    names = [name for name in _NAME.findall(text) if name != answer.strip()]
    twice = [name for name in names if names.count(name) > 1] if answer.strip() in text else []
    foil = _word_after(text, twice[0]) if twice else None
    return [PromptInput(text, target=_word_after(text, answer), foil=foil)]


def _greater_than(record: Record, _: ReadOptions) -> list[PromptInput]:
    label = _text(record.fields, "label").zfill(2)
    roles: tuple[Role, ...] = ("clean", "corrupted")
    texts = [_text(record.fields, role) for role in roles]
    pair = hashlib.blake2b("\n".join(texts).encode(), digest_size=6).hexdigest()
    return [PromptInput(text, target=label, pair=pair, role=role) for text, role in zip(texts, roles, strict=True)]


def _counterfact(record: Record, _: ReadOptions) -> list[PromptInput]:
    rewrite = record.fields["requested_rewrite"]
    if not isinstance(rewrite, dict):
        raise RecordError("its requested_rewrite is no object")
    text = _in_template(_text(rewrite, "prompt"), _text(rewrite, "subject"))
    true, new = (_word_after(text, _text(rewrite, f"{name}.str")) for name in ("target_true", "target_new"))
    return [PromptInput(text, target=true, foil=new, group=_optional(rewrite, "relation_id"))]


_SHAPES: Final[tuple[tuple[tuple[str, ...], Callable[[Record, ReadOptions], list[PromptInput]]], ...]] = (
    (("requested_rewrite",), _counterfact),
    (("relation_template", "subject"), _relation_sample),
    (("clean", "corrupted", "label"), _greater_than),
    (("prompt", "attribute"), _known_fact),
    (("prompt", "answer"), _indirect_object),
)


def _with_chosen_fields(prompt: PromptInput, fields: Fields, options: ReadOptions) -> PromptInput:
    """The prompt with the fields that the options name in place of those of its shape."""

    def chosen(field: str | None, of_shape: str | None) -> str | None:
        return of_shape if field is None else _text(fields, field) or None

    return replace(
        prompt,
        target=chosen(options.target_field, prompt.target),
        foil=chosen(options.foil_field, prompt.foil),
        dataset=chosen(options.dataset_field, prompt.dataset),
        group=chosen(options.group_field, prompt.group),
    )


def fill(template: str, fields: Fields, prompt_field: str = "prompt") -> str:
    """`template` with `{name}` replaced by the field and `{}` by the prompt; `{{` and `}}` are braces.

    Raises RecordError for a field that is not there.
    """

    def value(match: re.Match[str]) -> str:
        whole = match.group(0)
        return whole[0] if whole in ("{{", "}}") else _text(fields, match.group(1).strip() or prompt_field)

    return _BRACES.sub(value, template)


def _unescaped(text: str) -> str:
    """Text with escapes of characters resolved: the published relations have some names escaped twice."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)


def _in_template(template: str, subject: str) -> str:
    return template.replace("{}", subject)


def _word_after(text: str, word: str) -> str:
    return word if text[-1:].isspace() or word[:1].isspace() else f" {word}"


def _text(fields: Fields, name: str) -> str:
    """A field that must be there, as text. Raises RecordError."""
    value = _field(fields, name)
    if value is None:
        raise RecordError(f"it has no field '{name}'. {_fields_message(fields, name)}")
    return _as_text(value, name)


def _optional(fields: Fields, name: str) -> str | None:
    value = fields.get(name)
    return None if value is None else _as_text(value, name) or None


def _field(fields: Fields, name: str) -> object:
    if name in fields:
        return fields[name]
    value: object = fields
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _as_text(value: object, name: str) -> str:
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise RecordError(f"its field '{name}' is not Unicode text: half a surrogate pair stands alone")
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise RecordError(f"its field '{name}' is {type(value).__name__}, not text")


def _fields_message(fields: Fields, name: str) -> str:
    if not fields:
        return "It has no fields."
    has = f"It has {', '.join(fields)}."
    near = did_you_mean(name, fields)
    return f"{has} {near}" if near.startswith("Did") else has
