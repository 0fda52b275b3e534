"""Texts in, answers out, for `bvx run`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...runtime.errors import InputError, PlanError
from ..documents import to_plain
from .task_call import AnswerOptions, TaskCall, speak

if TYPE_CHECKING:
    from ...runtime.encoder import Encoder

__all__ = ["Answerer", "Asked", "Second", "compare", "describe_answers", "pair_up", "read_text_file", "read_texts"]

_MOST_COMPARED = 20
_LONGEST_FILE = 16 * 2**20
"""Bytes of a text in a file: more than the longest text that is read has in any script."""

Second = str | tuple[str, ...] | None
"""What stands beside a text: nothing, another text, or several of which one answer speaks (choices, documents)."""


@dataclass(frozen=True)
class Asked:
    """Texts, and what stands beside each."""

    texts: tuple[str, ...]
    seconds: tuple[Second, ...]


class Answerer:
    """`model`, asked as the options of the command line say.

    Raises PlanError for options that the task has not, or that cannot be used.
    """

    def __init__(self, model: Encoder, options: AnswerOptions) -> None:
        self.model = model
        self.options = options
        self.takes = TaskCall.of(type(model), model.task)
        given = self.takes.find_keywords(options)
        self._keywords = {name: value for name, value in given.items() if name in self.takes.keywords}
        self._ranking = {name: value for name, value in given.items() if name in self.takes.ranking}
        try:
            self.answer((), ())
        except InputError as error:
            # Without a text only the options can be at fault.
            raise PlanError(error.cause, error.next_step) from error

    def answer(self, texts: Sequence[str], seconds: Sequence[Second]) -> list[Any]:
        """The answers to `texts`, in order; `seconds` are all of one kind. Raises InputError."""
        try:
            if self.takes.ranking and seconds and not isinstance(seconds[0], str):
                ranked = zip(texts, seconds, strict=True)
                return [self.model.rank(text, documents, **self._ranking) for text, documents in ranked]  # type: ignore[attr-defined]
            beside = [] if not self.takes.needed and all(second is None for second in seconds) else [list(seconds)]
            answers: list[Any] = self.model(list(texts), *beside, **self._keywords)
        except InputError as error:
            raise speak(error) from error
        return answers


def read_texts(arguments: Sequence[str] | None, source: Iterable[bytes] | None) -> tuple[str, ...]:
    """The texts to answer: the arguments, or where there are none the lines of `source` (None is a terminal).

    Raises PlanError when there is no text, InputError for lines that are not UTF-8.
    """
    texts = list(arguments or ())
    if not texts and source is not None:
        texts = [
            _decode(line, f"Line {number}", first=number == 1).rstrip("\r\n")
            for number, line in enumerate(source, start=1)
        ]
    if not texts:
        raise PlanError("There is no text.", 'Write one after the bundle ("…"), or pipe lines in.')
    return tuple(texts)


def read_text_file(path: Path) -> str:
    """The text in the file `path`, without the end of its last line. Raises InputError when it cannot be one text."""
    with path.open("rb") as file:
        content = file.read(_LONGEST_FILE + 1)
    if len(content) > _LONGEST_FILE:
        raise InputError(f"{path} has more than {_LONGEST_FILE:,} bytes.", "Give one text; --jsonl takes many.")
    return _decode(content, str(path), first=True).rstrip("\r\n")


def pair_up(answerer: Answerer, texts: Sequence[str], pairs: Sequence[str], choices: Sequence[str]) -> Asked:
    """Each text with what stands beside it; one pair, or all choices, may stand beside every text.

    Several pairs of one text are ranked where the task ranks. Raises PlanError for what the task has not, or is
    without, InputError when the counts do not agree.
    """
    takes = answerer.takes
    takes.check_second(pairs=bool(pairs), choices=bool(choices))
    seconds: tuple[Second, ...]
    if choices:
        seconds = (tuple(choices),) * len(texts)
    elif not pairs:
        seconds = (None,) * len(texts)
    elif takes.ranking and len(texts) == 1 and len(pairs) > 1:
        seconds = (tuple(pairs),)
    elif len(pairs) == 1:
        seconds = tuple(pairs) * len(texts)
    elif len(pairs) == len(texts):
        seconds = tuple(pairs)
    else:
        raise InputError(
            f"There are {len(texts)} texts and {len(pairs)} pairs.", "Give one --pair to each text, or one for all."
        )
    if takes.ranking and answerer.options.top_k and isinstance(seconds[0], str):
        raise PlanError("--top-k is for one text with several --pair, which are ranked.", "Leave --top-k out.")
    return Asked(tuple(texts), seconds)


def compare(model: Encoder, answers: Sequence[Any]) -> list[list[float]] | None:
    """The cosine of every embedding with every other; None for other tasks, one text, or more than can be looked at."""
    if model.task != "sentence-similarity" or not 2 <= len(answers) <= _MOST_COMPARED:
        return None
    import numpy as np

    from ...runtime.heads.similarity import cosine

    embeddings = np.stack(answers)
    cosines: list[list[float]] = cosine(embeddings, embeddings).tolist()
    return cosines


def describe_answers(
    answerer: Answerer, asked: Asked, answers: Sequence[Any], cosines: list[list[float]] | None
) -> dict[str, Any]:
    """The document of `bvx run`; arrays are nested lists."""
    model = answerer.model
    name = "choices" if answerer.takes.second == "choices" else "documents"
    document: dict[str, Any] = {
        "model": model.manifest.model.id,
        "task": model.task,
        "variant": model.variant.key,
        "engine": f"{model.engine.name} {model.engine.version}",
        "answers": [
            {"text": text, **_describe_second(second, name), "answer": to_plain(one)}
            for text, second, one in zip(asked.texts, asked.seconds, answers, strict=True)
        ],
    }
    return document if cosines is None else {**document, "cosines": cosines}


def _describe_second(second: Second, name: str) -> dict[str, Any]:
    if second is None:
        return {}
    return {"pair": second} if isinstance(second, str) else {name: list(second)}


def _decode(content: bytes, name: str, *, first: bool) -> str:
    """`first` says that a byte order mark may stand before the text."""
    try:
        return content.decode("utf-8-sig" if first else "utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name} is not UTF-8 (byte {error.start + 1}).", "Convert it first, with iconv for example."
        ) from error
