"""The training text: sentences about facts and indirect objects, one or two to a document."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import facts
import indirect_object

END_OF_TEXT = "<|endoftext|>"
INDIRECT_OBJECT_SHARE = 0.35
TWO_SENTENCES_SHARE = 0.2


@dataclass
class Corpus:
    """Draws documents without end; the same seed draws the same documents."""

    seed: int
    fact_prompts: list[facts.FactPrompt] = field(default_factory=lambda: facts.split_prompts()[0])
    name_pairs: list[indirect_object.Pair] = field(default_factory=lambda: indirect_object.split_pairs()[0])

    def __post_init__(self) -> None:
        self._choice = random.Random(self.seed)

    def _sentence(self) -> str:
        if self._choice.random() < INDIRECT_OBJECT_SHARE:
            pair = self._choice.choice(self.name_pairs)
            told = indirect_object.draw(self._choice, pair)
            return f"{told.text} {told.answer}."
        asked = self._choice.choice(self.fact_prompts)
        return f"{asked.text} {asked.fact.answer}."

    def document(self, sentences: int) -> str:
        return " ".join(self._sentence() for _ in range(sentences)) + END_OF_TEXT

    def batch(self, size: int) -> list[str]:
        """Documents of one sentence, sometimes of two: subjects are not always at the very start.

        All of a batch have as many: mixed lengths would be mostly padding.
        """
        sentences = 2 if self._choice.random() < TWO_SENTENCES_SHARE else 1
        return [self.document(sentences) for _ in range(size)]


def whole_words() -> list[str]:
    """Words that must be one token each: names, answers, places and objects."""
    answers = [prompt.fact.answer for prompt in facts.all_prompts()]
    words = [word for answer in answers for word in answer.split()]
    words += [*indirect_object.NAMES, *indirect_object.PLACES, *indirect_object.OBJECTS]
    return list(dict.fromkeys(words))


def tokenizer_texts(repeat: int = 200) -> Iterator[str]:
    """Text to learn the tokens from: every sentence once, and the whole words made frequent."""
    for prompt in facts.all_prompts():
        yield f"{prompt.text} {prompt.fact.answer}."
    told = Corpus(seed=0, fact_prompts=[])
    for pair in told.name_pairs:
        sentence = indirect_object.draw(random.Random(str(pair)), pair)
        yield f"{sentence.text} {sentence.answer}."
    for word in whole_words():
        yield f" {word}" * repeat
