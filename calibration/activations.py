"""Activations: what flows into a graph's linear layers on real texts, streamed, and what is kept of it.

Of a tensor only its moments and a fixed number of rows are kept, so memory does not grow with the texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray

from ..runtime.errors import CalibrationError
from ..runtime.machine import allowed_cores

__all__ = ["Inputs", "Seen", "collect_inputs", "pool", "stream_tensors"]

Inputs = Iterable[Mapping[str, NDArray[Any]]]
"""Batches of a graph's inputs by name, int64 [batch, length]; the attention_mask says what is padding."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What was kept of the rows x [width] that a tensor had, one for each token that is not padding; float32.

    `count` rows were seen; `mean`, `low` and `high` [width] are the mean, least and largest value of each channel,
    and `gram` [width, width] is the sum of (x - mean).T @ (x - mean), or None where it was not asked for. `rows` [at
    most the number asked for, width] were drawn from them evenly.
    """

    count: int
    mean: NDArray[Any]
    low: NDArray[Any]
    high: NDArray[Any]
    rows: NDArray[Any]
    gram: NDArray[Any] | None = None

    @property
    def peaks(self) -> NDArray[Any]:
        """The largest absolute value of each channel, [width]."""
        peaks: NDArray[Any] = np.maximum(self.high, -self.low)
        return peaks

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the largest value of all."""
        return float(self.low.min()), float(self.high.max())


def collect_inputs(
    model: ir.Model,
    inputs: Inputs,
    names: Sequence[str],
    *,
    grams: Sequence[str] = (),
    rows: int = 256,
    seed: int = 0,
) -> dict[str, Seen]:
    """What the tensors called `names` (float32, [batch, length, width] or [batch, width]) hold for `inputs`.

    Memory: `rows` x width floats for a name, width x width for one that is in `grams` as well, and one batch.
    Raises CalibrationError when `inputs` have no token, and for a value that is not finite.
    """
    kept = {name: _Kept(rows, name in set(grams)) for name in names}
    random = np.random.default_rng(seed)
    for tensors in stream_tensors(model, inputs, names):
        draws = random.random(max(map(len, tensors.values())))
        for name, found in tensors.items():
            kept[name].add(found, draws[: len(found)])
    if not all(one.count for one in kept.values()):
        raise CalibrationError("The calibration texts have no tokens.", "Give texts with at least one word each.")
    return {name: one.seen() for name, one in kept.items()}


def pool(several: Sequence[Seen]) -> Seen:
    """What is kept of the rows of several tensors of one width together, for a weight that reads each of them."""
    if len(several) == 1:
        return several[0]
    counts = np.asarray([one.count for one in several], np.float32)
    means = np.stack([one.mean for one in several])
    mean = counts @ means / counts.sum()
    low, high = np.min([one.low for one in several], axis=0), np.max([one.high for one in several], axis=0)
    grams = [one.gram for one in several if one.gram is not None]
    gram = None
    if len(grams) == len(several):
        apart = (means - mean) * np.sqrt(counts)[:, None]
        gram = sum(grams[1:], grams[0]) + apart.T @ apart
    return Seen(int(counts.sum()), mean, low, high, np.concatenate([one.rows for one in several]), gram)


def stream_tensors(model: ir.Model, inputs: Inputs, names: Sequence[str]) -> Iterator[dict[str, NDArray[Any]]]:
    """The tensors called `names`, batch by batch, float32 [rows, width] without the padding.

    A row is a token, or a text where the tensor has one row for each text (a pooler's). Raises CalibrationError for a
    value that is not finite.
    """
    if not names:
        return
    session = _open(model, names)
    known = [item.name for item in session.get_inputs()]
    for batch in inputs:
        mask = np.asarray(batch["attention_mask"]) != 0
        found = session.run(list(names), {name: batch[name] for name in known})
        tensors = {name: _rows(value, mask) for name, value in zip(names, found, strict=True)}
        for name, value in tensors.items():
            if not np.isfinite(value).all():
                raise CalibrationError(
                    f"{name} is not finite for one of the calibration texts.",
                    "Check the model in fp32 first: bvx verify BUNDLE.",
                )
        if mask.any():
            yield tensors


def _rows(value: NDArray[Any], mask: NDArray[Any]) -> NDArray[Any]:
    """The rows of a tensor that belong to no padding."""
    rows: NDArray[Any] = value.reshape(-1, value.shape[-1])
    if len(rows) == mask.size:
        rows = rows[mask.reshape(-1)]
    elif len(rows) == len(mask):
        rows = rows[mask.any(axis=1)]
    return rows


class _Kept:
    """What is kept of one tensor while its rows go by."""

    def __init__(self, limit: int, wants_gram: bool) -> None:
        self.count = 0
        self._limit = limit
        self._total: NDArray[Any] = np.zeros(1, np.float64)
        self._low: NDArray[Any] = np.full(1, np.inf, np.float32)
        self._high: NDArray[Any] = np.full(1, -np.inf, np.float32)
        self._gram: NDArray[Any] | None = np.zeros((1, 1), np.float32) if wants_gram else None
        self._rows: NDArray[Any] | None = None
        self._draws: NDArray[Any] = np.empty(0)

    def add(self, found: NDArray[Any], draws: NDArray[Any]) -> None:
        """Keeps the rows of the smallest draws: an even choice, the same for every tensor of the pass."""
        self.count += len(found)
        self._total = self._total + found.sum(axis=0, dtype=np.float64)
        self._low = np.minimum(self._low, found.min(axis=0))
        self._high = np.maximum(self._high, found.max(axis=0))
        if self._gram is not None:
            self._gram = self._gram + found.T @ found
        rows = found if self._rows is None else np.concatenate([self._rows, found])
        draws = np.concatenate([self._draws, draws])
        if len(draws) > self._limit:
            chosen = np.sort(np.argpartition(draws, self._limit)[: self._limit])
            rows, draws = rows[chosen], draws[chosen]
        self._rows, self._draws = rows, draws

    def seen(self) -> Seen:
        assert self._rows is not None
        mean = (self._total / self.count).astype(np.float32)
        if self._gram is not None:
            self._gram -= np.outer(mean * self.count, mean)
        return Seen(self.count, mean, self._low, self._high, self._rows, self._gram)


def _open(model: ir.Model, names: Sequence[str]) -> Any:
    """A session of the graph whose outputs are the tensors called `names`."""
    copy = model.clone()
    values = {str(value.name): value for node in copy.graph for value in node.outputs}
    missing = [name for name in names if name not in values]
    if missing:
        raise CalibrationError(
            f"The graph computes no tensor called {missing[0]!r}.",
            "Ranges and graph have to be of the same export: calibrate again.",
        )
    copy.graph.outputs.clear()
    copy.graph.outputs.extend(values[name] for name in names)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = allowed_cores()
    options.log_severity_level = 3
    content = ir.to_proto(copy).SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
