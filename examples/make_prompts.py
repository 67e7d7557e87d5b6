"""Write prompts.jsonl: a few hundred prompts for the demo model, ready to ingest.

    python examples/make_prompts.py [--out FILE]

Fields of a line: prompt; target, with its leading space and always one token; foil, a plausible
wrong answer; dataset; group; and pair, an id shared by the two prompts of a minimal pair.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODEL = HERE / "demo_model"
sys.path.insert(0, str(MODEL))

import facts  # noqa: E402
import indirect_object  # noqa: E402
from indirect_object import IndirectObjectPrompt  # noqa: E402
from transformers import AutoTokenizer  # noqa: E402

SEED = 4
FACTS_PER_RELATION = 15
HELD_OUT_STEP = 2
TRAINED_PAIRS_PER_TEMPLATE = 4
HELD_OUT_PAIRS_PER_TEMPLATE = 4
FIRST_COUNTRY = "Japan"
CAPITAL = "The capital of {} is the city of"
LARGEST_CITY = "The largest city in {} is the city of"
FROM_THE_PAPER = IndirectObjectPrompt("Mary", "John", "John", "store", "drink", "went_gave")

Line = dict[str, str]
Block = list[Line]  # lines that stay together
IsToken = Callable[[str], bool]


def _line(prompt: str, target: str, foil: str, dataset: str, group: str, pair: str | None = None) -> Line:
    written = {
        "prompt": prompt,
        "target": f" {target}",
        "foil": f" {foil}",
        "dataset": dataset,
        "group": group,
    }
    return written if pair is None else {**written, "pair": pair}


def one_token(model: Path) -> IsToken:
    tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    return lambda word: len(tokenizer.encode(f" {word}")) == 1


def _foil(fact: facts.Fact, answers: list[str]) -> str:
    """The next other answer of the relation: plausible, and wrong."""
    start = answers.index(fact.answer)
    return next(a for a in answers[start:] + answers if a != fact.answer)


def _fact_line(prompt: facts.FactPrompt, answers: list[str]) -> Line:
    fact = prompt.fact
    return _line(prompt.text, fact.answer, _foil(fact, answers), "relations", fact.relation)


def capital_blocks(prompts: list[facts.FactPrompt]) -> list[Block]:
    """Capital and largest city of a country; where they differ each is the other's foil."""
    asked = {(p.phrasing, p.fact.subject): p for p in prompts}
    capitals = [p.fact.answer for p in prompts if p.phrasing == CAPITAL]
    blocks = []
    for phrasing, subject in sorted(asked, key=lambda key: key[1] != FIRST_COUNTRY):
        capital, largest = asked.get((CAPITAL, subject)), asked.get((LARGEST_CITY, subject))
        if phrasing != CAPITAL or capital is None:
            continue
        if largest is None or largest.fact.answer == capital.fact.answer:
            blocks.append([_fact_line(capital, capitals)])
            continue
        cities = capital.fact.answer, largest.fact.answer
        pair = f"capital-or-largest:{subject}"
        blocks.append(
            [
                _line(capital.text, *cities, "relations", capital.fact.relation, pair),
                _line(largest.text, *cities[::-1], "relations", largest.fact.relation, pair),
            ]
        )
    return blocks


def relation_blocks(prompts: list[facts.FactPrompt], answers: list[str]) -> list[Block]:
    """The relation's first facts, each asked once, its phrasings in turn."""
    by_fact: dict[facts.Fact, list[facts.FactPrompt]] = {}
    for prompt in prompts:
        by_fact.setdefault(prompt.fact, []).append(prompt)
    return [
        [_fact_line(asked[turn % len(asked)], answers)]
        for turn, asked in enumerate(itertools.islice(by_fact.values(), FACTS_PER_RELATION))
    ]


def indirect_object_blocks() -> Iterator[Block]:
    """Minimal pairs that differ in the repeated name, with pairs of names seen and not seen."""
    choice = random.Random(SEED)
    seen, unseen = (iter(choice.sample(pairs, 100)) for pairs in indirect_object.split_pairs())
    drawn = [FROM_THE_PAPER]
    for template in indirect_object.TEMPLATES:
        for pairs, count in (
            (seen, TRAINED_PAIRS_PER_TEMPLATE),
            (unseen, HELD_OUT_PAIRS_PER_TEMPLATE),
        ):
            drawn += [indirect_object.draw(choice, pair, template) for pair in itertools.islice(pairs, count)]
    for number, clean in enumerate(drawn):
        name = f"indirect-object:{number:02d}"
        yield [
            _line(p.text, p.answer, p.giver, "indirect_object", p.template, name) for p in (clean, clean.other_giver())
        ]


def all_lines(is_token: IsToken) -> list[Line]:
    """The groups' blocks in turn, so that the first few lines already show every kind."""
    known, held_out = ([p for p in prompts if is_token(p.fact.answer)] for prompts in facts.split_prompts())
    by_relation: dict[str, list[facts.FactPrompt]] = {}
    for prompt in known:
        by_relation.setdefault(prompt.fact.relation, []).append(prompt)
    answers = {name: list(dict.fromkeys(p.fact.answer for p in prompts)) for name, prompts in by_relation.items()}
    columns: list[list[Block]] = [capital_blocks(known), list(indirect_object_blocks())]
    columns += [relation_blocks(prompts, answers[name]) for name, prompts in by_relation.items()]
    # Some phrasings never read in training: the model gets a few of these wrong.
    columns.append([[_fact_line(p, answers[p.fact.relation])] for p in held_out[::HELD_OUT_STEP]])
    blocks = [block for row in itertools.zip_longest(*columns) for block in row if block]
    lines = list(itertools.chain.from_iterable(blocks))
    # A prompt of a pair may come again as a single fact: the pair stays whole.
    paired = {line["prompt"] for line in lines if "pair" in line}
    once = {line["prompt"]: line for line in lines if "pair" in line or line["prompt"] not in paired}
    return list(once.values())


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the example prompts.")
    parser.add_argument("--out", type=Path, default=HERE / "prompts.jsonl")
    parser.add_argument("--model", type=Path, default=MODEL)
    options = parser.parse_args()
    lines = all_lines(one_token(options.model))
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    options.out.write_text(text, encoding="utf-8")
    print(f"{len(lines)} prompts: {options.out}")


if __name__ == "__main__":
    main()
