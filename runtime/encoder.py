"""Encoder: a loaded bundle. Texts in, the task's answers out; arrays in, the graph's own outputs out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .bundle import Bundle
from .engines import Engine
from .errors import BundleError, InputError
from .feeds import Batch, check_feeds, check_limits, pad, split
from .heads import Head
from .manifest import Manifest, TokenizerInfo, Variant
from .parity import ParityReport
from .tokenizer import Tokenizer, Tokens

__all__ = ["Encoder"]

_BUDGET = 2**26
"""The most elements that one batch's output may have (256 MB of fp32): RoBERTa's fill-mask logits for 32 texts of 512
tokens would be 3.3 GB."""

Texts = str | Iterable[str]
Side = Texts | NDArray[Any] | Iterable[NDArray[Any]]
"""What is compared: texts, or their embeddings."""


@dataclass(frozen=True)
class _Reader:
    """What it takes to read texts; a bundle without a tokenizer has none of it."""

    tokenizer: Tokenizer
    info: TokenizerInfo
    head: Head


class Encoder:
    """A model that serves: one variant of a bundle on one engine. Made by `bvx.load`.

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

    def __call__(
        self,
        texts: Texts,
        pairs: Texts | None = None,
        *,
        truncate: bool = False,
        batch_size: int = 32,
        **options: Any,
    ) -> Any:
        """The task's answer to a text, or the list of answers to several, in their order.

        `pairs` gives each text a second one. A text longer than `max_length` tokens is cut with `truncate` and refused
        without. At most `batch_size` texts run at once. The answers, and what `options` there are, by task:

        - feature-extraction: float32 array [tokens, hidden].
        - sentence-similarity: float32 array [dim].
        - text-classification (`top_k=1`, `function_to_apply`): {"label", "score"}; a list of them where top_k is not 1.
        - fill-mask (`top_k=5`, `targets`): [{"score", "token", "token_str", "sequence"}, …], best first; a list of
          such lists for a text with several masks.

        Raises InputError for texts or options that cannot be used.
        """
        reader = self._read_texts()
        if type(batch_size) is not int or batch_size < 1:
            raise InputError(f"batch_size is {batch_size!r}.", "Give a whole number from 1 on.")
        if pairs is not None and not reader.head.takes_pairs:
            raise InputError(f"{self.task} takes one text at a time, no pairs.", "Call it once for each side.")
        wanted = reader.head.read_options(options)
        tokens = self._encode(reader, texts, pairs, truncate)
        reader.head.check(tokens)
        answers: list[Any] = [None] * len(tokens)
        for batch in split(tokens, reader.info, batch_size, self._elements_per_token(reader.head.output), _BUDGET):
            output = self._run_batch(batch, reader.head.output)
            for number, answer in zip(batch.numbers, reader.head.decode(output, batch, wanted), strict=True):
                answers[number] = answer
        return answers[0] if isinstance(texts, str) else answers

    def run(self, **arrays: Any) -> dict[str, NDArray[Any]]:
        """The graph's own outputs for integer arrays [batch, length] under the graph's own input names.

        attention_mask (ones) and token_type_ids (zeros) are filled in where they are missing. Raises InputError that
        says what was wrong and what was wanted.
        """
        return self._engine.run(check_feeds(arrays, self.manifest))

    def tokenize(self, texts: Texts, pairs: Texts | None = None, *, truncate: bool = False) -> dict[str, NDArray[Any]]:
        """The arrays that `run` takes, for a text or several: int64 [batch, length], padded."""
        reader = self._read_texts()
        tokens = self._encode(reader, texts, pairs, truncate)
        if not tokens:
            raise InputError("There are no texts.", "Give at least one.")
        arrays = pad(tokens, reader.info)
        return {spec.name: arrays[spec.name] for spec in self.manifest.inputs if spec.name in arrays}

    def similarity(self, a: Side, b: Side, **options: Any) -> NDArray[np.float32]:
        """The cosine of every text or embedding of `a` with every one of `b`: float32 [len(a), len(b)].

        Embeddings are an array [n, dim], or several of [dim] as a call gives them. `options` are those of a call.
        Raises InputError for a model of another task than sentence-similarity.
        """
        if self.task != "sentence-similarity":
            raise InputError(f"This model's task is {self.task}.", "Export it with --task sentence-similarity.")
        from .heads.similarity import cosine

        left, right = self._embed(a, options), self._embed(b, options)
        if left.shape[1] != right.shape[1]:
            raise InputError(
                f"The embeddings have {left.shape[1]} and {right.shape[1]} values.", "Take both from one model."
            )
        return cosine(left, right)

    def verify(self) -> ParityReport:
        """Compare with what PyTorch said when the bundle was made, here and now. The report is truthy when it passed.

        Raises BundleError when the bundle does not say what to compare with.
        """
        from .golden import check_golden, read_golden
        from .machine import describe

        tolerance = self.manifest.tolerances.get(self.precision)
        if tolerance is None:
            raise BundleError(f"The bundle has no tolerance for {self.precision}.", "Export it again.")
        return check_golden(
            lambda arrays: self.run(**arrays),
            read_golden(self._bundle.path("golden.safetensors")),
            tolerance,
            self._variant.key,
            f"{self._engine.name} {self._engine.version}",
            describe(),
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

    def _read_texts(self) -> _Reader:
        if self._reader is None:
            raise InputError("This bundle has no tokenizer.", "Give token ids to model.run(input_ids=…).")
        return self._reader

    def _encode(self, reader: _Reader, texts: Texts, pairs: Texts | None, truncate: bool) -> list[Tokens]:
        if pairs is not None and isinstance(texts, str) != isinstance(pairs, str):
            raise InputError("One of texts and pairs is a single text, the other is not.", "Give both in one form.")
        first = _as_list(texts, "texts")
        second = None if pairs is None else _as_list(pairs, "pairs")
        return reader.tokenizer.encode(first, second, truncate=truncate)

    def _run_batch(self, batch: Batch, output: str) -> NDArray[Any]:
        feeds = {
            spec.name: batch.arrays[spec.name].astype(spec.dtype, copy=False)
            for spec in self.manifest.inputs
            if spec.name in batch.arrays
        }
        check_limits(feeds, self.manifest.input_limits)
        return self._engine.run(feeds, [output])[output]

    def _elements_per_token(self, output: str) -> int:
        shape = next((spec.shape for spec in self.manifest.outputs if spec.name == output), ())
        width = shape[-1] if len(shape) == 3 else 1
        return max(1, width) if isinstance(width, int) else 1

    def _embed(self, side: Side, options: Mapping[str, Any]) -> NDArray[np.float32]:
        if not isinstance(side, np.ndarray):
            side = _as_list(side, "What is compared")
            if side and all(isinstance(item, np.ndarray) for item in side):
                try:
                    side = np.stack(side)
                except ValueError as error:
                    raise InputError(f"The embeddings differ ({error}).", "Take all of them from one model.") from error
        if not isinstance(side, np.ndarray) or side.dtype.kind not in "fiu":
            answers: Sequence[NDArray[np.float32]] = self(side, **options)
            if not answers:
                raise InputError("There are no texts to compare.", "Give at least one on each side.")
            return np.stack(answers)
        if side.ndim not in (1, 2):
            raise InputError(f"The embeddings have {side.ndim} dimensions.", "Give them as [n, dim].")
        return np.atleast_2d(side).astype(np.float32, copy=False)


def _as_list(texts: Any, name: str) -> list[Any]:
    if isinstance(texts, str):
        return [texts]
    if isinstance(texts, (bytes, bytearray, Mapping)) or not isinstance(texts, Iterable):
        step = "Decode it first." if isinstance(texts, (bytes, bytearray)) else "Give a str, or a list of str."
        raise InputError(f"{name} is {type(texts).__name__}, neither a text nor several.", step)
    return list(texts)
