"""The words of `bvx run` alone. Which of them a task has, task_call.py says."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

__all__ = [
    "Aggregation",
    "BatchSize",
    "Choices",
    "DocStride",
    "Function",
    "IgnoreLabels",
    "Impossible",
    "Input",
    "JsonLines",
    "MaxAnswerLength",
    "NoAnswerThreshold",
    "OnError",
    "OnErrorName",
    "PairFiles",
    "Pairs",
    "Skip",
    "Targets",
    "Texts",
    "Threads",
    "Threshold",
    "TopK",
    "Truncate",
]


class OnErrorName(StrEnum):
    skip = "skip"
    stop = "stop"


Texts = Annotated[list[str] | None, Argument(metavar="[TEXT]...", help="None: the lines of standard input.")]
Pairs = Annotated[
    list[str] | None,
    Option("--pair", metavar="TEXT", help="What stands beside each TEXT: a context, a document. One does for all."),
]
PairFiles = Annotated[list[Path] | None, Option("--pair-file", metavar="FILE", help="The same from a file, UTF-8.")]
Choices = Annotated[list[str] | None, Option("--choice", metavar="TEXT", help="One of the choices.")]
Input = Annotated[Path | None, Option("--input", metavar="FILE", help="Read FILE instead of standard input.")]
JsonLines = Annotated[
    bool, Option("--jsonl", help='JSON lines in ("text" or the task\'s own word, "pair", "id"), JSON lines out.')
]
Skip = Annotated[
    int, Option("--skip", min=0, metavar="N", help='With --jsonl: begin after line N, the "line" of the last answer.')
]
OnError = Annotated[
    OnErrorName, Option("--on-error", help="With --jsonl: pass over a line that cannot be answered, or stop there.")
]
Truncate = Annotated[bool, Option("--truncate", help="Cut texts that are too long.")]
TopK = Annotated[int | None, Option("--top-k", min=1, metavar="N", help="How many labels, tokens, answers, documents.")]
Aggregation = Annotated[
    str | None, Option("--aggregation", metavar="NAME", help="Of tokens to entities: simple, first, average or max.")
]
IgnoreLabels = Annotated[
    list[str] | None, Option("--ignore-label", metavar="LABEL", help="Of tokens, to leave out.  [default: O]")
]
DocStride = Annotated[
    int | None, Option("--doc-stride", min=0, metavar="N", help="Read long texts in windows that share N tokens.")
]
MaxAnswerLength = Annotated[
    int | None, Option("--max-answer-length", min=1, metavar="N", help="The most tokens of an answer.  [default: 15]")
]
Impossible = Annotated[bool, Option("--impossible", help="Let no answer be one of the answers.")]
NoAnswerThreshold = Annotated[
    float | None,
    Option("--no-answer-threshold", metavar="X", help="Say that there is none where it is so much likelier (logits)."),
]
Targets = Annotated[list[str] | None, Option("--target", metavar="TOKEN", help="Look at this token only.")]
Function = Annotated[
    str | None, Option("--function", metavar="NAME", help="Makes a classifier's scores: softmax, sigmoid or none.")
]
Threshold = Annotated[
    float | None, Option("--threshold", metavar="P", help="The least probability of a replaced token.")
]
BatchSize = Annotated[int, Option("--batch-size", min=1, metavar="N", help="The most texts that run at once.")]
Threads = Annotated[
    int | None, Option("--threads", min=1, metavar="N", help="Threads to use.  [default: the cores allowed]")
]
