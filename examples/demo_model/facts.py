"""True facts for the demo model: chosen from the relation files, asked in several phrasings."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RELATIONS_FOLDER = Path(__file__).resolve().parent.parent / "data" / "relations"
HELD_OUT_SEED = 1
HELD_OUT_SHARE = 0.15

_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z' .-]*")
_LONGEST_SUBJECT = 22


@dataclass(frozen=True)
class Relation:
    """How many facts to take from one file, and phrasings besides the file's own."""

    name: str
    limit: int
    per_answer: int
    phrasings: tuple[str, ...]
    skipped_answers: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Fact:
    relation: str
    subject: str
    answer: str


@dataclass(frozen=True)
class FactPrompt:
    """One fact in one phrasing; `text` ends right before the answer."""

    fact: Fact
    phrasing: str

    @property
    def text(self) -> str:
        return self.phrasing.replace("{}", self.fact.subject)


# `per_answer` keeps a frequent answer (London, Antarctica) from being a good guess.
RELATIONS = (
    Relation(
        "country_capital_city",
        24,
        1,
        ("{}'s capital is the city of", "The government of {} sits in the city of"),
    ),
    Relation("country_largest_city", 24, 1, ("In {}, the city with the most people is",)),
    Relation("country_language", 24, 7, ("The people of {} read and write in",)),
    Relation("country_currency", 30, 5, ("In the shops of {}, people pay with the",)),
    Relation(
        "city_in_country",
        27,
        4,
        ("The city of {} is in the country of",),
        # Upstream has Costa Rica as a city in San José.
        frozenset({"San José"}),
    ),
    Relation(
        "food_from_country",
        28,
        2,
        ("The dish called {} was first cooked in",),
        frozenset({"Middle East"}),
    ),
    Relation("landmark_in_country", 80, 3, ("To see {}, one must travel to",)),
    Relation("landmark_on_continent", 48, 12, ("The continent of {} is called",)),
    Relation("company_hq", 75, 2, ("The main office of {} is in the city of",)),
    Relation("product_by_company", 75, 4, ("The company that makes {} is",)),
    Relation("person_occupation", 40, 5, ("{} earned a living as a",)),
    Relation(
        "person_plays_instrument",
        40,
        10,
        ("On stage, {} plays the",),
        frozenset({"singing", "slide"}),
    ),
    Relation("person_plays_pro_sport", 40, 8, ("The sport of {} is",)),
    Relation("person_native_language", 40, 5, ("The native language of {} is",)),
    Relation("star_constellation", 30, 3, ("The star {} shines in the constellation of",)),
)


def _decoded(text: str) -> str:
    """Undo the doubly escaped characters of some entries."""
    return _ESCAPE.sub(lambda match: chr(int(match.group(1), 16)), text).strip()


def _read(relation: Relation) -> dict[str, Any]:
    path = RELATIONS_FOLDER / f"{relation.name}.json"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def phrasings(relation: Relation) -> list[str]:
    """The file's templates and ours, each once, all ending right before the answer.

    One that another continues ("The capital of {} is", "... is the city of") is left out: after it
    either continuation is right.
    """
    content = _read(relation)
    found = [*content["prompt_templates"], *content["prompt_templates_zs"], *relation.phrasings]
    return [
        phrasing
        for phrasing in dict.fromkeys(found)
        if not any(other != phrasing and other.startswith(phrasing) for other in found)
    ]


def _plain(subject: str) -> bool:
    return bool(_PLAIN_NAME.fullmatch(subject)) and len(subject) <= _LONGEST_SUBJECT


def _choose(relation: Relation) -> list[Fact]:
    """The file's first facts with a plain subject, each subject and answer rationed."""
    samples = [(_decoded(sample["subject"]), _decoded(sample["object"])) for sample in _read(relation)["samples"]]
    answers_of = Counter(subject for subject, _ in dict.fromkeys(samples))
    after_article = any(phrasing.endswith(" a") for phrasing in phrasings(relation))
    used: Counter[str] = Counter()
    chosen: list[Fact] = []
    for subject, answer in dict.fromkeys(samples):
        vowel_after_a = after_article and answer[0] in "aeiou"
        if answer in relation.skipped_answers or vowel_after_a or not _plain(subject):
            continue
        if answers_of[subject] > 1 or used[answer] >= relation.per_answer:
            continue
        used[answer] += 1
        chosen.append(Fact(relation.name, subject, answer))
    return chosen[: relation.limit]


def all_prompts() -> list[FactPrompt]:
    """Every fact in every phrasing, without prompts that have more than one true answer."""
    prompts = [
        FactPrompt(fact, phrasing)
        for relation in RELATIONS
        for fact in _choose(relation)
        for phrasing in phrasings(relation)
    ]
    answers: dict[str, set[str]] = {}
    for prompt in prompts:
        answers.setdefault(prompt.text, set()).add(prompt.fact.answer)
    once = {prompt.text: prompt for prompt in prompts if len(answers[prompt.text]) == 1}
    return list(once.values())


def _by_fact(prompts: list[FactPrompt]) -> Iterator[list[FactPrompt]]:
    grouped: dict[Fact, list[FactPrompt]] = {}
    for prompt in prompts:
        grouped.setdefault(prompt.fact, []).append(prompt)
    yield from grouped.values()


def split_prompts() -> tuple[list[FactPrompt], list[FactPrompt]]:
    """Prompts to train on, and phrasings of known facts that training never sees.

    A share of the facts with three or more phrasings lose one of them: every fact stays known,
    and the held-out prompts tell recall from having read the very sentence.
    """
    choice = random.Random(HELD_OUT_SEED)
    trained: list[FactPrompt] = []
    held_out: list[FactPrompt] = []
    for prompts in _by_fact(all_prompts()):
        if len(prompts) >= 3 and choice.random() < HELD_OUT_SHARE:
            held_out.append(prompts.pop(choice.randrange(len(prompts))))
        trained.extend(prompts)
    return trained, held_out
