"""Labels that people can read, BOS that is told, and targets as one token."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from flowatlas.errors import InputError
from ingest.architecture.load import load_model
from ingest.architecture.tokenizer import Tokenizer
from support.models import byte_level_tokenizer, random_model


def wrapped(backend: Backend, size: int | None = None, **special: str) -> Tokenizer:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **special)
    return Tokenizer(tokenizer, len(tokenizer) if size is None else size)


def byte_level(size: int = 300) -> Tokenizer:
    return wrapped(byte_level_tokenizer(300), size, eos_token="<|endoftext|>", unk_token="<|endoftext|>")


def sentencepiece(**template: str) -> Tokenizer:
    """A tokenizer as Llama 2 has it: low lines for spaces, bytes for what is not in the vocabulary."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += ["▁", "T", "o", "k", "y", "▁T", "▁To", "▁Tok", "▁Toky", "▁Tokyo", "a", "▁a", "i", "s", "▁i", "▁is", "1"]
    merges = [("▁", "T"), ("▁T", "o"), ("▁To", "k"), ("▁Tok", "y"), ("▁Toky", "o"), ("▁", "a"), ("▁", "i"), ("▁i", "s")]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    backend = Backend(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    if template:
        backend.post_processor = processors.TemplateProcessing(
            special_tokens=[("<s>", 1), ("</s>", 2)], single=template["single"]
        )
    return wrapped(backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def test_byte_level_labels_keep_the_space_in_front_and_show_lone_bytes() -> None:
    labels = byte_level().labels
    assert labels[0] == "<|endoftext|>"
    assert " Tokyo" in labels
    assert " the" in labels
    assert "\n" in labels
    assert "é" not in labels
    assert "<0xE2>" in labels
    assert not any("Ġ" in label or "Ċ" in label for label in labels)


def test_a_byte_level_token_of_several_bytes_is_its_character() -> None:
    vocabulary = {"<|endoftext|>": 0} | {c: i + 1 for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    vocabulary["Ã©"] = len(vocabulary)
    vocabulary["ĠâĤ"] = len(vocabulary)
    backend = Backend(models.BPE(vocabulary, [("Ã", "©")]))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = wrapped(backend, unk_token="<|endoftext|>")
    assert tokenizer.label(tokenizer.encode("é")[0][0]) == "é"
    assert tokenizer.labels[vocabulary["ĠâĤ"]] == " <0xE2><0x82>"


def test_sentencepiece_labels() -> None:
    labels = sentencepiece().labels
    assert " Tokyo" in labels
    assert labels[:3] == ["<unk>", "<s>", "</s>"]
    assert labels[3 + 0x0A] == "\n"
    assert labels[3 + 0xE2] == "<0xE2>"
    assert not any("▁" in label for label in labels)


def test_word_piece_labels() -> None:
    backend = Backend(models.WordPiece({"[UNK]": 0, "tok": 1, "##yo": 2}, unk_token="[UNK]"))
    backend.decoder = decoders.WordPiece()
    assert wrapped(backend, unk_token="[UNK]").labels == ["[UNK]", " tok", "yo"]


def test_an_unembedding_wider_or_narrower_than_the_tokenizer() -> None:
    assert byte_level(303).labels[300:] == ["<unused 300>", "<unused 301>", "<unused 302>"]
    assert len(byte_level(120).labels) == 120


@pytest.mark.parametrize(
    ("single", "front", "bos"),
    [("$A", [], False), ("<s> $A", [1], True), ("<s> $A </s>", [1], True), ("$A </s>", [], False)],
)
def test_bos_is_told_and_an_end_of_text_is_left_out(single: str, front: list[int], bos: bool) -> None:
    plain = sentencepiece().encode("Tokyo is")[0]
    ids, has_bos = sentencepiece(single=single).encode("Tokyo is")
    assert (ids, has_bos) == (front + plain, bos)


@pytest.mark.parametrize("make", [byte_level, sentencepiece])
def test_a_word_after_a_word_gets_its_space(make: type[Tokenizer]) -> None:
    tokenizer = make()
    for text in ("Tokyo", " Tokyo"):
        token, count = tokenizer.token_for(text, "a is")
        assert (tokenizer.label(token), count) == (" Tokyo", 1)


def test_a_target_that_continues_the_prompt_as_it_stands() -> None:
    tokenizer = byte_level()
    assert tokenizer.label(tokenizer.token_for(",", "The city")[0]) == ","
    assert tokenizer.label(tokenizer.token_for("To", 'She said "')[0]) == "T"
    assert tokenizer.label(tokenizer.token_for("q", "The city ")[0]) == "q"


def test_a_target_of_several_tokens_is_cut_and_counted() -> None:
    tokenizer = byte_level()
    token, count = tokenizer.token_for("Tokyoites", "The city is")
    assert tokenizer.label(token) == " Tokyo"
    assert count > 1


def test_a_target_that_no_token_makes() -> None:
    backend = Backend(models.WordLevel({"[UNK]": 0, "a": 1, "b": 2}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = wrapped(backend, unk_token="[UNK]")
    assert tokenizer.token_for("b", "a")[0] == 2
    with pytest.raises(InputError, match="no token for the target 'zebra'"):
        tokenizer.token_for("zebra", "a")
    with pytest.raises(InputError, match="empty"):
        tokenizer.token_for("", "a")


def test_a_folder_with_nothing_but_tokenizer_json_cuts_as_that_file_says(tmp_path: Path) -> None:
    folder = random_model("gpt2", tmp_path)
    text = "The capital of Japan is Tokyo"
    expected = Backend.from_file(str(folder / "tokenizer.json")).encode(text).ids
    assert load_model(str(folder)).tokenizer.encode(text)[0] == expected
    (folder / "tokenizer_config.json").unlink()
    assert load_model(str(folder)).tokenizer.encode(text)[0] == expected
