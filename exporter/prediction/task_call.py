"""How a task is asked from the command line: which options and second texts it has, read off its class's signature."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ...runtime.errors import InputError, PlanError

if TYPE_CHECKING:
    from ...runtime.encoder import Encoder

__all__ = ["AnswerOptions", "TaskCall", "speak"]

OPTIONS: Mapping[str, tuple[str, ...]] = {
    "top_k": ("top_k",),
    "aggregation": ("aggregation_strategy",),
    "ignore_label": ("ignore_labels",),
    "doc_stride": ("doc_stride", "stride"),
    "max_answer_length": ("max_answer_len",),
    "no_answer_threshold": ("no_answer_threshold",),
    "impossible": ("handle_impossible_answer",),
    "target": ("targets",),
    "function": ("function_to_apply",),
    "threshold": ("threshold",),
    "truncate": ("truncate",),
    "batch_size": ("batch_size",),
}
"""What the tasks' classes call each field of AnswerOptions."""

_SHOWN_LABELS = 5

Second = Literal["none", "pair", "choices"]


@dataclass(frozen=True)
class AnswerOptions:
    """How to answer, as it was typed. What is None, False or empty was not asked for.

    A classifier's `top_k` is five then, every other number the task's own.
    """

    top_k: int | None = None
    aggregation: str | None = None
    ignore_label: tuple[str, ...] = ()
    doc_stride: int | None = None
    max_answer_length: int | None = None
    no_answer_threshold: float | None = None
    impossible: bool = False
    target: tuple[str, ...] = ()
    function: str | None = None
    threshold: float | None = None
    truncate: bool = False
    batch_size: int = 32

    def given(self) -> dict[str, Any]:
        """The fields that were asked for."""
        values = {name: getattr(self, name) for name in OPTIONS}
        # A zero that was typed equals False.
        return {name: value for name, value in values.items() if not (value is None or value is False or value == ())}


@dataclass(frozen=True)
class TaskCall:
    """What a task's class takes.

    `second` is what stands beside a text: nothing, another text, or choices, several of which make one input; `needed`
    says that it must be there. `keywords` are those of a call; `ranking` those of ranking several texts for one, and
    empty for a task that does not rank.
    """

    task: str
    second: Second
    needed: bool
    keywords: frozenset[str]
    ranking: frozenset[str]

    @classmethod
    def of(cls, kind: type[Encoder], task: str) -> TaskCall:
        """What `kind`, the class of `task`, takes."""
        _, _, *others = inspect.signature(kind.__call__).parameters.values()
        seconds = [one for one in others if one.kind is one.POSITIONAL_OR_KEYWORD]
        second: Second = "none"
        if seconds:
            second = "choices" if seconds[0].name == "choices" else "pair"
        return cls(
            task,
            second,
            bool(seconds) and seconds[0].default is inspect.Parameter.empty,
            _keywords(kind.__call__),
            _keywords(getattr(kind, "rank", None)),
        )

    def check_second(self, *, pairs: bool, choices: bool) -> None:
        """Raises PlanError for a --pair or a --choice that the task has not, or does not go without."""
        if pairs and self.second != "pair":
            raise self._refuse("pair")
        if choices and self.second != "choices":
            raise self._refuse("choice")
        if self.needed and not pairs and self.second == "pair":
            raise PlanError(
                f"{self.task} reads two texts together, and there is one.",
                "Give the second with --pair or --pair-file.",
            )
        if self.needed and not choices and self.second == "choices":
            raise PlanError(f"{self.task} chooses among texts, and there are none.", "Give each with --choice.")

    def find_keywords(self, options: AnswerOptions) -> dict[str, Any]:
        """`options` under the names of the task's class. Raises PlanError for one that the task has not."""
        found: dict[str, Any] = {}
        for name, value in options.given().items():
            known = [keyword for keyword in OPTIONS[name] if keyword in self.keywords | self.ranking]
            if not known:
                raise self._refuse(name)
            found[known[0]] = value
        if self.task == "text-classification":
            found.setdefault("top_k", _SHOWN_LABELS)
        return found

    def _refuse(self, name: str) -> PlanError:
        seconds = {"none": [], "pair": ["pair", "pair_file"], "choices": ["choice"]}[self.second]
        every = self.keywords | self.ranking
        names = [*seconds, *(one for one, keywords in OPTIONS.items() if not every.isdisjoint(keywords))]
        has = ", ".join(map(_spell, names))
        return PlanError(f"{self.task} has no {_spell(name)}; it has: {has}.", f"Leave {_spell(name)} out.")


def _keywords(function: Any) -> frozenset[str]:
    if function is None:
        return frozenset()
    parameters = inspect.signature(function).parameters.values()
    return frozenset(one.name for one in parameters if one.kind is one.KEYWORD_ONLY)


def _spell(name: str) -> str:
    return f"--{name.replace('_', '-')}"


_TYPED = {keyword: _spell(name) for name, keywords in OPTIONS.items() for keyword in keywords}
# What is quoted is the user's own.
_KEYWORD = re.compile(rf"(?<!['\"\w-])({'|'.join(_TYPED)})(=True)?(?!['\"\w])")
_PLACE = re.compile(r"(^|\. )?\b(text|pair|question|context|document|choice)s\[(\d+)\]")


def speak(error: InputError) -> InputError:
    """`error` in the words of the command line: --truncate for truncate=True, text 2 for texts[1]."""
    words = (_PLACE.sub(_count, _KEYWORD.sub(lambda found: _TYPED[found[1]], text)) for text in error.args)
    return InputError(*words)


def _count(found: re.Match[str]) -> str:
    begins = found[1] is not None
    name = found[2].capitalize() if begins else found[2]
    return f"{found[1] or ''}{name} {int(found[3]) + 1}"
