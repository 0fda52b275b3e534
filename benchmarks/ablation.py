"""What each step of int8 is worth on a model that people use: a row for each, on scored sentence pairs.

    python benchmarks/ablation.py BUNDLE TRAIN.csv DEV.csv [--samples 256] [--pairs N] [--json FILE]

BUNDLE's task is sentence-similarity. The graphs that the CPU's lowering writes are run by ONNX Runtime with its own
rewriting off: 8-bit numbers, their sums in float, so that no processor's integer instructions tell. `full` weights lie
in -127..127, `reduced` ones in -64..64; `signed` activations are int8 around zero, as TensorRT wants them, the others
uint8.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray
from stsb import spearman

from bvx.calibration.collect import collect_statistics
from bvx.calibration.corpus import Sample
from bvx.calibration.inputs import batch_evenly, make_inputs
from bvx.calibration.observers import OBSERVERS
from bvx.calibration.quantizer import QuantizeOptions, make_recipe
from bvx.calibration.recipe import Recipe
from bvx.exporter.targets.cpu import write_int8
from bvx.runtime.bundle import Bundle
from bvx.runtime.feeds import pad
from bvx.runtime.tokenizer import Tokenizer

NOTHING = QuantizeOptions("nowhere", "nearest", bias=False)
STEPS: Mapping[str, QuantizeOptions] = {
    "nearest": NOTHING,
    "+ bias": replace(NOTHING, bias=True),
    "+ smooth, exact": replace(NOTHING, smooth="exact"),
    "+ smooth, everywhere": replace(NOTHING, smooth="everywhere"),
    "+ smooth, everywhere, bias": replace(NOTHING, smooth="everywhere", bias=True),
    "+ smooth, everywhere, GPTQ": replace(NOTHING, smooth="everywhere", rounding="together"),
    "+ smooth, everywhere, bias, GPTQ": QuantizeOptions(),
}


@dataclass(frozen=True)
class Row:
    """A recipe, and what it did to the cosines of sentence pairs.

    `drop` is in points of 100 x Spearman; `flips` is the share of pairs of cosines whose order changed, `rms` the root
    mean square change of a cosine; `seconds` of a processor is what the recipe took to make.
    """

    observer: str
    steps: str
    weights: str
    activations: str
    spearman: float
    drop: float
    flips: float
    rms: float
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("train", type=Path)
    parser.add_argument("dev", type=Path)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--pairs", type=int, help="judge on so many of the pairs, drawn evenly")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    rows = []
    print("| observer | steps | weights | activations | Spearman x 100 | drop | orders changed | rms | seconds |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in measure(asked.bundle, asked.train, asked.dev, asked.samples, asked.pairs):
        rows.append(asdict(row))
        numbers = f"{row.spearman:.2f} | {row.drop:+.2f} | {row.flips:.3%} | {row.rms:.5f} | {row.seconds:.0f}"
        print(f"| {row.observer} | {row.steps} | {row.weights} | {row.activations} | {numbers} |", flush=True)
        if asked.json:
            asked.json.write_text(json.dumps(rows, indent=1) + "\n")


def measure(bundle_path: Path, train: Path, dev: Path, samples: int, pairs: int | None) -> Iterator[Row]:
    bundle = Bundle.open(bundle_path)
    info = bundle.manifest.tokenizer
    assert info is not None
    tokenizer = Tokenizer(bundle.path("tokenizer.json"), bundle.manifest.max_length, 1)
    canonical = ir.load(bundle.path("onnx/model.onnx"))
    sample = _sample(train, samples)
    statistics, tokens = collect_statistics(canonical, sample, tokenizer, info, threads=1)
    inputs = make_inputs(sample, tokenizer, info)
    judged = _read(dev)
    judged = judged[:: max(1, len(judged) // (pairs or len(judged)))]
    scores = [float(row[2]) for row in judged]

    def answer(model: ir.Model) -> NDArray[Any]:
        return _cosines(model, judged, tokenizer, info)

    before = answer(canonical)
    yield Row("", "fp32", "", "", 100 * spearman(before, scores), 0.0, 0.0, 0.0, 0.0)
    for observer, name, reduced, signed in _cells():
        options = replace(STEPS[name], reduced=reduced)
        start = time.process_time()
        recipe = make_recipe(canonical, statistics.ranges(observer, sample.describe(tokens)), inputs, options)
        seconds = time.process_time() - start
        found = answer(_lower(canonical, _signed(recipe) if signed else recipe))
        drop = 100 * (spearman(before, scores) - spearman(found, scores))
        rms = float(np.sqrt(np.square(found - before).mean()))
        texts = ("reduced" if reduced else "full", "signed" if signed else "unsigned")
        yield Row(
            observer,
            name,
            *texts,
            100 * spearman(found, scores),
            drop,
            share_of_changed_orders(before, found),
            rms,
            seconds,
        )


def _cells() -> Iterator[tuple[str, str, bool, bool]]:
    """(observer, steps, reduced, signed): what ships first, then what stands beside it."""
    full, plain = "+ smooth, everywhere, bias, GPTQ", "nearest"
    for name in (full, plain):
        for reduced, signed in ((False, False), (False, True), (True, False)):
            yield "minmax", name, reduced, signed
    for name in list(STEPS)[1:-1]:
        yield "minmax", name, False, False
    for observer in OBSERVERS:
        if observer != "minmax":
            yield observer, plain, False, False
            yield observer, full, False, False


def share_of_changed_orders(before: NDArray[Any], after: NDArray[Any]) -> float:
    """The share of all pairs of numbers whose order is another one."""
    one, other = np.triu_indices(len(before), 1)
    return float((((before[one] - before[other]) * (after[one] - after[other])) < 0).mean())


def _signed(recipe: Recipe) -> Recipe:
    """The recipe with ranges that are symmetric, which give uint8 the zero point 128 or 127: int8 by another name."""
    bounds = {name: (-max(-low, high), max(-low, high)) for name, (low, high) in recipe.ranges.bounds.items()}
    return replace(recipe, ranges=replace(recipe.ranges, bounds=bounds))


def _lower(canonical: ir.Model, recipe: Recipe) -> ir.Model:
    model = canonical.clone()
    write_int8(model, recipe)
    return model


def _cosines(model: ir.Model, rows: Sequence[Sequence[str]], tokenizer: Tokenizer, info: Any) -> NDArray[Any]:
    """The cosine of each row's two sentences: mean pooling over the tokens, as sentence-transformers does it."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), options)
    names = [item.name for item in session.get_inputs()]
    texts = list(dict.fromkeys(text for row in rows for text in row[:2]))
    tokens = tokenizer.encode(texts, truncate=True)
    vectors: dict[int, NDArray[Any]] = {}
    for batch in batch_evenly(tokens):
        arrays = pad(batch, info)
        means = session.run(None, {name: arrays[name] for name in names})[0].mean(axis=1)
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        vectors.update((id(one), mean) for one, mean in zip(batch, means, strict=True))
    found = {text: vectors[id(one)] for text, one in zip(texts, tokens, strict=True)}
    return np.asarray([found[row[0]] @ found[row[1]] for row in rows])


def _sample(path: Path, samples: int) -> Sample:
    lines = list(dict.fromkeys(text for row in _read(path) for text in row[:2]))
    drawn = np.random.default_rng(0).choice(len(lines), samples, replace=False)
    return Sample(path.name, len(lines), 0, tuple((lines[number],) for number in sorted(drawn)))


def _read(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    return rows[1:] if rows[0] == ["sentence1", "sentence2", "score"] else rows


if __name__ == "__main__":
    main()
