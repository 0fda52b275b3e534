"""Real vocabularies, where there are any (BVX_SHARED), and small ones made on the spot."""

from __future__ import annotations

import json
import os
import shutil
import unicodedata
from pathlib import Path

import pytest
import sentencepiece
import tokenizers
import transformers

from bvx.exporter.checkpoint.tokenizer import FrozenTokenizer, freeze_folder
from bvx.exporter.families import known_families
from bvx.runtime.errors import CheckpointError, UnsupportedModel

SHARED = Path(os.environ.get("BVX_SHARED", Path(__file__).parents[4] / "shared")) / "tokenizers"
needs_vocabularies = pytest.mark.skipif(
    not SHARED.is_dir(), reason=f"no real vocabularies in {SHARED} (set BVX_SHARED to a folder that has tokenizers/)"
)

AWKWARD = (
    "",
    " ",
    "Beijing is a beautiful city",
    "It was a great day",
    "I had a sudden epiphany",
    "  two  spaces \n\t tabs \r\n",
    "Café naïve Ångström ÅNGSTRÖM e\u0301 vs é",
    "İstanbul ıI ẞß ﬁ ①² Ω≈ç√∫˜µ≤ ¿Dónde?",  # noqa: RUF001 - awkward is the point
    "北京是一个美丽的城市 日本語テキスト 한국어",
    "family 👩‍👩‍👧 and flag 🇫🇷 😀!",
    "a\u200bb\u00a0c\u0000d\u0007e\ufffdf",
    "``quotes'' and “curly” ones",
    "1,000,000, 3, 9,",
    "<mask> [MASK] [CLS] <pad> </s>",
    "NASA's U.S.A. -- (really) ...",
    "x" * 3000,
)

REAL = (
    ("albert-base-v2", "albert", 30000, {}),
    ("electra-small-discriminator", "electra", 30522, {}),
    ("roberta-base", "roberta", 50265, {"pad_token_id": 1}),
    ("spanbert-base-cased", "spanbert", 28996, {}),
)
"""Folder, family, embedding rows, and what the configuration says beside."""


def freeze(folder: Path, family: str, rows: int, **config: object) -> FrozenTokenizer:
    return freeze_folder(folder, {"vocab_size": rows, **config}, known_families()[family], max_length=512)


def opened(frozen: FrozenTokenizer) -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer.from_str(frozen.files["tokenizer.json"].decode())


def by_transformers(name: str) -> transformers.PreTrainedTokenizerBase:
    if name.startswith("spanbert"):
        return transformers.BertTokenizer.from_pretrained(SHARED / name, do_lower_case=False)
    return transformers.AutoTokenizer.from_pretrained(SHARED / name)


def copied(name: str, folder: Path, *files: str) -> Path:
    for file in files:
        shutil.copyfile(SHARED / name / file, folder / file)
    return folder


@needs_vocabularies
@pytest.mark.parametrize(("name", "family", "rows", "config"), REAL)
def test_ids_are_those_of_transformers(name: str, family: str, rows: int, config: dict):
    tokenizer, reference = opened(freeze(SHARED / name, family, rows, **config)), by_transformers(name)
    for text in AWKWARD:
        assert tokenizer.encode(text).ids == reference(text)["input_ids"], text
        pair = tokenizer.encode(text, "And a second one.")
        expected = reference(text, "And a second one.", return_token_type_ids=True)
        assert (pair.ids, pair.type_ids) == (expected["input_ids"], expected["token_type_ids"]), text


@needs_vocabularies
@pytest.mark.parametrize(("name", "family", "rows", "config"), REAL)
def test_transformers_opens_the_frozen_files_and_says_the_same(
    name: str, family: str, rows: int, config: dict, tmp_path: Path
):
    frozen = freeze(SHARED / name, family, rows, **config)
    for file, content in frozen.files.items():
        (tmp_path / file).write_bytes(content)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": known_families()[family].model_type}))
    reopened, tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path), opened(frozen)
    assert reopened.pad_token_id == frozen.info.pad_id
    for text in AWKWARD:
        assert reopened(text)["input_ids"] == tokenizer.encode(text).ids, text


@needs_vocabularies
@pytest.mark.parametrize(
    ("name", "family", "rows", "files"),
    [
        ("electra-small-discriminator", "electra", 30522, ("vocab.txt", "tokenizer_config.json")),
        ("roberta-base", "roberta", 50265, ("vocab.json", "merges.txt", "tokenizer_config.json")),
        ("roberta-base", "roberta", 50265, ("vocab.json", "merges.txt")),
    ],
)
def test_the_older_files_say_what_tokenizer_json_says(
    name: str, family: str, rows: int, files: tuple[str, ...], tmp_path: Path
):
    whole = opened(freeze(SHARED / name, family, rows))
    older = opened(freeze(copied(name, tmp_path, *files), family, rows))
    assert older.get_vocab() == whole.get_vocab()
    assert [older.encode(text).ids for text in AWKWARD] == [whole.encode(text).ids for text in AWKWARD]


@needs_vocabularies
def test_known_sentences_have_their_known_ids():
    albert, electra, roberta = (opened(freeze(SHARED / n, f, r, **c)) for n, f, r, c in REAL[:3])
    assert albert.encode("Beijing is a beautiful city").ids == [2, 6579, 25, 21, 1632, 136, 3]
    assert electra.encode("It was a great day").ids == [101, 2009, 2001, 1037, 2307, 2154, 102]
    tokens = roberta.encode("I had a sudden epiphany").tokens
    assert tokens == ["<s>", "I", "Ġhad", "Ġa", "Ġsudden", "Ġep", "iphany", "</s>"]


@needs_vocabularies
def test_albert_agrees_with_sentencepiece_on_case_accents_and_width():
    """Where none of the eight symbols is in play that the vocabulary protects and transformers cuts out beforehand."""
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(SHARED / "albert-base-v2" / "spiece.model"))
    tokenizer = opened(freeze(SHARED / "albert-base-v2", "albert", 30000))
    texts = [text for text in AWKWARD if text.strip() and not set(text) & set('()"-.\u2013£€<[`“')]
    assert len(texts) > 8
    for text in texts:
        plain = unicodedata.normalize("NFKD", " ".join(text.split()))
        plain = "".join(character for character in plain if not unicodedata.combining(character)).lower()
        assert tokenizer.encode(text, add_special_tokens=False).ids == pieces.encode(plain), text


@needs_vocabularies
def test_a_cased_vocabulary_without_settings_stays_cased():
    assert "Beijing" in opened(freeze(SHARED / "spanbert-base-cased", "spanbert", 28996)).encode("Beijing").tokens


@needs_vocabularies
@pytest.mark.parametrize(("family", "token"), [("albert", "beijing"), ("bert", "beijing"), ("electra", "beijing")])
def test_the_tokenizer_follows_from_the_files_not_the_family(family: str, token: str, tmp_path: Path):
    folder = copied("electra-small-discriminator", tmp_path, "vocab.txt")
    assert token in opened(freeze(folder, family, 30522)).encode("Beijing").tokens


@needs_vocabularies
def test_what_the_checkpoint_says_of_case_wins_over_the_family_and_over_tokenizer_json(tmp_path: Path):
    folder = copied("electra-small-discriminator", tmp_path, "tokenizer.json")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false, "tokenizer_class": "BertTokenizer"}')
    assert "beijing" not in opened(freeze(folder, "bert", 30522)).encode("Beijing").tokens


@needs_vocabularies
def test_a_pipeline_of_its_own_survives_and_other_tools_are_told_to_keep_it(tmp_path: Path):
    folder = copied("electra-small-discriminator", tmp_path, "tokenizer.json", "tokenizer_config.json")
    content = json.loads((folder / "tokenizer.json").read_text())
    replace = {"type": "Replace", "pattern": {"String": "cat"}, "content": "dog"}
    content["normalizer"] = {"type": "Sequence", "normalizers": [content["normalizer"], replace]}
    (folder / "tokenizer.json").write_text(json.dumps(content))
    frozen = freeze(folder, "electra", 30522)
    assert "dog" in opened(frozen).encode("A cat.").tokens
    assert json.loads(frozen.files["tokenizer_config.json"])["tokenizer_class"] == "PreTrainedTokenizerFast"


def wordpiece(folder: Path, *words: str, **settings: object) -> Path:
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]) + "\n")
    if settings:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def test_truncation_and_padding_are_left_out(tmp_path: Path):
    tokenizer = opened(freeze(wordpiece(tmp_path, "a", "b"), "bert", 9))
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=7)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    frozen = opened(freeze(tmp_path, "bert", 9))
    assert frozen.truncation is None and frozen.padding is None
    assert frozen.encode("a b a b a b a b").ids == [2, 5, 6, 5, 6, 5, 6, 5, 6, 3]


def test_a_vocabulary_larger_than_the_table_is_refused_and_a_smaller_one_is_not(tmp_path: Path):
    folder = wordpiece(tmp_path, "a", "b")
    with pytest.raises(CheckpointError, match=r"ids go up to 6; the embedding table has 6 rows"):
        freeze(folder, "bert", 6)
    assert freeze(folder, "bert", 7).info.pad_id == 0
    assert freeze(folder, "bert", 700).info.pad_id == 0


def test_a_folder_without_a_tokenizer_says_what_was_wanted(tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"no tokenizer: wanted tokenizer\.json, spiece\.model"):
        freeze(tmp_path, "bert", 9)


def test_a_vocabulary_of_another_make_is_refused(tmp_path: Path):
    with pytest.raises(UnsupportedModel, match="BertweetTokenizer"):
        freeze(wordpiece(tmp_path, "a", tokenizer_class="BertweetTokenizer"), "roberta", 9)


def test_code_that_comes_with_a_tokenizer_is_refused(tmp_path: Path):
    with pytest.raises(UnsupportedModel, match="auto_map"):
        freeze(wordpiece(tmp_path, "a", auto_map={"AutoTokenizer": ["x.Y", None]}), "bert", 9)


def test_a_damaged_tokenizer_is_refused(tmp_path: Path):
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "Nothing"}}')
    with pytest.raises(CheckpointError, match="is not a tokenizer"):
        freeze(tmp_path, "bert", 9)


def test_special_tokens_side_and_length_are_recorded(tmp_path: Path):
    folder = wordpiece(tmp_path, "a", padding_side="left", model_max_length=10**30, pad_token_type_id=1)
    frozen = freeze(folder, "bert", 9)
    settings = json.loads(frozen.files["tokenizer_config.json"])
    assert (frozen.info.pad_token, frozen.info.pad_id, frozen.info.pad_type_id) == ("[PAD]", 0, 1)
    assert frozen.info.padding_side == "left" and not frozen.info.standin
    assert (frozen.mask_token, frozen.mask_token_id) == ("[MASK]", 4)
    assert settings["model_max_length"] == 512 and settings["tokenizer_class"] == "BertTokenizer"
    assert json.loads(frozen.files["special_tokens_map.json"])["cls_token"] == "[CLS]"


def test_merges_are_never_left_out_at_random(tmp_path: Path):
    vocabulary = {"<pad>": 0, "a": 1, "b": 2, "ab": 3}
    model = tokenizers.models.BPE(vocab=vocabulary, merges=[("a", "b")], dropout=0.5)
    tokenizers.Tokenizer(model).save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text('{"pad_token": "<pad>"}')
    frozen = freeze(tmp_path, "roberta", 9)
    assert json.loads(frozen.files["tokenizer.json"])["model"]["dropout"] is None


def test_lowercasing_before_the_tokenizer_is_part_of_the_frozen_one(tmp_path: Path):
    folder = wordpiece(tmp_path, "a", do_lower_case=False)
    config = {"vocab_size": 9}
    plain = freeze_folder(folder, config, known_families()["bert"], max_length=8)
    lowered = freeze_folder(folder, config, known_families()["bert"], max_length=8, lowercase_first=True)
    assert opened(plain).encode("A").ids == [2, 1, 3]
    assert opened(lowered).encode("A").ids == [2, 5, 3]
