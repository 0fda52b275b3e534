"""The heads: what each task's answer is made of. A new one is a file and a line in HEADS."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol, TypeVar

from numpy.typing import NDArray

from ..errors import BundleError, InputError
from ..feeds import Batch
from ..manifest import TensorSpec
from ..tokenizer import Tokenizer, Tokens

__all__ = ["HEADS", "Head", "check_rank", "open_head", "read_options"]

Options = TypeVar("Options")


class Head(Protocol):
    """One task's way from a graph's output to answers.

    A head's file defines `open_head(settings, tokenizer) -> Head`, where settings is the manifest's `head`.
    `output` is the one graph output that it reads; `takes_pairs` says whether a pair of texts means something to it.
    """

    output: str
    takes_pairs: bool

    def read_options(self, given: Mapping[str, Any]) -> Any:
        """The task's own options of one call. Raises InputError for unknown or unusable ones."""

    def check_output(self, spec: TensorSpec) -> None:
        """Raises BundleError when the graph's `output`, which is `spec`, is not what this head reads."""

    def check(self, tokens: Sequence[Tokens]) -> None:
        """Raises InputError when one of the texts has no answer, before anything runs."""

    def decode(self, output: NDArray[Any], batch: Batch, options: Any) -> list[Any]:
        """One answer for each text of `batch`, in its order; `output` is [batch, …], padding included."""


HEADS: Mapping[str, str] = {
    "feature-extraction": "features",
    "sentence-similarity": "similarity",
    "text-classification": "classification",
    "fill-mask": "fill_mask",
}
"""The module in this folder that answers each task."""


def open_head(task: str, settings: Mapping[str, Any], tokenizer: Tokenizer) -> Head:
    """The head of `task`. Raises BundleError when bvx has none, or `settings` do not fit it."""
    if task not in HEADS:
        raise BundleError(
            f"This bundle's task is {task!r}; this bvx answers {', '.join(HEADS)}.",
            "Upgrade bvx (`pip install --upgrade bvx`).",
        )
    head: Head = import_module(f".{HEADS[task]}", __name__).open_head(settings, tokenizer)
    return head


def check_rank(spec: TensorSpec, *axes: str) -> None:
    """Raises BundleError when `spec` has not these axes."""
    if len(spec.shape) != len(axes):
        raise BundleError(
            f"The bundle's {spec.name} is [{', '.join(map(str, spec.shape))}]; its task reads [{', '.join(axes)}].",
            "Export the bundle again.",
        )


def read_options(kind: type[Options], given: Mapping[str, Any], task: str) -> Options:
    """`given` as the options dataclass `kind`. Raises InputError that lists the options which `task` has."""
    known = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    unknown = [name for name in given if name not in known]
    if unknown:
        has = f"It has: {', '.join(known)}." if known else "It has none of its own."
        raise InputError(f"{task} has no option {', '.join(map(repr, unknown))}.", has)
    return kind(**given)
