"""What each step of int8 is worth on the zoo's checkpoints: their own metrics on their held-out lines.

    python benchmarks/zoo_int8.py WORK [--only NAME…] [--json FILE]

Each checkpoint is exported to WORK, calibrated on its own texts and judged through `bvx.load`, on ONNX Runtime's CPU
engine, with weights in -64..64 so that no processor's integer instructions saturate.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_ir as ir
from ablation import NOTHING

from bvx.calibration.collect import collect_statistics
from bvx.calibration.corpus import read_sample
from bvx.calibration.inputs import make_inputs
from bvx.calibration.quantizer import QuantizeOptions, make_recipe
from bvx.exporter.pipeline import export
from bvx.exporter.plan import ExportPlan
from bvx.exporter.targets.cpu import write_int8
from bvx.runtime.bundle import Bundle
from bvx.runtime.loading import load
from bvx.runtime.tokenizer import Tokenizer

ZOO = Path(__file__).resolve().parents[1] / "examples/zoo"
sys.path.insert(0, str(ZOO))
from measure import measure, read_lines  # noqa: E402 - the zoo's scripts are no package

STEPS: Mapping[str, QuantizeOptions | None] = {
    "fp32": None,
    "nearest": NOTHING,
    "+ smooth, exact": replace(NOTHING, smooth="exact"),
    "+ smooth, everywhere": replace(NOTHING, smooth="everywhere"),
    "+ smooth, everywhere, bias, GPTQ": QuantizeOptions(),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    rows = []
    print("| checkpoint | metric | " + " | ".join(STEPS) + " |\n|" + "---|" * (2 + len(STEPS)))
    for checkpoint in sorted((ZOO / "models").iterdir()):
        if asked.only and checkpoint.name not in asked.only:
            continue
        found = dict(judge(checkpoint, asked.work))
        rows.append({"checkpoint": checkpoint.name, "metrics": found})
        for metric in found["fp32"]:
            print(
                f"| {checkpoint.name} | {metric} | " + " | ".join(f"{one[metric]:.3f}" for one in found.values()) + " |"
            )
        sys.stdout.flush()
        if asked.json:
            asked.json.write_text(json.dumps(rows, indent=1) + "\n")


def judge(checkpoint: Path, work: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The metrics of each step."""
    stated = json.loads((checkpoint / "accuracy.json").read_text(encoding="utf-8"))
    plan = ExportPlan(
        str(checkpoint), work / checkpoint.name, task=stated["task"], family=stated["family"], overwrite=True
    )
    bundle = Bundle.open(export(plan).path)
    info = bundle.manifest.tokenizer
    assert info is not None
    tokenizer = Tokenizer(bundle.path("tokenizer.json"), bundle.manifest.max_length, 1)
    pairs = checkpoint / "calibration.jsonl"
    texts = _spec(pairs) if pairs.exists() else str(checkpoint / "calibration.txt")
    sample = read_sample(texts)
    canonical = ir.load(bundle.path("onnx/model.onnx"))
    statistics, tokens = collect_statistics(canonical, sample, tokenizer, info, threads=1)
    inputs = make_inputs(sample, tokenizer, info)
    lines = read_lines(checkpoint)
    for name, options in STEPS.items():
        folder = work / f"{checkpoint.name}-{len(name)}"
        shutil.copytree(bundle.root, folder, dirs_exist_ok=True)
        if options is not None:
            ranges = statistics.ranges("minmax", sample.describe(tokens))
            model = canonical.clone()
            write_int8(model, make_recipe(canonical, ranges, inputs, replace(options, reduced=True)))
            ir.save(model, folder / "onnx/model.onnx")
            _mend(folder)
        with load(folder, precision="fp32", threads=1) as encoder:
            yield name, measure(stated["task"], encoder, lines)
        shutil.rmtree(folder)


def _mend(folder: Path) -> None:
    """Say in bvx.json what the graph is now."""
    manifest = json.loads((folder / "bvx.json").read_text(encoding="utf-8"))
    for entry in manifest["files"]:
        if entry["path"] == "onnx/model.onnx":
            content = (folder / entry["path"]).read_bytes()
            entry |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "bvx.json").write_text(json.dumps(manifest), encoding="utf-8")


def _spec(path: Path) -> str:
    """How --calibrate spells the file, by the names of its fields."""
    with path.open(encoding="utf-8") as file:
        first = json.loads(file.readline())
    return f"{path}:{','.join(first)}" if set(first) != {"text", "pair"} else str(path)


if __name__ == "__main__":
    main()
