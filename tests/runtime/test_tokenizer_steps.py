"""A tokenizer.json that blows texts up is refused before the tokenizers library reads it; real ones are taken."""

import base64
import json
import re

import pytest
import tokenizers

from bvx.runtime.errors import BundleError
from bvx.runtime.tokenizer import Tokenizer
from bvx.runtime.tokenizer_steps import check_tokenizer


def file(model=None, **parts):
    return json.dumps({"model": model or {"type": "BPE"}, **parts}).encode()


def regex(pattern, content):
    return {"type": "Replace", "pattern": {"Regex": pattern}, "content": content}


def literal(pattern, content):
    return {"type": "Replace", "pattern": {"String": pattern}, "content": content}


def sequence(*steps):
    return {"type": "Sequence", "normalizers": list(steps)}


def charsmap(trie=b"\0" * 8, texts=b"a\0", size=None):
    declared = (len(trie) if size is None else size).to_bytes(4, "little")
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(declared + trie + texts).decode()}


def template(single, pair=(), **special):
    pieces = {"A": {"Sequence": {"id": "A", "type_id": 0}}, "C": {"SpecialToken": {"id": "C", "type_id": 0}}}
    return {
        "type": "TemplateProcessing",
        "single": [pieces[name] for name in single],
        "pair": [pieces[name] for name in pair],
        "special_tokens": {name: {"id": name, "ids": ids, "tokens": []} for name, ids in special.items()},
    }


METASPACE = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}
BYTES = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": False}

HOSTILE = {
    "nine times ten": ({"normalizer": sequence(*[regex(".", "0123456789")] * 9)}, "times as long"),
    "literals": ({"normalizer": sequence(*[literal("a", "aa")] * 7)}, "up to 128 times as long"),
    "one literal": ({"normalizer": literal("a", "a" * 65)}, "up to 65 times as long"),
    "nothing becomes something": ({"normalizer": sequence(*[literal("", "ab")] * 4)}, "up to 81 times"),
    "an empty match": ({"normalizer": sequence(*[regex("x*", "a")] * 7)}, "up to 128 times"),
    "nested": ({"normalizer": sequence(sequence(sequence(*[regex(".", "0123456789")] * 2)))}, "up to 121 times"),
    "prepended": ({"normalizer": {"type": "Prepend", "prepend": "a" * 64}}, "up to 65 times"),
    "bytes as characters": ({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [BYTES] * 7}}, "128 times"),
    "metaspaces": ({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [METASPACE] * 4}}, "256 times"),
    "two parts": ({"normalizer": literal("a", "a" * 40), "pre_tokenizer": BYTES}, "up to 80 times"),
    "decoder": ({"decoder": {"type": "Sequence", "decoders": [literal("a", "a" * 10)] * 2}}, "up to 100 times"),
    "text repeated": (
        {"post_processor": {"type": "Sequence", "processors": [template("AA")] * 7}},
        "up to 128 times as long",
    ),
    "pieces": ({"post_processor": template("A" + "C" * 64, C=[1])}, "has 66 pieces; wanted at most 64"),
    "ids": ({"post_processor": template("AC", C=[1] * 65)}, "has 67 pieces; wanted at most 64"),
    "forms": ({"normalizer": sequence(*[{"type": "NFKD"}, {"type": "NFC"}] * 3)}, "forms 6 times; wanted at most 4"),
    "steps": ({"normalizer": sequence(*[{"type": "Lowercase"}] * 64)}, "has 65 steps; wanted at most 64"),
    "a trie longer than the file": ({"normalizer": charsmap(size=2**31)}, "trie has 2,147,483,648 bytes; it has 10"),
    "no trie": ({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAA="}}, "it has 0"),
    "not base64": ({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA?AAA=="}}, "not base64"),
    "a long character": ({"normalizer": charsmap(texts=b"a" * 257 + b"\0")}, "makes 257 bytes of a character"),
    "guessed by its fields": ({"normalizer": {"pattern": {"String": "a"}, "content": "b"}}, "no field 'type'"),
    "dropout": ({"model": {"type": "BPE", "dropout": 0.1}}, "dropout is 0.1: .* read otherwise every time"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_with_what_it_does(tmp_path, name):
    parts, says = HOSTILE[name]
    (tmp_path / "tokenizer.json").write_bytes(file(**parts))
    with pytest.raises(BundleError, match=f"is not a tokenizer.json that bvx can use: .*{says}"):
        Tokenizer(tmp_path / "tokenizer.json", 24)


def test_a_key_that_two_readers_would_read_differently_is_refused():
    with pytest.raises(BundleError, match="a key appears twice"):
        check_tokenizer(b'{"model": {}, "normalizer": null, "normalizer": {"type": "NFC"}}')


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"normalizer": None, "pre_tokenizer": BYTES, "decoder": BYTES, "model": {"type": "BPE", "dropout": None}},
        {"model": {"type": "BPE", "dropout": 0.0}},
        {"normalizer": sequence(*[literal("ab", "c")] * 40)},
        {"normalizer": sequence(*[regex("[x-z]", "")] * 20)},
        {"normalizer": sequence(literal("``", '"'), {"type": "NFKD"}, charsmap(), regex(" {2,}", " ")),
         "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, METASPACE]}},
        {"normalizer": sequence({"type": "Prepend", "prepend": "\u2581"}, literal(" ", "\u2581"))},
        {"post_processor": template("CAC", "CAC", C=[1])},
    ],
    ids=range(8),
)  # fmt: skip
def test_what_real_files_do_is_taken(parts):
    check_tokenizer(file(**parts))


def test_alberts_own_map_of_characters_is_taken(shared, tmp_path):
    spiece = (shared("tokenizers") / "albert-base-v2" / "spiece.model").read_bytes()
    pytest.importorskip("transformers")
    from transformers.convert_slow_tokenizer import import_protobuf

    spec = import_protobuf().ModelProto.FromString(spiece).normalizer_spec.precompiled_charsmap
    tokenizer = tokenizers.Tokenizer(tokenizers.models.Unigram([("<unk>", 0.0), ("\u2581a", -1.0)], unk_id=0))
    tokenizer.normalizer = tokenizers.normalizers.Sequence(
        [
            tokenizers.normalizers.Replace("``", '"'),
            tokenizers.normalizers.NFKD(),
            tokenizers.normalizers.Precompiled(spec),
            tokenizers.normalizers.Replace(tokenizers.Regex(" {2,}"), " "),
        ]
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert Tokenizer(tmp_path / "tokenizer.json", 24).encode(["a \ufdfa"])[0].ids[0] == 1


def test_every_step_that_the_library_has_is_known_to_grow_or_not():
    """A new kind of step in a later release is looked at before it is let through."""
    known = {
        "normalizers": "BertNormalizer ByteLevel Lowercase NFC NFD NFKC NFKD Nmt Precompiled Prepend Replace Sequence "
        "Strip StripAccents",
        "pre_tokenizers": "BertPreTokenizer ByteLevel CharDelimiterSplit Digits FixedLength Metaspace Punctuation "
        "Sequence Split UnicodeScripts Whitespace WhitespaceSplit",
        "processors": "BertProcessing ByteLevel RobertaProcessing Sequence TemplateProcessing",
        "decoders": "BPEDecoder ByteFallback ByteLevel CTC DecodeStream Fuse Metaspace Replace Sequence Strip "
        "WordPiece",
    }
    for part, names in known.items():
        module = getattr(tokenizers, part)
        kinds = {name for name in dir(module) if re.match("[A-Z]", name) and isinstance(getattr(module, name), type)}
        base = {"Normalizer", "PreTokenizer", "PostProcessor", "Decoder"}
        assert kinds - base <= set(names.split()), part
