"""Frozen real vocabularies give transformers' own ids, on text that nobody foresaw."""

import pytest

from bvx.runtime.tokenizer import Tokenizer

transformers = pytest.importorskip("transformers")

VOCABULARIES = {
    "albert-base-v2": ("albert", "AlbertTokenizer", {}),
    "electra-small-discriminator": ("electra", "ElectraTokenizer", {}),
    "roberta-base": ("roberta", "RobertaTokenizer", {}),
    "spanbert-base-cased": ("spanbert", "BertTokenizer", {"do_lower_case": False}),
}

AWKWARD = {
    "empty": "",
    "spaces": "  two  spaces\tand a tab\r\n\n",
    "accents": "Crème brûlée, naïve Zürich, A\u030angstro\u0308m",
    "CJK": "\u6771\u4eac\u90fd\u3067\u98df\u3079\u308b \u5317\u4eac\u5f88\u7f8e \ud55c\uad6d\uc5b4",
    "right to left": "\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd",
    "emoji": "great \U0001f600 \U0001f469\u200d\U0001f52c \U0001f1e9\U0001f1ea \u2764\ufe0f",
    "control characters": "a\x00b\x07c\x1b[31m d\x7fe\u200bf\ufeffg\ufffdh",
    "compatibility forms": "\ufb01ne \u2460 \uff21\uff22\uff23 \u00bd \u2026 \u00ad",
    "punctuation": "isn't \u201cquoted\u201d -- U.S. (1,000.50$) <a href='x'> a_b@c.d #tag",
    "special tokens": "[MASK] <mask> [CLS]</s><pad> [SEP] <unk>",
    "cased": "The QUICK Brown fOx",
    "100 kB without a space": "ab\u00e9\u6771" * 20_000,
    "numbers": "3.14159 1e-10 12345678901234567890",
}


@pytest.fixture(scope="module")
def open_both(shared, tmp_path_factory):
    """Our tokenizer from the frozen file, and transformers' from the same folder."""
    from bvx.exporter.checkpoint.tokenizer import freeze_folder
    from bvx.exporter.families import find_family

    opened = {}

    def make(name):
        if name not in opened:
            family, class_name, options = VOCABULARIES[name]
            folder = shared("tokenizers") / name
            config = {"vocab_size": 60_000, "pad_token_id": 0}
            frozen = freeze_folder(folder, config, find_family(family), max_length=512)
            path = tmp_path_factory.mktemp(name) / "tokenizer.json"
            path.write_bytes(frozen.files["tokenizer.json"])
            theirs = getattr(transformers, class_name).from_pretrained(folder, **options)
            opened[name] = (Tokenizer(path, 10**6), theirs)
        return opened[name]

    return make


@pytest.mark.parametrize("name", VOCABULARIES)
@pytest.mark.parametrize("text", AWKWARD.values(), ids=AWKWARD)
def test_awkward_text_has_transformers_ids(open_both, name, text):
    ours, theirs = open_both(name)
    assert ours.encode([text])[0].ids.tolist() == theirs(text)["input_ids"]


@pytest.mark.parametrize("name", VOCABULARIES)
def test_pairs_have_transformers_ids_and_types(open_both, name):
    ours, theirs = open_both(name)
    texts, pairs = list(AWKWARD.values())[:5], list(AWKWARD.values())[4:9]
    expected = theirs(texts, pairs, return_token_type_ids=True)
    found = ours.encode(texts, pairs)
    assert [tokens.ids.tolist() for tokens in found] == expected["input_ids"]
    assert [tokens.type_ids.tolist() for tokens in found] == expected["token_type_ids"]


@pytest.mark.parametrize("name", VOCABULARIES)
def test_truncation_cuts_where_transformers_cuts(open_both, name, tmp_path):
    whole, theirs = open_both(name)
    ours = Tokenizer(whole.path, 12)
    long, short = "a cat sat on the mat and saw a dog " * 3, "it rained on Sunday"
    expected = theirs([long, short], truncation=True, max_length=12)["input_ids"]
    assert [tokens.ids.tolist() for tokens in ours.encode([long, short], truncate=True)] == expected
    expected = theirs([long, short], [short, long], truncation=True, max_length=12)["input_ids"]
    assert [tokens.ids.tolist() for tokens in ours.encode([long, short], [short, long], truncate=True)] == expected


@pytest.mark.parametrize(
    ("name", "text", "ids"),
    [
        ("albert-base-v2", "Beijing is a beautiful city", [2, 6579, 25, 21, 1632, 136, 3]),
        ("electra-small-discriminator", "It was a great day", [101, 2009, 2001, 1037, 2307, 2154, 102]),
    ],
)
def test_published_ids_are_these(open_both, name, text, ids):
    ours, _ = open_both(name)
    assert ours.encode([text])[0].ids.tolist() == ids


def test_robertas_published_tokens_are_these(open_both):
    ours, _ = open_both("roberta-base")
    ids = ours.encode(["I had a sudden epiphany"])[0].ids.tolist()
    assert ours.tokens(ids[1:-1]) == ["I", "\u0120had", "\u0120a", "\u0120sudden", "\u0120ep", "iphany"]
