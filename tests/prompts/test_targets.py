"""What a target means after its prompt, for every way in which files give it."""

import pytest

from ingest.architecture.load import load_model


@pytest.fixture(scope="module")
def tokenizer():
    return load_model("demo").tokenizer


@pytest.mark.parametrize(
    ("prompt", "target", "first_character"),
    [
        ("The capital of Japan is the city of", "Tokyo", " "),
        ("The capital of Japan is the city of", " Tokyo", " "),
        ("The plan lasted from the year 1352 to the year 13", "52", "5"),
        ("He was born in the year", "1952", " "),
        ("It costs (", "five", "f"),
    ],
)
def test_a_word_follows_a_word_and_digits_follow_digits(tokenizer, prompt, target, first_character):
    token, _ = tokenizer.token_for(target, prompt)
    assert tokenizer.label(token)[0] == first_character
