"""What a person reads of answers: labels, entities, answers, fillings, ranks, and the beginnings of embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from .layout import Block, Row, Table, shorten
from .prediction.predictions import Asked, Second

__all__ = ["view_answers"]

_SHOWN_NUMBERS = 6
_SHOWN_TEXT = 300
"""Characters of a text in which something is marked."""
_AROUND = 30
"""Characters shown on each side of an answer in its context."""
_REPLACED = 0.5
"""From this probability on a token is marked as replaced."""


def view_answers(
    task: str, asked: Asked, answers: Sequence[Any], cosines: Sequence[Sequence[float]] | None = None
) -> Iterator[Block]:
    """`bvx run`: a table for each text, as its task has it, and the cosine of each embedding with each."""
    view = _VIEWS.get(task, _view_labels)
    for number, (text, second, answer) in enumerate(zip(asked.texts, asked.seconds, answers, strict=True), start=1):
        columns, rows, shown = view(text, second, answer)
        title = f"{number}. {shown if shown is not None else _name(text, second)}"
        yield Table(title, columns if rows else (), rows or (("(nothing found)",),))
    if cosines is not None:
        numbers = tuple(f"{number}." for number in range(1, len(cosines) + 1))
        table = tuple((name, *(f"{value:.4f}" for value in row)) for name, row in zip(numbers, cosines, strict=True))
        yield Table("Cosine similarity", ("", *numbers), table)


Shown = tuple[Row, tuple[Row, ...], str | None]
"""The columns' names, the rows, and the text with something marked in it, or None."""


def _name(text: str, second: Second) -> str:
    return f"{shorten(text) or '(empty text)'}{f' | {shorten(second)}' if isinstance(second, str) else ''}"


def _view_labels(text: str, second: Second, answer: Any) -> Shown:
    return (), tuple((one["label"], _score(one)) for one in answer), None


def _view_entities(text: str, second: Second, answer: Any) -> Shown:
    found = [(one.get("entity_group") or one["entity"], one) for one in answer]
    rows = tuple((label, _score(one), _read(text, one), _place(one)) for label, one in found)
    # Tokens are pieces of words: marking each would leave no text to read.
    marks = [(one["start"], one["end"], f": {label}") for label, one in found if "entity_group" in one]
    return ("label", "score", "text", "place"), rows, _mark(text, marks) if marks else None


def _view_replaced(text: str, second: Second, answer: Any) -> Shown:
    rows = tuple((_read(text, one), _score(one), _place(one)) for one in answer)
    marks = [(one["start"], one["end"], "") for one in answer if one["score"] >= _REPLACED]
    return ("token", "replaced", "place"), rows, _mark(text, marks) if marks else None


def _view_spans(text: str, second: Second, answer: Any) -> Shown:
    rows = tuple(
        (_on_one_line(one["answer"]), _score(one), _place(one), _find_around(str(second), one))
        if one["answer"]
        else ("(no answer)", _score(one), "", "")
        for one in (answer if isinstance(answer, list) else [answer])
    )
    return ("answer", "score", "place", "in its context"), rows, shorten(text)


def _view_ranks(text: str, second: Second, answer: Any) -> Shown:
    if isinstance(answer, float):
        return (), (("score", f"{answer:.4f}"),), None
    rows = tuple(
        (str(rank), _score(one), str(one["index"] + 1), shorten(one["text"]))
        for rank, one in enumerate(answer, start=1)
    )
    return ("rank", "score", "document", "text"), rows, None


def _view_choices(text: str, second: Second, answer: Any) -> Shown:
    rows = tuple((str(one["index"] + 1), _score(one), shorten(one["text"])) for one in answer)
    return ("choice", "score", "text"), rows, None


def _view_fillings(text: str, second: Second, answer: Any) -> Shown:
    return (), tuple(_list_fillings(answer)), None


def _view_pretraining(text: str, second: Second, answer: Any) -> Shown:
    rows = _list_fillings(answer["fillings"])
    return (), (*rows, *((one["label"], _score(one)) for one in answer["pair"])), None


def _view_array(text: str, second: Second, answer: Any) -> Shown:
    rows = answer if answer.ndim > 1 else answer[None]
    shape = f"{answer.dtype} [{', '.join(map(str, answer.shape))}]"
    norm = float((rows[0].astype("float64") ** 2).sum()) ** 0.5
    numbers = " ".join(f"{value:+.4f}" for value in rows[0][:_SHOWN_NUMBERS])
    where = "" if answer.ndim == 1 else " (first token)"
    return (), ((shape, f"{numbers}{' …' if rows.shape[1] > _SHOWN_NUMBERS else ''}{where}", f"norm {norm:.4f}"),), None


_VIEWS: Mapping[str, Callable[[str, Second, Any], Shown]] = {
    "feature-extraction": _view_array,
    "sentence-similarity": _view_array,
    "token-classification": _view_entities,
    "question-answering": _view_spans,
    "multiple-choice": _view_choices,
    "fill-mask": _view_fillings,
    "text-ranking": _view_ranks,
    "replaced-token-detection": _view_replaced,
    "pretraining-heads": _view_pretraining,
}
"""How the answer to each task is shown; that to others is labels."""


def _list_fillings(answer: Any) -> Iterator[Row]:
    for number, item in enumerate(answer, start=1):
        if isinstance(item, list):
            yield (f"mask {number}",)
            yield from _list_fillings(item)
        else:
            yield item["token_str"].strip() or repr(item["token_str"]), _score(item), item["sequence"]


def _score(one: Mapping[str, Any]) -> str:
    return f"{one['score']:.4f}"


def _read(text: str, one: Mapping[str, Any]) -> str:
    """How a token or an entity reads in its text, where it stands there."""
    return _on_one_line(text[one["start"] : one["end"]] or str(one["word"]))


def _place(one: Mapping[str, Any]) -> str:
    return f"{one['start']}-{one['end']}"


def _find_around(context: str, one: Mapping[str, Any]) -> str:
    """What stands around an answer."""
    start, end = max(0, one["start"] - _AROUND), one["end"] + _AROUND
    shown = f"{context[start : one['start']]}[{context[one['start'] : one['end']]}]{context[one['end'] : end]}"
    return f"{'…' if start else ''}{_on_one_line(shown)}{'…' if end < len(context) else ''}"


def _mark(text: str, marks: Sequence[tuple[int, int, str]]) -> str:
    """`text` on one line, with brackets around each place (start, end, and what is written after it), cut if long."""
    shown, done = "", 0
    for start, end, note in sorted(marks):
        if start >= done:
            shown += f"{text[done:start]}[{text[start:end]}{note}]"
            done = end
    line = _on_one_line(f"{shown}{text[done:]}")
    return line if len(line) <= _SHOWN_TEXT else f"{line[: _SHOWN_TEXT - 1]}…"


def _on_one_line(text: str) -> str:
    return " ".join(text.split())
