"""Run a canonical graph over texts and keep the statistics of its tensors."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import onnx_ir as ir

from ..runtime.engines.ort import open_session
from ..runtime.feeds import pad
from ..runtime.machine import allowed_cores
from ..runtime.manifest import TokenizerInfo, Variant
from ..runtime.tokenizer import Tokenizer, Tokens
from .corpus import Sample
from .inputs import batch_evenly, tokenize_sample
from .observed import Observed, observe
from .observers import find_observer
from .ranges import Ranges
from .statistics import Statistics

__all__ = ["OBSERVER", "collect", "collect_statistics"]

OBSERVER = "mse"
"""The observer where none is asked for."""

_VARIANT = Variant(
    "fp32", "calibration", "", "not-runnable-here", engine_options={"graph_optimization_level": "ORT_ENABLE_BASIC"}
)
"""What is given out cannot be fused away, and with it most of what a higher level does."""


def collect(
    graph: Path | ir.Model,
    sample: Sample,
    tokenizer: Tokenizer,
    info: TokenizerInfo,
    *,
    max_length: int | None = None,
    observer: str = OBSERVER,
    threads: int | None = None,
    progress: Callable[[int], None] = lambda texts: None,
) -> Ranges:
    """The ranges of the tensors of `graph`, a canonical graph, over the texts of `sample`.

    A text longer than `max_length` tokens (None: what `tokenizer` takes) is cut. `progress` is told, after every
    batch, how many texts it had; they are `len(sample.entries)` in all. At most `threads` cores are used, None for
    all. Raises CalibrationError for an unknown observer and for values that are not finite, InputError for a text
    without tokens, and EngineMismatch when the graph does not run here.
    """
    find_observer(observer)
    statistics, tokens = collect_statistics(
        graph, sample, tokenizer, info, max_length=max_length, threads=threads, progress=progress
    )
    return statistics.ranges(observer, sample.describe(tokens))


def collect_statistics(
    graph: Path | ir.Model,
    sample: Sample,
    tokenizer: Tokenizer,
    info: TokenizerInfo,
    *,
    max_length: int | None = None,
    threads: int | None = None,
    progress: Callable[[int], None] = lambda texts: None,
) -> tuple[Statistics, int]:
    """What `collect` makes ranges of, for whoever compares observers, and the number of tokens that were read."""
    found = tokenize_sample(sample, tokenizer, max_length)
    with tempfile.TemporaryDirectory(prefix="bvx-calibration-") as folder:
        path = Path(folder) / "observed.onnx"
        statistics = Statistics(_write_observed(graph, path))
        _run(path, found, info, statistics, threads or allowed_cores(), progress)
    return statistics, sum(map(len, found))


def _write_observed(graph: Path | ir.Model, path: Path) -> Observed:
    """Write the observed graph, its weights beside it, from where the engine maps them instead of copying them."""
    model = ir.load(graph) if isinstance(graph, Path) else graph.clone()
    observed = observe(model)
    ir.save(model, path, external_data=f"{path.name}_data")
    return observed


def _run(
    path: Path,
    tokens: Sequence[Tokens],
    info: TokenizerInfo,
    statistics: Statistics,
    threads: int,
    progress: Callable[[int], None],
) -> None:
    engine = open_session(path, _VARIANT, threads, spin=False)
    names, outputs = [spec.name for spec in engine.inputs], statistics.observed.outputs
    counting: Future[None] | None = None
    try:
        # One batch is counted while the engine runs the next: NumPy counts on one core alone.
        with ThreadPoolExecutor(1) as worker:
            for batch in batch_evenly(tokens):
                arrays = pad(batch, info)
                found = engine.run({name: arrays[name] for name in names}, outputs)
                if counting is not None:
                    counting.result()
                counting = worker.submit(statistics.add, found, len(batch), len(batch[0]))
                if threads == 1:
                    counting.result()
                progress(len(batch))
            if counting is not None:
                counting.result()
    finally:
        engine.close()
