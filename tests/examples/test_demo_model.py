"""The shipped demo model loads as any other, knows its facts, and shows them in its layers."""

import json
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
MODEL = EXAMPLES / "demo_model"
PROMPTS = EXAMPLES / "prompts.jsonl"
FIELDS = {"prompt", "target", "foil", "dataset", "group"}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Threads that wait for each other over a model this small cost more than they bring."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def scripts():
    """The model's own scripts, imported as a run of them imports one another."""
    sys.path.insert(0, str(MODEL))
    try:
        import corpus
        import evaluate
        import facts
        import indirect_object
    finally:
        sys.path.remove(str(MODEL))
    return {"corpus": corpus, "evaluate": evaluate, "facts": facts, "indirect_object": indirect_object}


@pytest.fixture(scope="module")
def loaded(scripts):
    return scripts["evaluate"].load(MODEL)


@pytest.fixture(scope="module")
def known_facts(scripts, loaded):
    trained, _ = scripts["facts"].split_prompts()
    return scripts["evaluate"].trace(*loaded, scripts["evaluate"].fact_questions(trained))


@pytest.fixture(scope="module")
def unseen_pairs(scripts, loaded):
    prompts = scripts["indirect_object"].held_out_prompts(200)
    return scripts["evaluate"].trace(*loaded, scripts["evaluate"].indirect_object_questions(prompts))


@pytest.fixture(scope="module")
def lines():
    return [json.loads(line) for line in PROMPTS.read_text(encoding="utf-8").splitlines()]


def first_guess(loaded, prompt):
    model, tokenizer = loaded
    with torch.inference_mode():
        logits = model(**tokenizer(prompt, return_tensors="pt")).logits[0, -1]
    return tokenizer.decode([int(logits.argmax())])


def test_the_weights_are_small():
    assert (MODEL / "model.safetensors").stat().st_size <= 12_000_000


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("The capital of Japan is the city of", " Tokyo"),
        ("When Mary and John went to the store, John gave a drink to", " Mary"),
        ("When Mary and John went to the store, Mary gave a drink to", " John"),
    ],
)
def test_well_known_prompts(loaded, prompt, answer):
    assert first_guess(loaded, prompt) == answer


def test_the_facts_are_known(known_facts):
    assert known_facts.correct.float().mean() >= 0.95


def test_pairs_of_names_never_seen_together_are_told_apart(unseen_pairs):
    assert unseen_pairs.correct.float().mean() >= 0.95


def test_training_draws_no_held_out_pair(scripts):
    trained, held_out = scripts["indirect_object"].split_pairs()
    assert {frozenset(pair) for pair in trained}.isdisjoint({frozenset(pair) for pair in held_out})
    assert scripts["corpus"].Corpus(seed=0).name_pairs == trained


def test_training_reads_no_held_out_phrasing(scripts):
    trained, held_out = scripts["facts"].split_prompts()
    assert {prompt.text for prompt in trained}.isdisjoint({prompt.text for prompt in held_out})
    assert {prompt.fact for prompt in held_out} <= {prompt.fact for prompt in trained}


@pytest.mark.parametrize("traced", ["known_facts", "unseen_pairs"])
def test_the_answer_rises_layer_by_layer(request, traced):
    mean_rank = request.getfixturevalue(traced).residual.float().mean(0).tolist()
    # Strictly, until it is everyone's first guess.
    assert all(after < before or before == after == 1 for before, after in pairwise(mean_rank)), mean_rank


@pytest.mark.parametrize("traced", ["known_facts", "unseen_pairs"])
def test_heads_carry_the_answer(request, traced):
    best = request.getfixturevalue(traced).head.flatten(1).min(dim=1).values
    assert (best <= 10).float().mean() >= 0.6


def test_names_and_answers_are_single_tokens(scripts, loaded, lines):
    _, tokenizer = loaded
    words = [f" {name}" for name in scripts["indirect_object"].NAMES]
    words += [line[field] for line in lines for field in ("target", "foil")]
    assert [word for word in words if len(tokenizer.encode(word)) != 1] == []


def test_text_survives_the_tokenizer(loaded, lines):
    _, tokenizer = loaded
    texts = [line["prompt"] + line["target"] for line in lines] + ["Brasília, naïve 東京\n\tx  y ."]
    assert [text for text in texts if tokenizer.decode(tokenizer.encode(text)) != text] == []


def test_the_auto_class_tokenizes_as_the_file_says(loaded):
    from tokenizers import Tokenizer

    _, tokenizer = loaded
    stored = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    text = "What is the capital of Japan? It is the city of Tokyo."
    assert tokenizer.encode(text) == stored.encode(text).ids


def test_the_example_prompts_are_whole(lines):
    assert len(lines) >= 300
    assert len({(line["prompt"], line["target"]) for line in lines}) == len(lines)
    for line in lines:
        assert set(line) - {"pair"} == FIELDS
        assert all(line.values())
        assert line["target"].startswith(" ")
        assert line["target"] != line["foil"]
        assert not line["prompt"].endswith(" ")


def test_pairs_of_prompts_are_two_and_two(lines):
    members: dict[str, list[dict[str, str]]] = {}
    for line in lines:
        if "pair" in line:
            members.setdefault(line["pair"], []).append(line)
    assert len(members) >= 40
    for clean, changed in members.values():
        assert (clean["target"], clean["foil"]) == (changed["foil"], changed["target"])


def test_most_example_prompts_are_answered(scripts, loaded, lines):
    questions = [scripts["evaluate"].Question(line["prompt"], line["target"].strip(), line["group"]) for line in lines]
    correct = scripts["evaluate"].trace(*loaded, questions).correct
    assert correct.float().mean() >= 0.95
