"""The tokens of a text: how they read, where they stand, and which of them continue a word."""

import pytest
import tokenizers

from bvx.runtime.errors import BundleError
from bvx.runtime.heads.pieces import find_pieces, find_unknown, read_pieces
from bvx.runtime.tokenizer import Tokenizer


@pytest.fixture
def wordpiece(make_bundle):
    return Tokenizer(make_bundle().path / "tokenizer.json", 24)


@pytest.fixture
def byte_bpe(tmp_path):
    """A token for each byte, a space being one of its own kind, as in RoBERTa."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*alphabet, "<unk>"])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.add_special_tokens(["<unk>"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return Tokenizer(tmp_path / "tokenizer.json", 24)


def read(tokenizer, text, unknown=None):
    (tokens,) = tokenizer.encode([text], with_origin=True)
    return read_pieces(tokenizer, tokens, text, unknown)


def test_special_tokens_are_counted_and_left_out(wordpiece):
    (tokens,) = wordpiece.encode(["the cats"], with_origin=True)
    assert find_pieces(tokens).tolist() == [1, 2, 3]
    found = read(wordpiece, "The cats")
    assert [(one.index, one.word, one.start, one.end) for one in found] == [
        (1, "the", 0, 3),
        (2, "cat", 4, 7),
        (3, "##s", 7, 8),
    ]


def test_a_special_token_that_the_text_itself_spells_is_a_piece(wordpiece):
    assert [one.word for one in read(wordpiece, "cat [SEP] dog")] == ["cat", "[SEP]", "dog"]


def test_marked_tokens_continue_a_word(wordpiece):
    assert [one.continues for one in read(wordpiece, "the cats, walked")][:4] == [False, False, True, False]


def test_without_marks_what_no_space_parts_continues_a_word(byte_bpe):
    found = read(byte_bpe, "ab c,")
    assert [one.word for one in found] == ["a", "b", "\u0120", "c", ","]
    assert [one.continues for one in found] == [False, True, False, False, True]


def test_an_unknown_word_reads_as_it_was_written_and_continues_nothing(wordpiece, byte_bpe):
    second = read(wordpiece, "cat Zebra", wordpiece.find("[UNK]"))[1]
    assert (second.word, second.start, second.end, second.continues) == ("Zebra", 4, 9, False)
    assert read(wordpiece, "cat Zebra")[1].word == "[UNK]"
    second = read(byte_bpe, "a<unk>", byte_bpe.find("<unk>"))[1]
    assert (second.word, second.continues) == ("<unk>", False)
    assert read(byte_bpe, "a<unk>")[1].continues


def test_the_unknown_word_is_what_the_settings_name(wordpiece):
    assert find_unknown({}, wordpiece) is find_unknown({"unk_token": None}, wordpiece) is None
    assert find_unknown({"unk_token": "[UNK]"}, wordpiece) == 1
    for wrong in ("[unk]", 1, ["[UNK]"], ""):
        with pytest.raises(BundleError, match="unk_token"):
            find_unknown({"unk_token": wrong}, wordpiece)


def test_tokens_are_joined_as_their_vocabulary_reads(wordpiece, byte_bpe):
    assert wordpiece.subword_prefix == "##" and byte_bpe.subword_prefix == ""
    assert wordpiece.join(["the", "cat", "##s", ","]) == "the cats,"
    assert byte_bpe.join(["a", "\u0120", "\u00c3", "\u00a9"]) == "a \u00e9"
    assert wordpiece.join([]) == byte_bpe.join([]) == ""
