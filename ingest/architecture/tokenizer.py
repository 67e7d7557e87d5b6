"""A tokenizer as the graph needs it: ids with or without BOS, readable labels, one token for a target."""

from __future__ import annotations

import json
import re
from functools import cached_property
from typing import Any, Final

from flowatlas.errors import InputError

_BYTE_TOKEN: Final = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_ANCHOR: Final = "a"
_NO_SPACE_AFTER: Final = frozenset("([{<\"'`$#@/\\-_\u201c\u2018\u00ab\u2014\u2013")


class Tokenizer:
    """A transformers tokenizer for a vocabulary of `vocab_size` tokens (the unembedding's rows)."""

    def __init__(self, tokenizer: Any, vocab_size: int) -> None:
        self._tokenizer = tokenizer
        self._vocab_size = vocab_size

    def encode(self, text: str) -> tuple[list[int], bool]:
        """Token ids of a prompt as the tokenizer makes them, and whether it put a BOS token first.

        An end-of-text token that the tokenizer adds behind is left out: the prompt is to be continued.
        """
        plain, ids = self._ids(text, special=False), self._ids(text, special=True)
        for start in range(len(ids) - len(plain) + 1):
            if ids[start : start + len(plain)] == plain:
                return ids[: start + len(plain)], start > 0
        return ids, False

    @cached_property
    def labels(self) -> list[str]:
        """The readable text of every token of the vocabulary.

        A leading space is a plain space, newlines are real characters, bytes that are no text of
        their own are shown as <0xE2>, special tokens by their name, and rows of the unembedding
        that the tokenizer does not know as <unused 50260>.
        """
        tokens = self._tokenizer.convert_ids_to_tokens(list(range(min(self._vocab_size, len(self._tokenizer)))))
        added = {int(index): str(token) for index, token in self._tokenizer.added_tokens_decoder.items()}
        readable = _reader(self._tokenizer)
        known = [added.get(index) or (None if token is None else readable(token)) for index, token in enumerate(tokens)]
        known += [added.get(index) for index in range(len(known), self._vocab_size)]
        return [f"<unused {index}>" if label is None else label for index, label in enumerate(known)]

    def label(self, token_id: int) -> str:
        """The readable text of one token."""
        return self.labels[token_id]

    def token_for(self, text: str, after: str = _ANCHOR) -> tuple[int, int]:
        """The first token of `text` as it continues the prompt `after`, and how many tokens it is.

        A text that begins with a letter or digit and has no space in front gets one, unless the
        prompt ends with a space or with something that words are written against, such as a bracket,
        or both are digits ("the year 17" goes on with "52"):
        after "The capital of Japan is" the target "Tokyo" means " Tokyo". When that takes several
        tokens and the text as given is a single one, the single one is taken.
        Raises InputError when the tokenizer has no token for the text.
        """
        if not text:
            raise InputError("A target is empty.", next_step="Give the target as text, or leave it out.")
        spaced = " " + text if text[0].isalnum() and after and not _clings(after, text) else text
        found = self._continuation(after, spaced)
        if len(found) > 1 and spaced != text:
            given = self._continuation(after, text)
            found = given if len(given) == 1 else found
        if not found or found[0] == self._tokenizer.unk_token_id or found[0] >= self._vocab_size:
            raise InputError(
                f"The tokenizer has no token for the target '{text}'.", next_step="Give another target for this prompt."
            )
        return found[0], len(found)

    def _continuation(self, before: str, text: str) -> list[int]:
        """Tokens of `text` where it follows `before`; those of `text` alone where the two would merge."""
        prefix = self._ids(before, special=False)
        whole = self._ids(before + text, special=False)
        if prefix and len(whole) > len(prefix) and whole[: len(prefix)] == prefix:
            return whole[len(prefix) :]
        return self._ids(text, special=False)

    def _ids(self, text: str, *, special: bool) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"]
        return [int(index) for index in ids]


def _clings(before: str, text: str) -> bool:
    """Whether `text` is written against the end of `before`, without a space: digits go on within a number."""
    within_number = before[-1].isdigit() and text[0].isdigit()
    return within_number or before[-1].isspace() or before[-1] in _NO_SPACE_AFTER


def _reader(tokenizer: Any) -> Any:
    """How this tokenizer's raw tokens are read, from what its own decoder does."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    decoder = json.dumps(json.loads(backend.to_str()).get("decoder")) if backend is not None else ""
    if '"ByteLevel"' in decoder:
        return _from_bytes
    if '"WordPiece"' in decoder:
        return lambda token: token[2:] if token.startswith("##") else " " + token
    return _from_pieces


def _from_pieces(token: str) -> str:
    """A sentencepiece token: a low line block is a space, <0x0A> a byte."""
    byte = _BYTE_TOKEN.fullmatch(token)
    if byte:
        value = int(byte[1], 16)
        return chr(value) if value < 0x80 else token
    return token.replace("\u2581", " ")


def _from_bytes(token: str) -> str:
    """A byte-level token: every character stands for a byte."""
    table = _BYTES
    if any(character not in table for character in token):
        return token
    data = bytes(table[character] for character in token)
    return "".join(
        f"<0x{ord(character) - 0xDC00:02X}>" if 0xDC80 <= ord(character) <= 0xDCFF else character
        for character in data.decode("utf-8", errors="surrogateescape")
    )


def _byte_of() -> dict[str, int]:
    """The byte of every character of byte-level vocabularies: printable Latin-1 stands for itself,
    the other bytes follow from U+0100 on, in order."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + index): byte for index, byte in enumerate(others)}


_BYTES: Final = _byte_of()
