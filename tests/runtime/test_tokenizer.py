"""The tokenizer: a hostile tokenizer.json is refused in a sentence, and a fork stays quiet."""

import json
import os
import subprocess
import sys

import pytest

import bvx.runtime.tokenizer
from bvx.runtime.errors import BundleError, InputError
from bvx.runtime.tokenizer import Tokenizer


@pytest.fixture
def good(make_bundle):
    return json.loads((make_bundle().path / "tokenizer.json").read_text())


def write(folder, content):
    path = folder / "tokenizer.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe not text",
        b"not JSON",
        b"null",
        b"[]",
        b"{}",
        b"[" * 200_000,
        b'{"model":' * 100_000,
        b'{"version": "1.0", "model": {"type": "WordPiece", "vocab": "a"}}',
        b'{"version": "1.0", "model": {"type": "Unigram", "vocab": [], "unk_id": 7}}',
        b'{"version": "1.0", "model": {"type": "BPE", "vocab": {"a": -1}, "merges": [["a", "b"]]}}',
    ],
    ids=lambda content: content[:30].decode("latin-1"),
)
def test_a_file_that_is_no_tokenizer_is_refused(tmp_path, content):
    with pytest.raises(BundleError, match=r"tokenizer\.json is not a tokenizer\.json that (bvx|tokenizers \S+) can"):
        Tokenizer(write(tmp_path, content), 24)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("model", 3),
        ("added_tokens", "x"),
        ("normalizer", {"type": "NoSuchThing"}),
        ("pre_tokenizer", {"type": "Split", "pattern": {"Regex": "(["}, "behavior": "Isolated", "invert": False}),
        ("post_processor", {"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": 5}),
        ("normalizer", {"type": "Precompiled", "precompiled_charsmap": "AAAA/w=="}),
    ],
)
def test_a_part_of_the_wrong_kind_is_refused(tmp_path, good, part, value):
    with pytest.raises(BundleError):
        Tokenizer(write(tmp_path, good | {part: value}), 24).encode(["the cat \u00e9"])


def test_a_file_too_large_for_any_vocabulary_is_refused_unread(tmp_path):
    path = tmp_path / "tokenizer.json"
    with path.open("wb") as file:
        file.truncate(32 * 2**20 + 1)
    with pytest.raises(BundleError, match="33,554,433 bytes; no vocabulary needs more than 33,554,432"):
        Tokenizer(path, 24)


def test_a_missing_file_is_a_bundle_error(tmp_path):
    with pytest.raises(BundleError, match="cannot be read"):
        Tokenizer(tmp_path / "tokenizer.json", 24)


def test_padding_and_truncation_in_the_file_are_not_applied(tmp_path, good):
    good["padding"] = {
        "strategy": {"Fixed": 10**12},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "[PAD]",
    }
    good["truncation"] = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    tokenizer = Tokenizer(write(tmp_path, good), 24)
    assert [len(tokens) for tokens in tokenizer.encode(["the cat sat on a mat", "dog"])] == [8, 3]


def test_many_texts_are_tokenised_in_chunks_in_their_order(tmp_path, good):
    tokenizer = Tokenizer(write(tmp_path, good), 24)
    texts = ["cat " * (i % 20) for i in range(2500)]
    assert [len(tokens) for tokens in tokenizer.encode(texts)] == [2 + i % 20 for i in range(2500)]
    pairs = ["dog"] * 2500
    assert [len(tokens) for tokens in tokenizer.encode(texts, pairs)] == [4 + i % 20 for i in range(2500)]


class Recording:
    """Stands for the tokenizers library, and keeps what it was asked for at once."""

    def __init__(self, library):
        self.library = library
        self.batches = []

    def encode_batch_fast(self, texts):
        self.batches.append(list(texts))
        return self.library.encode_batch_fast(texts)


def record(tokenizer, monkeypatch):
    recording = Recording(tokenizer._whole)
    monkeypatch.setattr(tokenizer, "_whole", recording)
    return recording.batches


@pytest.mark.parametrize("truncate", [False, True])
def test_a_text_too_long_to_be_meant_is_refused_untokenised(tmp_path, good, monkeypatch, truncate):
    tokenizer = Tokenizer(write(tmp_path, good), 24)
    batches = record(tokenizer, monkeypatch)
    monkeypatch.setattr(tokenizer, "_truncating", lambda: tokenizer._whole)
    with pytest.raises(InputError, match=r"texts\[1\] has 1,000,001 characters; bvx reads at most 1,000,000"):
        tokenizer.encode(["cat", "a" * 1_000_001], truncate=truncate)
    with pytest.raises(InputError, match="The pair has 1,000,001 characters"):
        tokenizer.encode(["cat"], ["a" * 1_000_001], truncate=truncate)
    assert not batches
    with pytest.raises(InputError, match="The token has 1,000,001 characters"):
        tokenizer.find("a" * 1_000_001)
    with pytest.raises(InputError, match="The text has 1,000,001 characters"):
        tokenizer.split("a" * 1_000_001)
    assert len(tokenizer.encode(["a" * 1_000_000])[0]) == 3


def test_long_texts_are_tokenised_a_few_at_once(tmp_path, good, monkeypatch):
    monkeypatch.setattr(bvx.runtime.tokenizer, "_CHUNK_CHARACTERS", 100)
    tokenizer = Tokenizer(write(tmp_path, good), 24)
    batches = record(tokenizer, monkeypatch)
    texts = ["a" * 60, "a" * 40, "a", "a" * 150, "", "a" * 99]
    assert len(tokenizer.encode(texts)) == 6
    assert batches == [texts[:2], texts[2:3], texts[3:4], texts[4:]]
    batches.clear()
    tokenizer.encode(texts[:2], ["b" * 30, "b" * 30])
    assert [len(batch) for batch in batches] == [1, 1], "pairs count as well"


def test_a_text_that_is_too_long_is_refused_before_the_texts_after_it_are_read(tmp_path, good, monkeypatch):
    monkeypatch.setattr(bvx.runtime.tokenizer, "_CHUNK_TEXTS", 2)
    tokenizer = Tokenizer(write(tmp_path, good), 24)
    batches = record(tokenizer, monkeypatch)
    with pytest.raises(InputError, match=r"texts\[3\] is 32 tokens long"):
        tokenizer.encode(["cat", "cat", "cat", "cat " * 30, "cat", "cat"])
    assert len(batches) == 2


def test_tokenising_takes_no_more_cores_than_asked_for(tmp_path, good, monkeypatch):
    monkeypatch.setattr(bvx.runtime.tokenizer, "allowed_cores", lambda: 8)
    texts = ["cat " * (i % 5) for i in range(10)]
    for threads, sizes in ((1, [1] * 10), (4, [4, 4, 2]), (8, [10]), (9, [10]), (None, [10])):
        tokenizer = Tokenizer(write(tmp_path, good), 24, threads)
        batches = record(tokenizer, monkeypatch)
        assert [len(tokens) for tokens in tokenizer.encode(texts)] == [2 + i % 5 for i in range(10)]
        assert [len(batch) for batch in batches] == sizes


def test_a_panic_inside_the_tokenizers_library_is_a_bundle_error(tmp_path, good, monkeypatch):
    tokenizer = Tokenizer(write(tmp_path, good), 24)
    panic = type("PanicException", (BaseException,), {})

    class Panicking:
        def encode_batch_fast(self, texts):
            raise panic("index out of bounds")

    monkeypatch.setattr(tokenizer, "_whole", Panicking())
    with pytest.raises(BundleError, match=r"failed on this text \(index out of bounds"):
        tokenizer.encode(["cat"])


def test_ctrl_c_is_not_taken_for_a_broken_tokenizer(tmp_path, good, monkeypatch):
    tokenizer = Tokenizer(write(tmp_path, good), 24)

    class Interrupted:
        def encode_batch_fast(self, texts):
            raise KeyboardInterrupt

    monkeypatch.setattr(tokenizer, "_whole", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        tokenizer.encode(["cat"])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_after_tokenising_prints_no_warning_and_changes_no_setting(tmp_path, good):
    program = """
import os, sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path
from bvx.runtime.tokenizer import Tokenizer
tokenizer = Tokenizer(Path(sys.argv[1]), 24)
tokenizer.encode(["cat", "dog"] * 50)
child = os.fork()
if not child:
    quiet = os.environ["TOKENIZERS_PARALLELISM"] == "false"
    os._exit(not quiet or len(tokenizer.encode(["cat", "dog"] * 50)) != 100)
assert os.waitpid(child, 0)[1] == 0
assert "TOKENIZERS_PARALLELISM" not in os.environ
"""
    clean = {name: value for name, value in os.environ.items() if name != "TOKENIZERS_PARALLELISM"}
    path = write(tmp_path, good)
    done = subprocess.run([sys.executable, "-c", program, str(path)], env=clean, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
