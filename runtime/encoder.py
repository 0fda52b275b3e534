"""Encoder: a loaded bundle. Texts in, the task's answers out; arrays in, the graph's own outputs out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from numpy.typing import NDArray

from .bundle import Bundle
from .engines import Engine
from .errors import BundleError, InputError
from .feeds import Batch, check_feeds, check_limits, pad, split
from .heads import Head
from .manifest import Manifest, TokenizerInfo, Variant
from .parity import SAME_MACHINE, ParityReport, Tolerance
from .tokenizer import Tokenizer

__all__ = ["Encoder", "Texts", "as_list"]

_BUDGET = 2**26
"""The most elements that one batch's output may have (256 MB of fp32): RoBERTa's fill-mask logits for 32 texts of 512
tokens would be 3.3 GB."""

_RUN_COST = 16
"""What a run on a CPU costs beside its tokens, in tokens and for each thread: of MiniLM what 5 to 9 tokens take, and
small batches keep several threads less busy (docs/cpu.md). A GPU wants few and large batches instead."""

Texts = str | Iterable[str]


@dataclass(frozen=True)
class _Reader:
    """What it takes to read texts; a bundle without a tokenizer has none of it."""

    tokenizer: Tokenizer
    info: TokenizerInfo
    head: Head


class Encoder:
    """A model that serves: one variant of a bundle on one engine. Made by `bvx.load`.

    Each task has a class of its own, which says what it is called with and what it answers.

    Any number of threads may use it at once. It holds its engine's memory until `close()`, or the end of a `with`.
    """

    def __init__(
        self,
        bundle: Bundle,
        variant: Variant,
        engine: Engine,
        tokenizer: Tokenizer | None = None,
        head: Head | None = None,
    ) -> None:
        info = bundle.manifest.tokenizer
        self._bundle = bundle
        self._variant = variant
        self._engine = engine
        self._reader = _Reader(tokenizer, info, head) if tokenizer and info and head else None

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """The task's answer to a text, or the list of answers to several, in their order.

        What goes in, which options there are and what comes out is said by the class of each task, which is what
        `bvx.load` gives: `help(type(model))`. `TextClassifier.load(path)` opens a bundle of that task alone, and tells
        a type checker so.
        """
        raise NotImplementedError(f"{type(self).__name__} belongs to no task.")

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        precision: str | None = None,
        engine: str = "auto",
        threads: int | None = None,
        spin: bool = False,
        check_hashes: bool = True,
        strict: bool = False,
    ) -> Self:
        """`bvx.load`, for a bundle of this class's task. Raises BundleError when the bundle is of another."""
        from .loading import load

        model = load(
            path,
            precision=precision,
            engine=engine,
            threads=threads,
            spin=spin,
            check_hashes=check_hashes,
            strict=strict,
        )
        if isinstance(model, cls):
            return model
        model.close()
        raise BundleError(
            f"{path} is made for {model.task}, which is {type(model).__name__}'s task, not {cls.__name__}'s.",
            f"Load it with {type(model).__name__}.load, or export the model with another --task.",
        )

    def run(self, **arrays: Any) -> dict[str, NDArray[Any]]:
        """The graph's own outputs for integer arrays [batch, length] under the graph's own input names.

        attention_mask (ones) and token_type_ids (zeros) are filled in where they are missing. Raises InputError that
        says what was wrong and what was wanted.
        """
        return self._engine.run(check_feeds(arrays, self.manifest))

    def tokenize(self, texts: Texts, pairs: Texts | None = None, *, truncate: bool = False) -> dict[str, NDArray[Any]]:
        """The arrays that `run` takes, for a text or several: int64 [batch, length], padded."""
        reader = self._read_texts()
        if pairs is not None and isinstance(texts, str) != isinstance(pairs, str):
            raise InputError("One of texts and pairs is a single text, the other is not.", "Give both in one form.")
        first = as_list(texts, "texts")
        tokens = reader.tokenizer.encode(first, None if pairs is None else as_list(pairs, "pairs"), truncate=truncate)
        if not tokens:
            raise InputError("There are no texts.", "Give at least one.")
        arrays = pad(tokens, reader.info)
        return {spec.name: arrays[spec.name] for spec in self.manifest.inputs if spec.name in arrays}

    def verify(self) -> ParityReport:
        """Compare with what PyTorch said when the bundle was made, here and now. The report is truthy when it passed.

        Raises BundleError when the bundle does not say what to compare with.
        """
        from .golden import check_golden, read_golden
        from .machine import describe

        tolerance = self.manifest.tolerances.get(self.precision)
        if tolerance is None:
            raise BundleError(f"The bundle has no tolerance for {self.precision}.", "Export it again.")
        machine = describe()
        return check_golden(
            lambda arrays: self.run(**arrays),
            read_golden(self._bundle.path("golden.safetensors")),
            tolerance,
            self._variant.key,
            f"{self._engine.name} {self._engine.version}",
            machine,
            self._own_tolerance(machine),
        )

    def close(self) -> None:
        """Give the engine's memory back. A closed model answers nothing more."""
        self._engine.close()

    @property
    def manifest(self) -> Manifest:
        return self._bundle.manifest

    @property
    def bundle(self) -> Bundle:
        """The bundle that the model was loaded from."""
        return self._bundle

    @property
    def variant(self) -> Variant:
        return self._variant

    @property
    def engine(self) -> Engine:
        """The engine: its `name`, `version` and `threads`."""
        return self._engine

    @property
    def task(self) -> str:
        return self.manifest.task

    @property
    def family(self) -> str:
        return self.manifest.family

    @property
    def precision(self) -> str:
        return self._variant.precision

    @property
    def max_length(self) -> int:
        """The longest input in tokens, special tokens included."""
        return self.manifest.max_length

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of a classifier, in the order of its logits; empty for other tasks."""
        return tuple(self.manifest.head.get("labels", ()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        engine = f"{self._engine.name} {self._engine.version}"
        return (
            f"<bvx.Encoder {self.manifest.model.id}: {self.family}, {self.task}, {self._variant.key} on {engine}, "
            f"threads={self._engine.threads}, max_length={self.max_length}>"
        )

    def _own_tolerance(self, machine: Mapping[str, str]) -> Tolerance | None:
        """What the variant's own values may differ by here; None where that is what the precision may differ by."""
        here = {"engine": f"{self._engine.name} {self._engine.version}", **machine}
        name = SAME_MACHINE if dict(self._variant.verified_on) == here else self.precision
        # Values of a variant for a GPU were made by another engine than the one that serves it.
        is_known = name == SAME_MACHINE or self._variant.target == "cpu"
        return self.manifest.own_tolerances.get(name) if is_known else None

    def _read_texts(self) -> _Reader:
        if self._reader is None:
            raise InputError("This bundle has no tokenizer.", "Give token ids to model.run(input_ids=…).")
        return self._reader

    def _answer(self, texts: Texts, seconds: Texts | None, options: Any, *, truncate: bool, batch_size: int) -> Any:
        """The answer to a text, or those to several; `seconds` in the same form. What a task's class calls."""
        if seconds is not None and isinstance(texts, str) != isinstance(seconds, str):
            raise InputError("One of texts and pairs is a single text, the other is not.", "Give both in one form.")
        first = as_list(texts, "texts")
        second = None if seconds is None else as_list(seconds, "pairs")
        answers = self._answer_all(first, second, options, truncate=truncate, batch_size=batch_size)
        return answers[0] if isinstance(texts, str) else answers

    def _answer_all(
        self, texts: Sequence[str], seconds: Sequence[Any] | None, options: Any, *, truncate: bool, batch_size: int
    ) -> list[Any]:
        """One answer for each text, in order. Sequences of like length run together, whichever text they belong to."""
        reader = self._read_texts()
        head = reader.head
        if type(batch_size) is not int or batch_size < 1:
            raise InputError(f"batch_size is {batch_size!r}.", "Give a whole number from 1 on.")
        if seconds is not None and head.seconds == "none":
            raise InputError(f"{self.task} takes one text at a time, no pairs.", "Call it once for each side.")
        if seconds is None and head.seconds == "needed":
            raise InputError(f"{self.task} takes two texts at a time.", "Give the second of each as well.")
        inputs = head.encode(reader.tokenizer, texts, seconds, truncate, options)
        owners = [number for number, sequences in enumerate(inputs) for _ in sequences]
        parts: list[Any] = [None] * len(owners)
        sequences = [tokens for sequences in inputs for tokens in sequences]
        elements = self._elements_per_token(head.outputs)
        run_cost = _RUN_COST * self._engine.threads if self._variant.target == "cpu" else None
        for batch in split(sequences, reader.info, batch_size, elements, _BUDGET, run_cost):
            outputs = self._run_batch(batch, head.outputs)
            for number, part in zip(batch.numbers, head.decode(outputs, batch, options), strict=True):
                parts[number] = part
        grouped: list[list[Any]] = [[] for _ in texts]
        for owner, part in zip(owners, parts, strict=True):
            grouped[owner].append(part)
        others = seconds if seconds is not None else [None] * len(texts)
        return [head.answer(*given, options) for given in zip(texts, others, grouped, strict=True)]

    def _run_batch(self, batch: Batch, outputs: Sequence[str]) -> dict[str, NDArray[Any]]:
        feeds = {
            spec.name: batch.arrays[spec.name].astype(spec.dtype, copy=False)
            for spec in self.manifest.inputs
            if spec.name in batch.arrays
        }
        check_limits(feeds, self.manifest.input_limits)
        return self._engine.run(feeds, outputs)

    def _elements_per_token(self, outputs: Sequence[str]) -> int:
        shapes = [spec.shape for spec in self.manifest.outputs if spec.name in outputs and len(spec.shape) == 3]
        return max(1, sum(shape[-1] for shape in shapes if isinstance(shape[-1], int)))


def as_list(texts: Any, name: str) -> list[Any]:
    """`texts`, one or several, as a list. Raises InputError that calls them `name` for what is neither."""
    if isinstance(texts, str):
        return [texts]
    if isinstance(texts, (bytes, bytearray, Mapping)) or not isinstance(texts, Iterable):
        step = "Decode it first." if isinstance(texts, (bytes, bytearray)) else "Give a str, or a list of str."
        raise InputError(f"{name} is {type(texts).__name__}, neither a text nor several.", step)
    return list(texts)
