"""`bvx run`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...runtime.errors import InputError, PlanError
from . import run_options as words
from .lines import write_lines
from .options import AsJson, Engine, Folder, Precision, Quiet, Strict, Verbose
from .shell import Shell, Work

if TYPE_CHECKING:
    from ..prediction.predictions import Answerer

__all__ = ["run"]


def run(
    bundle: Folder,
    texts: words.Texts = None,
    pair: words.Pairs = None,
    pair_file: words.PairFiles = None,
    choice: words.Choices = None,
    top_k: words.TopK = None,
    function: words.Function = None,
    aggregation: words.Aggregation = None,
    ignore_label: words.IgnoreLabels = None,
    doc_stride: words.DocStride = None,
    max_answer_length: words.MaxAnswerLength = None,
    impossible: words.Impossible = False,
    no_answer_threshold: words.NoAnswerThreshold = None,
    target: words.Targets = None,
    threshold: words.Threshold = None,
    truncate: words.Truncate = False,
    input_file: words.Input = None,
    jsonl: words.JsonLines = False,
    skip: words.Skip = 0,
    on_error: words.OnError = words.OnErrorName.skip,
    batch_size: words.BatchSize = 32,
    precision: Precision = None,
    engine: Engine = "auto",
    strict: Strict = False,
    threads: words.Threads = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> Work:
    """Answer texts with a bundle. Labels, entities, answers, tokens, ranks or embeddings, as its task says.

    An option that the task has not is refused.
    """
    stop = on_error is words.OnErrorName.stop
    if jsonl and (texts or pair or pair_file or choice or as_json):
        raise PlanError(
            "--jsonl reads all that it answers from its lines, and writes JSON lines.",
            "Leave out TEXT, --pair, --pair-file, --choice and --json.",
        )
    if (skip or stop) and not jsonl:
        raise PlanError("--skip and --on-error are about the lines of --jsonl.", "Add --jsonl, or leave them out.")
    if texts and input_file:
        raise PlanError("There are texts both in the command and in a file.", "Leave out TEXT, or --input.")
    to_terminal = sys.stdout is not None and sys.stdout.isatty()

    def work(shell: Shell) -> int:
        from ...runtime.loading import load
        from ..prediction.predictions import Answerer, read_text_file, read_texts
        from ..prediction.task_call import AnswerOptions

        options = AnswerOptions(
            top_k=top_k, aggregation=aggregation, ignore_label=tuple(ignore_label or ()), doc_stride=doc_stride,
            max_answer_length=max_answer_length, impossible=impossible, no_answer_threshold=no_answer_threshold,
            target=tuple(target or ()), function=function, threshold=threshold, truncate=truncate,
            batch_size=batch_size,
        )  # fmt: skip
        pairs = [*(pair or ()), *map(read_text_file, pair_file or ())]
        with _open(input_file) as source, _warnings_to(shell):
            given = () if jsonl else read_texts(texts, source)
            if source is None and jsonl:
                raise PlanError("--jsonl has nothing to read.", "Pipe lines in, or name a file with --input.")
            with load(bundle, precision=precision, engine=engine, threads=threads, strict=strict) as model:
                answerer = Answerer(model, options)
                if jsonl:
                    watched = not to_terminal and shell.voice == 0 and sys.stderr is not None and sys.stderr.isatty()
                    return _stream(shell, answerer, source, skip, stop, watched)
                return _answer(shell, answerer, given, pairs, choice or ())

    return work


def _answer(
    shell: Shell, answerer: Answerer, texts: Sequence[str], pairs: Sequence[str], choices: Sequence[str]
) -> int:
    from ..answer_views import view_answers
    from ..prediction.predictions import compare, describe_answers, pair_up

    asked = pair_up(answerer, texts, pairs, choices)
    answers = answerer.answer(asked.texts, asked.seconds)
    cosines = compare(answerer.model, answers)
    document = describe_answers(answerer, asked, answers, cosines)
    shell.answer(document, view_answers(answerer.takes.task, asked, answers, cosines))
    return 0


def _stream(shell: Shell, answerer: Answerer, source: Any, skip: int, stop: bool, watched: bool) -> int:
    from ..prediction.line_reader import LineReader
    from ..prediction.lines import answer_lines

    reader = LineReader(source)
    found = reader.skip(skip)
    if found < skip:
        raise InputError(f"The input has {found} lines, and --skip {skip} leaves out more.", "Give the same input.")
    answers = answer_lines(answerer, reader)
    if not watched:
        return write_lines(shell, answers, skip, stop)
    with shell.watching():
        shell.stage("Answering")
        return write_lines(shell, answers, skip, stop, watched=True)


@contextmanager
def _open(path: Path | None) -> Iterator[Any]:
    """The file at `path`, or standard input; None where that is a terminal."""
    if path is not None:
        with path.open("rb") as file:
            yield file
    else:
        yield None if sys.stdin is None or sys.stdin.isatty() else sys.stdin.buffer


@contextmanager
def _warnings_to(shell: Shell) -> Iterator[None]:
    """Say what the library warns of, once."""

    class Once(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage() not in shell.warnings:
                shell.warn(record.getMessage())

    handler, logger = Once(logging.WARNING), logging.getLogger("bvx")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
