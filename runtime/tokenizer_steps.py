"""What a tokenizer.json may make of a text: checked before the tokenizers library builds anything of it.

The library does as the file says, and a file from anywhere may say "replace every letter by ten, nine times": the
process then ends without an exception for want of memory. Real files make a text a few times longer at most.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from typing import NoReturn

from .errors import BundleError
from .json_reader import JsonValue, parse_json

__all__ = ["check_tokenizer"]

_MOST_STEPS = 64
"""In all parts together; BERT's tokenizer.json has 4, XLNet's 12."""

_MOST_GROWTH = 64
"""How many times as many bytes as a text has all steps together may make of it, each at its worst. ALBERT: 8."""

_MOST_FORMS = 4
"""Steps that change Unicode's forms, which make other characters longer (U+FDFA eleven times). ALBERT has two."""

_FORMS = ("NFC", "NFD", "NFKC", "NFKD", "BertNormalizer", "Precompiled")

_LONGEST_CHARACTER = 256
"""Bytes that a Precompiled map may make of one character; in SentencePiece's nmt_nfkc it is 33."""

_MOST_SPECIAL = 64
"""Pieces and ids of a template; BERT's has 10."""

_INNER = {
    "normalizer": "normalizers",
    "pre_tokenizer": "pretokenizers",
    "post_processor": "processors",
    "decoder": "decoders",
}
"""The parts of a tokenizer.json, and where a Sequence in them keeps its steps."""


def check_tokenizer(content: bytes) -> None:
    """Raises BundleError for a tokenizer.json that blows texts up, reads them at random, or is not one at all."""
    try:
        document = parse_json(content.decode("utf-8"), "tokenizer.json")
    except UnicodeDecodeError as error:
        _refuse(f"tokenizer.json is not UTF-8 ({error})")
    dropout = document.get("model").get("dropout", None)
    if dropout.value not in (None, 0):
        _refuse(f"{dropout.where} is {dropout.value!r:.40}: the same text would be read otherwise every time")
    steps = {part: list(_steps(document.get(part, None), inner)) for part, inner in _INNER.items()}
    count = sum(map(len, steps.values()))
    if count > _MOST_STEPS:
        _refuse(f"tokenizer.json has {count} steps; wanted at most {_MOST_STEPS}")
    decoding = steps.pop("decoder")
    for found in ([step for part in steps.values() for step in part], decoding):
        growth = math.prod(map(_growth, found))
        forms = sum(step.get("type").value in _FORMS for step in found)
        if growth > _MOST_GROWTH:
            _refuse(f"tokenizer.json makes a text up to {growth:.4g} times as long; wanted at most {_MOST_GROWTH}")
        if forms > _MOST_FORMS:
            _refuse(f"tokenizer.json changes Unicode's forms {forms} times; wanted at most {_MOST_FORMS}")


def _steps(part: JsonValue, inner: str) -> Iterator[JsonValue]:
    """The steps of one part, with those inside its Sequences."""
    waiting = [] if part.value is None else [part]
    while waiting:
        step = waiting.pop()
        # Without a type, the library would guess by the fields, and this check would have to guess as it does.
        if step.get("type").text() == "Sequence":
            waiting.extend(step.get(inner).items())
        yield step


def _growth(step: JsonValue) -> int:
    """How many bytes the step makes of one, at worst."""
    kind = step.get("type").text()
    if kind == "Replace":
        pattern, content = step.get("pattern"), _length(step.get("content"))
        literal = pattern.get("String", None)
        if literal.value is None or not _length(literal):
            return content + 1  # It may match nothing at all, between any two characters.
        return max(1, math.ceil(content / _length(literal)))
    if kind == "Prepend":
        return 1 + _length(step.get("prepend"))
    if kind == "Metaspace":
        return 1 + _length(step.get("replacement"))
    if kind == "ByteLevel":
        return 2  # Bytes that are no printable ASCII become characters of two.
    if kind == "Precompiled":
        _check_charsmap(step.get("precompiled_charsmap"))
    return _template_growth(step) if kind == "TemplateProcessing" else 1


def _template_growth(step: JsonValue) -> int:
    forms = [step.get(name).items() for name in ("single", "pair")]
    special = step.get("special_tokens").fields().values()
    pieces = sum(map(len, forms)) + sum(len(token.get("ids").items()) for token in special)
    if pieces > _MOST_SPECIAL:
        _refuse(f"{step.where} has {pieces} pieces; wanted at most {_MOST_SPECIAL}")
    repeats = [1]
    for form in forms:
        texts = [piece.get("Sequence").get("id").text() for piece in form if "Sequence" in piece.plain()]
        repeats += [texts.count(text) for text in texts]
    return max(repeats)


def _check_charsmap(value: JsonValue) -> None:
    """SentencePiece's map: the size of a trie (uint32, little-endian), the trie, and texts that end in a zero byte."""
    try:
        content = base64.b64decode(value.text(), validate=True)
    except ValueError:
        _refuse(f"{value.where} is not base64")
    size = int.from_bytes(content[:4], "little")
    if len(content) < 4 or size > len(content) - 4:
        _refuse(f"{value.where} says that its trie has {size:,} bytes; it has {max(0, len(content) - 4):,}")
    longest = max(map(len, content[4 + size :].split(b"\0")))
    if longest > _LONGEST_CHARACTER:
        _refuse(f"{value.where} makes {longest:,} bytes of a character; wanted at most {_LONGEST_CHARACTER}")


def _length(value: JsonValue) -> int:
    return len(value.text().encode())


def _refuse(cause: str) -> NoReturn:
    raise BundleError(f"{cause}.", "Export the bundle again with `bvx export`, from a checkpoint that you trust.")
