"""What a graph is fed: batches made of tokens, and arrays that a caller made, checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .manifest import Manifest, TensorSpec, TokenizerInfo
from .tokenizer import Tokens

__all__ = ["Batch", "check_feeds", "check_limits", "pad", "split"]

_FILLED = {"attention_mask": 1, "token_type_ids": 0}
"""The inputs that a caller may leave out, and what fills them."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Texts that run together. `numbers` are their places among the texts given; `arrays` are int64 [batch, length].

    `arrays` has input_ids, attention_mask and token_type_ids, whether or not the graph reads all of them.
    """

    numbers: tuple[int, ...]
    tokens: tuple[Tokens, ...]
    arrays: Mapping[str, NDArray[np.int64]]


def split(
    tokens: Sequence[Tokens],
    info: TokenizerInfo,
    batch_size: int,
    elements_per_token: int,
    budget: int,
    run_cost: int | None = None,
) -> Iterator[Batch]:
    """Batches of at most `batch_size` texts, the longest texts first, so that little of a batch is padding.

    A batch is made smaller where its output, `elements_per_token` for each token and its padding, would have more
    than `budget` elements; it has at least one text. `run_cost` is what one more run costs, in tokens: with it a batch
    also ends where that costs less than the padding that it saves; None makes as few batches as there can be. The
    longest come first because what does not fit into memory should fail at once.
    """
    order = sorted(range(len(tokens)), key=lambda number: -len(tokens[number]))
    lengths = [len(tokens[number]) for number in order]
    start = 0
    for end in [len(order)] if run_cost is None else _cut(lengths, batch_size, run_cost):
        while start < end:
            fitting = budget // (lengths[start] * elements_per_token)
            numbers = tuple(order[start : min(end, start + max(1, min(batch_size, fitting)))])
            start += len(numbers)
            chosen = tuple(tokens[number] for number in numbers)
            yield Batch(numbers, chosen, pad(chosen, info))


def _cut(lengths: Sequence[int], most: int, run_cost: int) -> list[int]:
    """Where groups of texts end whose batches, of at most `most`, take the fewest tokens in all, padding included.

    `lengths` fall. A shortest path over the places where the length changes: there are no more of them than a text
    may have tokens, however many texts there are.
    """
    places = [place for place, length in enumerate(lengths) if not place or length < lengths[place - 1]]
    places.append(len(lengths))
    costs, ends = [0] * len(places), [0] * len(places)
    for first in range(len(places) - 2, -1, -1):
        batch, before = places[first], 0  # where the group's last batch begins, and what those before it cost
        costs[first] = -1
        for last in range(first + 1, len(places)):
            while places[last] - batch > most:
                before += most * lengths[batch] + run_cost
                batch += most
            cost = before + (places[last] - batch) * lengths[batch] + run_cost + costs[last]
            if costs[first] < 0 or cost < costs[first]:
                costs[first], ends[first] = cost, last
    found, place = [], 0
    while place < len(places) - 1:
        place = ends[place]
        found.append(places[place])
    return found


def pad(tokens: Sequence[Tokens], info: TokenizerInfo) -> dict[str, NDArray[np.int64]]:
    """input_ids, attention_mask and token_type_ids of `tokens`, int64 [batch, length of the longest].

    Padding is on the right, whatever the checkpoint trained with: on the left it would shift the text's absolute
    positions, and its answer would depend on what it runs with.
    """
    shape = (len(tokens), max(map(len, tokens), default=0))
    ids = np.full(shape, info.pad_id, np.int64)
    mask = np.zeros(shape, np.int64)
    types = np.full(shape, info.pad_type_id, np.int64)
    for row, one in enumerate(tokens):
        ids[row, : len(one)] = one.ids
        mask[row, : len(one)] = 1
        types[row, : len(one)] = one.type_ids
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def check_feeds(arrays: Mapping[str, Any], manifest: Manifest) -> dict[str, NDArray[Any]]:
    """`arrays` as the graph takes them: integers widened, a missing attention_mask or token_type_ids filled in.

    Raises InputError that says which input is unknown, missing, or of another dtype, rank, shape, length or range
    than the model takes.
    """
    known = {spec.name: spec for spec in manifest.inputs}
    unknown = [name for name in arrays if name not in known]
    if unknown:
        raise InputError(
            f"This model has no input {', '.join(map(repr, unknown))}. It has: {', '.join(known)}.", "Leave it out."
        )
    given = {name: _as_array(arrays[name], spec) for name, spec in known.items() if name in arrays}
    missing = [name for name in known if name not in given and name not in _FILLED]
    if missing or not given:
        wanted = ", ".join(missing or known)
        raise InputError(f"Input {wanted} is missing.", "Give it as an integer array of [batch, length].")
    (first, model_input), *others = given.items()
    for name, array in others:
        if array.shape != model_input.shape:
            raise InputError(
                f"{name} has shape {list(array.shape)} and {first} has {list(model_input.shape)}.",
                "Pad all inputs to the same [batch, length].",
            )
    length = model_input.shape[-1]
    if length > manifest.max_length:
        raise InputError(
            f"The inputs are {length} tokens long; this model takes at most {manifest.max_length}.", "Shorten them."
        )
    check_limits(given, manifest.input_limits)
    return {
        name: given[name] if name in given else np.full(model_input.shape, _FILLED[name], spec.dtype)
        for name, spec in known.items()
    }


def check_limits(arrays: Mapping[str, NDArray[Any]], limits: Mapping[str, int]) -> None:
    """Raises InputError for an id below 0, which a graph would read as counted from the end, or beyond its table."""
    for name, array in arrays.items():
        limit = limits.get(name)
        least, most = int(array.min()), int(array.max())
        if least >= 0 and (limit is None or most < limit):
            continue
        outside = least if least < 0 else most
        wanted = "not negative" if limit is None else f"0 to {limit - 1}"
        raise InputError(
            f"{name} has the value {outside}; this model takes {wanted}.", "Use this model's own tokenizer."
        )


def _as_array(value: Any, spec: TensorSpec) -> NDArray[Any]:
    rank = len(spec.shape)
    wanted = f"wanted {spec.dtype} of [{', '.join(map(str, spec.shape))}]"
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"{spec.name} is no array ({error}); {wanted}.", "Pad its rows to one length.") from error
    # A mask is often a comparison's result; a bool anywhere else is a mistake.
    if array.dtype.kind not in ("iub" if spec.name == "attention_mask" else "iu"):
        raise InputError(f"{spec.name} is {array.dtype}; {wanted}.", f"Convert it with .astype({spec.dtype!r}).")
    if array.ndim != rank:
        step = "Give a batch of one as array[None]." if array.ndim == rank - 1 else "Reshape it."
        raise InputError(f"{spec.name} has {array.ndim} dimensions; {wanted}.", step)
    if not array.size:
        raise InputError(f"{spec.name} of shape {list(array.shape)} is empty; {wanted}.", "Give at least one token.")
    return array.astype(spec.dtype, copy=False)
