"""Which variant to serve: the fastest one on this machine that keeps the accuracy that was asked for."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.encoder import Encoder
from ..runtime.manifest import Manifest, Variant

__all__ = ["SHAPE", "pick", "time_variants"]

SHAPE = (1, 128)
"""Batch and length in tokens that variants are compared at."""

_WARM_UP = 3
_RUNS = 15


def time_variants(models: Mapping[str, Encoder], shape: tuple[int, int] = SHAPE) -> dict[str, dict[str, Any]]:
    """Milliseconds that one batch of `shape` takes, the median of 15 runs of each model in turns, by its key.

    In turns, so that a machine that slows down does so for all; one process, whose threads do not wait busily.
    """
    batch, length = shape[0], min([shape[1], *(model.max_length for model in models.values())])
    feeds = {key: _feeds(model.manifest, batch, length) for key, model in models.items()}
    times: dict[str, list[float]] = {key: [] for key in models}
    for number in range(_WARM_UP + _RUNS):
        for key, model in models.items():
            began = time.perf_counter()
            model.run(**feeds[key])
            if number >= _WARM_UP:
                times[key].append(1000 * (time.perf_counter() - began))
    return {
        key: {
            "batch": batch,
            "length": length,
            "threads": models[key].engine.threads,
            "engine": f"{models[key].engine.name} {models[key].engine.version}",
            "milliseconds": round(statistics.median(found), 3),
        }
        for key, found in times.items()
    }


def pick(variants: Sequence[Variant], milliseconds: Mapping[str, float], refused: Mapping[str, str]) -> str:
    """The key of the fastest of `variants` that was timed, keeps the accuracy, and answers alike in every batch.

    `refused` are those that lost too much: key -> why. Empty when nothing was timed.
    """
    able = [
        variant.key
        for variant in variants
        if variant.key in milliseconds and variant.key not in refused and not variant.batch_dependent
    ]
    return min(able, key=lambda key: milliseconds[key], default="")


def _feeds(manifest: Manifest, batch: int, length: int) -> dict[str, NDArray[np.int64]]:
    """Token ids without padding, the same each time."""
    rows = manifest.input_limits.get("input_ids", 1)
    ids = np.random.default_rng(0).integers(0, rows, (batch, length), dtype=np.int64)
    pad = manifest.tokenizer.pad_id if manifest.tokenizer else -1
    ids[ids == pad] = (pad + 1) % rows
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}
