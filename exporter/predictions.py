"""Texts in, answers out, for `bvx run`: lines are read as they come and answered in order, in constant memory."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..runtime.errors import BvxError, InputError, PlanError
from .documents import describe_error, to_plain

if TYPE_CHECKING:
    from ..runtime.encoder import Encoder

__all__ = ["Entry", "Settings", "answer", "answer_lines", "compare", "describe_answers", "read_texts"]

_SHOWN_LABELS = 5
_MOST_COMPARED = 20
_CHUNK = 8
"""Lines are answered this many batches at a time, so that texts of like length can run together."""


@dataclass(frozen=True)
class Settings:
    """How to answer. `top_k` None is every label up to five for a classifier, and the task's own number elsewhere."""

    truncate: bool = False
    batch_size: int = 32
    top_k: int | None = None


@dataclass(frozen=True)
class Entry:
    """One line of standard input: its number, and the text (and pair) in it, or what is wrong with it.

    `given` holds what comes back with the answer: the line's own "id", where it has one.
    """

    line: int
    text: str = ""
    pair: str | None = None
    given: dict[str, Any] = field(default_factory=dict)
    fault: BvxError | None = None


def answer(model: Encoder, texts: Sequence[str], pairs: Sequence[str] | None, settings: Settings) -> list[Any]:
    """The answers of `model` to `texts`, in order. Raises InputError in the words of the command line."""
    options: dict[str, Any] = {} if settings.top_k is None else {"top_k": settings.top_k}
    if settings.top_k is None and model.task == "text-classification":
        options["top_k"] = _SHOWN_LABELS
    try:
        answers: list[Any] = model(
            list(texts),
            None if pairs is None else list(pairs),
            truncate=settings.truncate,
            batch_size=settings.batch_size,
            **options,
        )
    except InputError as error:
        raise InputError(error.cause, error.next_step.replace("truncate=True", "--truncate")) from error
    return answers


def compare(model: Encoder, answers: Sequence[Any]) -> list[list[float]] | None:
    """The cosine of every embedding with every other; None for other tasks, one text, or more than can be looked at."""
    if model.task != "sentence-similarity" or not 2 <= len(answers) <= _MOST_COMPARED:
        return None
    import numpy as np

    from ..runtime.heads.similarity import cosine

    embeddings = np.stack(answers)
    cosines: list[list[float]] = cosine(embeddings, embeddings).tolist()
    return cosines


def answer_lines(model: Encoder, lines: Iterable[bytes], settings: Settings) -> Iterator[dict[str, Any]]:
    """One JSON-ready object per line of JSON Lines, in order: {"answer": …}, or {"line": …, "error": …}.

    A line is a JSON string, or an object with "text" and perhaps "pair" and "id". Lines are taken from `lines` only
    as they are answered; with a batch size of 1 each is answered before the next is taken.
    """
    size = settings.batch_size * (_CHUNK if settings.batch_size > 1 else 1)
    entries = (_read_entry(number, line) for number, line in enumerate(lines, start=1))
    filled = (entry for entry in entries if entry is not None)
    while chunk := list(itertools.islice(filled, size)):
        yield from _answer_chunk(model, chunk, settings)


def read_texts(arguments: Sequence[str] | None, stdin: Iterable[bytes] | None) -> list[str]:
    """The texts to answer: the arguments, or where there are none the lines of `stdin` (None is a terminal).

    Raises PlanError when there is no text, InputError for lines that are not UTF-8.
    """
    texts = list(arguments or ())
    if not texts and stdin is not None:
        texts = [_decode(number, line, f"Line {number}").rstrip("\r\n") for number, line in enumerate(stdin, start=1)]
    if not texts:
        raise PlanError("There is no text.", 'Write one after the bundle ("…"), or pipe lines in.')
    return texts


def describe_answers(
    model: Encoder,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    answers: Sequence[Any],
    cosines: list[list[float]] | None,
) -> dict[str, Any]:
    """The document of `bvx run`; arrays are nested lists."""
    seconds: Sequence[str | None] = pairs or [None] * len(texts)
    document: dict[str, Any] = {
        "model": model.manifest.model.id,
        "task": model.task,
        "variant": model.variant.key,
        "engine": f"{model.engine.name} {model.engine.version}",
        "answers": [
            {"text": text, **({} if pair is None else {"pair": pair}), "answer": to_plain(one)}
            for text, pair, one in zip(texts, seconds, answers, strict=True)
        ],
    }
    return document if cosines is None else {**document, "cosines": cosines}


def _answer_chunk(model: Encoder, chunk: list[Entry], settings: Settings) -> Iterator[dict[str, Any]]:
    good = [entry for entry in chunk if entry.fault is None]
    found: dict[int, dict[str, Any]] = {}
    for has_pair in (False, True):
        # A batch is either of single texts or of pairs.
        group = [entry for entry in good if (entry.pair is not None) == has_pair]
        found |= _answer_group(model, group, settings)
    for entry in chunk:
        yield found[entry.line] if entry.fault is None else _refuse(entry, entry.fault)


def _answer_group(model: Encoder, group: list[Entry], settings: Settings) -> dict[int, dict[str, Any]]:
    """Line number -> answer. When a text is refused, each is asked alone: only its own line fails."""
    if not group:
        return {}
    pairs = [entry.pair for entry in group if entry.pair is not None]
    try:
        answers = answer(model, [entry.text for entry in group], pairs or None, settings)
    except InputError as error:
        if len(group) == 1:
            return {group[0].line: _refuse(group[0], error)}
        found: dict[int, dict[str, Any]] = {}
        for entry in group:
            found |= _answer_group(model, [entry], settings)
        return found
    return {entry.line: {**entry.given, "answer": to_plain(one)} for entry, one in zip(group, answers, strict=True)}


def _refuse(entry: Entry, error: BvxError) -> dict[str, Any]:
    return {**entry.given, "line": entry.line, "error": describe_error(error)}


def _read_entry(number: int, line: bytes) -> Entry | None:
    """The entry in one line; None for a blank one."""
    try:
        text = _decode(number, line, "It")
        if not text.strip():
            return None
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"It is not JSON ({error}).", _WANTED) from error
        return _check_value(number, value)
    except InputError as error:
        return Entry(number, fault=error)


_WANTED = 'Write one JSON string, or {"text": "…"} with perhaps a "pair", on every line.'


def _check_value(number: int, value: Any) -> Entry:
    if isinstance(value, str):
        return Entry(number, value)
    if not isinstance(value, dict):
        raise InputError("It is neither a string nor an object.", _WANTED)
    given = {"id": value["id"]} if "id" in value else {}
    text, pair = value.get("text"), value.get("pair")
    if not isinstance(text, str):
        what = "has no text" if text is None else "has a text that is no string"
        return Entry(number, given=given, fault=InputError(f"It {what}.", _WANTED))
    if pair is not None and not isinstance(pair, str):
        return Entry(number, given=given, fault=InputError("It has a pair that is no string.", _WANTED))
    return Entry(number, text, pair, given)


def _decode(number: int, line: bytes, name: str) -> str:
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name} is not UTF-8 (byte {error.start + 1}).", "Convert the input first, with iconv for example."
        ) from error
