"""Windows over long texts: those of transformers' fast tokenizers, with every token's place in the whole text."""

import re
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
import tokenizers

import bvx.runtime.windows
from bvx.runtime.errors import BundleError, InputError
from bvx.runtime.tokenizer import Origin, Tokenizer, Tokens
from bvx.runtime.windows import Windows

VOCABULARIES = {
    "albert-base-v2": ("albert", "AlbertTokenizer", {}),
    "electra-small-discriminator": ("electra", "ElectraTokenizer", {}),
    "roberta-base": ("roberta", "RobertaTokenizer", {}),
    "spanbert-base-cased": ("spanbert", "BertTokenizer", {"do_lower_case": False}),
}

QUESTION = "Who d\u00e9cides what\u2019s [SEP] unbelievable \U0001f600?"
CONTEXT = (
    "  Na\u00efve Zu\u0308rich,\n\n\n caf\u00e9s\u00a0and \U0001f469\u200d\U0001f52c teams: \u6771\u4eac\u90fd\u3067. "
    "Antidisestablishmentarianism [MASK] <mask> isn't \ufb01ne \u2014 'tis $1,000.50\t(or so)\r\n"
)


@pytest.fixture(scope="module")
def open_both(shared, tmp_path_factory):
    """Our tokenizer from the frozen file of a real vocabulary, and transformers' from the same folder."""
    transformers = pytest.importorskip("transformers")
    from bvx.exporter.checkpoint.tokenizer import freeze_folder
    from bvx.exporter.families import find_family

    opened = {}

    def make(name):
        if name not in opened:
            family, class_name, options = VOCABULARIES[name]
            folder = shared("tokenizers") / name
            frozen = freeze_folder(
                folder, {"vocab_size": 60_000, "pad_token_id": 0}, find_family(family), max_length=512
            )
            path = tmp_path_factory.mktemp(name) / "tokenizer.json"
            path.write_bytes(frozen.files["tokenizer.json"])
            theirs = getattr(transformers, class_name).from_pretrained(folder, **options)
            opened[name] = (Tokenizer(path, 512), theirs)
        return opened[name]

    return make


@pytest.mark.parametrize("name", VOCABULARIES)
@pytest.mark.parametrize(("max_length", "stride"), [(384, 128), (64, 16), (40, 0), (30, 4), (512, 128)])
@pytest.mark.parametrize("repeats", [1, 40], ids=["short", "long"])
@pytest.mark.parametrize("pairs", [True, False], ids=["pairs", "texts"])
def test_the_windows_are_those_of_transformers(open_both, name, max_length, stride, repeats, pairs):
    ours, theirs = open_both(name)
    question = QUESTION if max_length > 30 else "Who is it?"
    texts = [question, CONTEXT * repeats] if pairs else [CONTEXT * repeats]
    (found,) = ours.encode_windows(*([text] for text in texts), max_length=max_length, stride=stride)
    expected = theirs(
        *texts,
        truncation="only_second" if pairs else "only_first",
        max_length=max_length,
        stride=stride,
        return_overflowing_tokens=True,
        return_token_type_ids=True,
    )
    assert [window.ids.tolist() for window in found] == expected["input_ids"]
    assert [window.type_ids.tolist() for window in found] == expected["token_type_ids"]
    for number, window in enumerate(found):
        theirs_here = expected.encodings[number]
        assert window.origin.offsets.tolist() == [list(pair) for pair in theirs_here.offsets]
        assert window.origin.texts.tolist() == [-1 if one is None else one for one in theirs_here.sequence_ids]
        assert window.origin.words.tolist() == [-1 if one is None else one for one in theirs_here.word_ids]


@pytest.fixture
def tokenizer(make_bundle):
    return Tokenizer(make_bundle().path / "tokenizer.json", 24)


def lengths(windows):
    return [[len(window) for window in one] for one in windows]


def test_each_text_has_its_own_windows_in_order(tokenizer):
    texts = ["cat " * 40, "", "dog sat", "far " * 23]
    found = tokenizer.encode_windows(texts, stride=2)
    assert lengths(found) == [[24, 22], [2], [4], [24, 5]]
    assert lengths(tokenizer.encode_windows(["the"] * 4, texts, stride=2)) == [[24, 24, 8], [4], [6], [24, 9]]
    assert tokenizer.encode_windows([], stride=2) == tokenizer.encode_windows([], [], stride=2) == []


def test_windows_have_as_many_tokens_in_common_as_asked_for(tokenizer):
    text = " ".join(["the", "cat", "sat", "on", "a", "mat", "and", "ran", "far"] * 7)
    for stride in range(22):
        (windows,) = tokenizer.encode_windows([text], stride=stride)
        for one, other in pairwise(windows):
            shared = one.origin.offsets[-1 - stride : -1].tolist()
            assert other.origin.offsets[1 : 1 + stride].tolist() == shared
        seen = np.concatenate([window.origin.offsets[1:-1] for window in windows])
        assert np.unique(seen, axis=0).tolist() == [list(one.span()) for one in re.finditer(r"\w+", text)]


def test_a_text_that_just_fits_is_one_window_and_one_token_more_makes_two(tokenizer):
    assert lengths(tokenizer.encode_windows(["cat " * 22, "cat " * 23], stride=21)) == [[24], [24, 24]]
    assert lengths(tokenizer.encode_windows(["cat"] * 2, ["cat " * 20, "cat " * 21], stride=0)) == [[24], [24, 5]]


def test_of_a_long_first_text_as_much_is_kept_as_asked_for(tokenizer):
    (found,) = tokenizer.encode_windows(["cat dog sat " * 9], ["far " * 30], stride=0, max_first=5)
    (expected,) = tokenizer.encode_windows(["cat dog sat cat dog"], ["far " * 30], stride=0)
    assert [window.ids.tolist() for window in found] == [window.ids.tolist() for window in expected]
    assert [window.type_ids.tolist() for window in found] == [window.type_ids.tolist() for window in expected]
    assert lengths(tokenizer.encode_windows(["cat " * 30], stride=0, max_first=5)) == [[24, 10]], "no pair, no first"


@pytest.mark.parametrize(
    ("inputs", "options", "says"),
    [
        (
            (["cat " * 21], ["dog"]),
            {},
            r"Nothing of the pair has room in a window of 24 tokens, of which 24 are the text",
        ),
        (
            (["a", "cat " * 30], ["a", "a"]),
            {},
            r"Nothing of pairs\[1\] has room .* 33 are texts\[1\] and special tokens",
        ),
        ((["cat"],), {"max_length": 2}, "Nothing of the text has room in a window of 2 tokens, of which 2 are special"),
        ((["cat " * 30],), {"stride": 22}, "22 tokens of the text have room .* 22 cannot be the same .* below 22"),
        ((["cat"], ["cat " * 30]), {"stride": 30}, "20 tokens of the pair have room"),
        ((["cat"],), {"stride": -1}, "stride is -1"),
        ((["cat"],), {"stride": True}, "stride is True"),
        ((["cat"],), {"max_length": 0}, "max_length is 0"),
        ((["cat"],), {"max_length": 25}, "max_length is 25; this model takes 24"),
        ((["cat", 3],), {}, r"texts\[1\] is int, not str"),
        ((["cat"], ["\ud83d"]), {}, "The pair has half a surrogate pair"),
        ((["cat"], ["a" * 1_000_001]), {}, "The pair has 1,000,001 characters"),
        ((["cat"], []), {}, "There are 1 texts and 0 pairs"),
    ],
)
def test_what_cannot_be_read_in_windows_is_refused(tokenizer, inputs, options, says):
    with pytest.raises(InputError, match=says):
        tokenizer.encode_windows(*inputs, **{"stride": 0, **options})


def test_a_message_calls_the_texts_what_the_caller_does(tokenizer):
    with pytest.raises(InputError, match=r"Nothing of contexts\[1\] has room .* questions\[1\] and special tokens"):
        tokenizer.encode_windows(["a", "cat " * 30], ["a", "a"], stride=0, names=("question", "context"))
    with pytest.raises(InputError, match=r"questions\[1\] is bytes"):
        tokenizer.encode_windows(["a", b"a"], ["a", "a"], stride=0, names=("question", "context"))


def test_a_text_without_any_token_is_refused(make_bundle, tmp_path):
    library = make_bundle().tokenizer()
    library.post_processor = tokenizers.processors.TemplateProcessing(single="$A", pair="$A $B:1")
    library.save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer(tmp_path / "tokenizer.json", 24)
    assert lengths(tokenizer.encode_windows(["cat " * 30], stride=0)) == [[24, 6]]
    with pytest.raises(InputError, match=r"texts\[1\] has no tokens"):
        tokenizer.encode_windows(["cat", ""], stride=0)


def test_a_template_that_repeats_the_text_is_refused(make_bundle, tmp_path):
    library = make_bundle().tokenizer()
    library.post_processor = tokenizers.processors.TemplateProcessing(
        single="$A [SEP] $A", pair="$A $B", special_tokens=[("[SEP]", 3)]
    )
    library.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises((BundleError, InputError)):
        Tokenizer(tmp_path / "tokenizer.json", 24).encode_windows(["cat " * 30], stride=0)


def made_of(count):
    """[CLS] and so many tokens of one text."""
    places = np.arange(count + 1)
    origin = Origin(np.stack([places, places + 1], axis=1), np.where(places == 0, -1, 0), places - 1)
    return Tokens(places, np.zeros_like(places), origin)


def test_no_more_windows_are_made_than_memory_holds(monkeypatch):
    monkeypatch.setattr(bvx.runtime.windows, "_MOST_WINDOWS", 50)
    assert len(Windows(11, 9).cut(made_of(59), ["it"])) == 50
    with pytest.raises(InputError, match=r"51 windows would be read of it, each 1 tokens after .* at most 50 are"):
        Windows(11, 9).cut(made_of(60), ["it"])


def test_windows_of_a_million_tokens_take_little_more_than_the_tokens():
    tokens = made_of(1_000_000)
    tracemalloc.start()
    windows = Windows(384, 128).cut(tokens, ["it"])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(windows) == 3922
    assert peak < 120e6, "six numbers of 8 bytes for each of 1.5 million tokens, and a list of where the text is"
