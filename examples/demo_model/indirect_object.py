"""Indirect-object sentences: "When Mary and John went to the store, John gave a drink to" Mary."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, replace

NAMES = (
    "Mary John Tom James Anna David Sarah Paul Emma Daniel Laura Peter Alice Robert Julia "
    "Michael Kate Simon Helen Martin Rachel Adam Lucy Henry Grace Jack Susan Mark Jane Andrew "
    "Clara Steven Nina George Eva Frank Sophie Oliver Maria Kevin Ruth Brian Lily Scott Amy "
    "Justin Carol Victor"
).split()
PLACES = ("store school garden restaurant station hospital park office library market beach museum").split()
OBJECTS = "drink book ring ticket letter basketball snack computer present map flower key".split()

# {first} and {second} are the two names in order, {giver} the one that comes again.
TEMPLATES = {
    "went_gave": "When {first} and {second} went to the {place}, {giver} gave a {object} to",
    "met_handed": "After {first} and {second} met at the {place}, {giver} handed a {object} to",
    "then_gave": "Then, {first} and {second} went to the {place}. {giver} gave a {object} to",
    "worked_passed": ("While {first} and {second} were working at the {place}, {giver} passed a {object} to"),
    "talked_sent": (
        "Yesterday {first} and {second} had a long talk at the {place}, and afterwards {giver} sent a {object} to"
    ),
    "friends_offered": ("The friends {first} and {second} found a {object} at the {place}, and {giver} offered it to"),
}
HELD_OUT_SEED = 2
HELD_OUT_SHARE = 0.15

Pair = tuple[str, str]


@dataclass(frozen=True)
class IndirectObjectPrompt:
    first: str
    second: str
    giver: str
    place: str
    object: str
    template: str

    @property
    def text(self) -> str:
        return TEMPLATES[self.template].format(
            first=self.first,
            second=self.second,
            giver=self.giver,
            place=self.place,
            object=self.object,
        )

    @property
    def answer(self) -> str:
        """The receiver: of the two names the one that is not said again."""
        return self.second if self.giver == self.first else self.first

    def other_giver(self) -> IndirectObjectPrompt:
        """The minimal pair: the same sentence with the other name repeated."""
        return replace(self, giver=self.answer)


def split_pairs() -> tuple[list[Pair], list[Pair]]:
    """Unordered pairs of names to train on, and pairs that training never sees together."""
    pairs = list(itertools.combinations(NAMES, 2))
    random.Random(HELD_OUT_SEED).shuffle(pairs)
    held_out = round(len(pairs) * HELD_OUT_SHARE)
    return pairs[held_out:], pairs[:held_out]


def draw(choice: random.Random, pair: Pair, template: str | None = None) -> IndirectObjectPrompt:
    """A sentence about the pair: order, giver, place and object at random."""
    first, second = choice.sample(pair, 2)
    return IndirectObjectPrompt(
        first=first,
        second=second,
        giver=choice.choice(pair),
        place=choice.choice(PLACES),
        object=choice.choice(OBJECTS),
        template=template or choice.choice(list(TEMPLATES)),
    )


def held_out_prompts(count: int, seed: int = 3) -> list[IndirectObjectPrompt]:
    """Prompts about name pairs that training never sees, templates in turn."""
    choice = random.Random(seed)
    _, pairs = split_pairs()
    templates = itertools.cycle(TEMPLATES)
    return [draw(choice, pair, next(templates)) for pair in itertools.islice(itertools.cycle(pairs), count)]
