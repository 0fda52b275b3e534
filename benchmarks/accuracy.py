"""What int8 costs in accuracy, beside what other tools make of the same checkpoint: docs/precision.md's tables.

    python benchmarks/accuracy.py --peers .peers/bin/python --minilm FOLDER [--shared ../shared] [--zoo NAME …]
                                  [--methods ort-static,optimum-dynamic,nncf] [--out docs/precision]

Every tool gets the same calibration texts and is judged on the same examples by the same code (peer_engine.py). Writes
`OUT.json`, and `OUT.md` between the lines that say so.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accuracy_tables import write_tables
from peer_engine import PeerEngine, open_peer

import bvx
from bvx.calibration.corpus import read_sample
from bvx.calibration.evaluation.accuracy import Accuracy
from bvx.calibration.evaluation.judge import Judge
from bvx.calibration.evaluation.labelled import read_labelled
from bvx.calibration.inputs import make_inputs
from bvx.exporter.calibration_plan import CalibrationPlan
from bvx.exporter.pipeline import ExportResult, export
from bvx.exporter.plan import ExportPlan
from bvx.runtime.bundle import Bundle
from bvx.runtime.machine import describe
from bvx.runtime.tokenizer import Tokenizer

_ZOO = Path(__file__).parent.parent / "examples" / "zoo" / "models"
_OURS = {"int8/cpu": "bvx, cpu", "int8/tensorrt": "bvx, tensorrt (as written)"}
_PEERS = {
    "ort-static": "min-max (quantize_static)",
    "optimum-dynamic": "Optimum, dynamic",
    "nncf": "NNCF",
}


@dataclass(frozen=True)
class Subject:
    """A checkpoint, the texts to calibrate on, and labelled data to judge on."""

    name: str
    checkpoint: Path
    texts: str
    labelled: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, help="the Python of the other tools' environment")
    parser.add_argument("--minilm", type=Path, help="the checkpoint all-MiniLM-L6-v2")
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="the folder with data/stsb")
    parser.add_argument("--zoo", nargs="*", default=sorted(path.name for path in _ZOO.iterdir()))
    parser.add_argument("--methods", default=",".join(_PEERS))
    parser.add_argument("--out", type=Path, default=Path("docs/precision"))
    asked = parser.parse_args()
    methods = [name for name in asked.methods.split(",") if name] if asked.peers else []
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="bvx-accuracy-") as folder:
        for subject in find_subjects(asked.minilm, asked.shared, asked.zoo):
            work = Path(folder) / subject.name
            work.mkdir()
            made = quantise(subject, work)
            rows += own_rows(subject, made)
            rows += [row for method in methods for row in peer_rows(subject, made, method, asked.peers, work)]
            write_tables(asked.out, {"rows": rows, "conditions": f"{describe()['cpu']}, 1 thread."})
            print(f"{subject.name}: written to {asked.out}.md", flush=True)


def find_subjects(minilm: Path | None, shared: Path, zoo: list[str]) -> Iterator[Subject]:
    stsb = shared / "data" / "stsb"
    if minilm is not None:
        train, dev = stsb / "stsb-en-train.csv", stsb / "stsb-en-dev.csv"
        yield Subject("all-MiniLM-L6-v2", minilm, f"{train}:1", f"{dev}:1,2,3")
    for name in zoo:
        folder = _ZOO / name
        pairs = folder / "calibration.jsonl"
        texts = pairs if pairs.exists() else folder / "calibration.txt"
        yield Subject(name, folder, str(texts), str(folder / "heldout.jsonl"))


def quantise(subject: Subject, work: Path) -> ExportResult:
    """What `bvx export --precision fp32,int8 --target cpu,tensorrt --calibrate … --eval …` makes."""
    calibration = CalibrationPlan(texts=subject.texts, labelled=subject.labelled)
    plan = ExportPlan(
        str(subject.checkpoint),
        work / "bundle",
        precisions=("fp32", "int8"),
        targets=("cpu", "tensorrt"),
        calibration=calibration,
    )
    return export(plan)


def own_rows(subject: Subject, made: ExportResult) -> Iterator[dict[str, Any]]:
    sizes = {entry.path: entry.bytes for entry in made.manifest.files}
    for variant in made.manifest.variants:
        if variant.key in _OURS:
            accuracy = made.manifest.accuracy[variant.key]
            row = {"model": subject.name, "task": made.manifest.task, "tool": _OURS[variant.key], "graph": "bvx"}
            yield {**row, "bytes": sizes[variant.file], "kept": len(variant.kept), **accuracy}


def peer_rows(subject: Subject, made: ExportResult, method: str, python: Path, work: Path) -> Iterator[dict[str, Any]]:
    """One row for a tool, or one that says that it failed."""
    bundle = Bundle.open(made.path)
    folder = work / method
    folder.mkdir()
    batches = write_calibration(subject, bundle, work / "calibration.npz")
    row = {"model": subject.name, "task": bundle.manifest.task, "tool": _PEERS[method]}
    try:
        engine = PeerEngine(python, method, subject.checkpoint, bundle, batches, folder)
    except RuntimeError as error:
        yield {**row, "failed": str(error)}
        return
    data = read_labelled(subject.labelled, bundle.manifest.task, bundle.manifest.head)
    with bvx.load(made.path, precision="fp32", threads=1) as reference, open_peer(bundle, engine) as peer:
        accuracy: Accuracy = Judge(reference, data)(peer)
    yield {**row, "graph": engine.origin, "bytes": engine.bytes, "kept": 0, **accuracy.to_dict()}


def write_calibration(subject: Subject, bundle: Bundle, path: Path) -> Path:
    """The batches that bvx calibrates on, for the others too."""
    info = bundle.manifest.tokenizer
    assert info is not None
    tokenizer = Tokenizer(bundle.path("tokenizer.json"), bundle.manifest.max_length, 1)
    batches = make_inputs(read_sample(subject.texts), tokenizer, info)
    arrays = {f"{name}.{number}": array for number, batch in enumerate(batches) for name, array in batch.items()}
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


if __name__ == "__main__":
    main()
