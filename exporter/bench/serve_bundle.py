"""A bundle as a contender: loaded and run as a service would, with what bvx itself does around the engine."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ...runtime.encoder import Encoder
from ...runtime.loading import load
from .serve import Feeds, Opened

__all__ = ["open_bundle"]

_READS_ONE_TEXT = (
    "feature-extraction",
    "replaced-token-detection",
    "sentence-similarity",
    "text-classification",
    "token-classification",
)


def open_bundle(asked: Mapping[str, Any]) -> Opened:
    """Load the bundle `asked["bundle"]` with its `precision`, `engine` and `threads`."""
    model = load(asked["bundle"], precision=asked["precision"], engine=asked["engine"], threads=asked["threads"])
    manifest = model.manifest
    facts = {
        "engine": model.engine.name,
        "version": model.engine.version,
        "precision": model.precision,
        "variant": model.variant.key,
        "longest": model.max_length,
    }

    def run(feeds: Feeds) -> object:
        return model.run(**feeds)

    names = tuple(spec.name for spec in manifest.inputs)
    reads = manifest.tokenizer is not None and model.task in _READS_ONE_TEXT
    vocabulary = manifest.input_limits.get("input_ids", 1000)
    return Opened(
        run, names, vocabulary, facts, (lambda texts, size: _time_texts(model, texts, size)) if reads else None
    )


def _time_texts(model: Encoder, texts: list[str], batch_size: int) -> dict[str, Any]:
    """Milliseconds for all `texts` from strings to answers, and for their tokenisation alone; their tokens.

    `padded` is what the engine takes for them in batches as they come, each padded to its longest text.
    """
    batches = [texts[start : start + batch_size] for start in range(0, len(texts), batch_size)]
    began = time.perf_counter()
    tokenised = [model.tokenize(batch, truncate=True) for batch in batches]
    middle = time.perf_counter()
    for arrays in tokenised:
        model.run(**arrays)
    padded = time.perf_counter()
    model(texts, truncate=True, batch_size=batch_size)
    ended = time.perf_counter()
    return {
        "tokenise": 1e3 * (middle - began),
        "padded": 1e3 * (padded - began),
        "whole": 1e3 * (ended - padded),
        "tokens": sum(int(arrays["attention_mask"].sum()) for arrays in tokenised),
    }
