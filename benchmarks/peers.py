"""fp32 speed beside what people use instead, each engine in a process of its own, in turns (docs/benchmarks.md).

    python benchmarks/peers.py --peers PYTHON [--minilm FOLDER] [--models roberta-base …] [--shapes 1x128 …]
                               [--rounds 15] [--threads 1]

PYTHON is the interpreter of the environment that `make peers` makes. With FOLDER, all-MiniLM-L6-v2 is measured with its
real weights; every other model has random ones, as speed does not depend on them. That all files give the same
last_hidden_state is checked before anything is timed.
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnxruntime
import torch
import transformers
from turns import SHAPES, OrtWorker, Worker, answer, feeds, machine, measure, read_shape, table

import bvx
from bvx.exporter.checkpoint import Checkpoint, load_checkpoint
from bvx.exporter.pipeline import export
from bvx.exporter.plan import ExportPlan

TASK = "feature-extraction"
OUTPUT = "last_hidden_state"
_ASK_VERSIONS = (
    "import onnxruntime; from importlib.metadata import version as v; "
    "print(onnxruntime.__version__, v('optimum-onnx'), v('transformers'), v('torch'))"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True, help="the peers' interpreter")
    parser.add_argument("--minilm", type=Path, help="the folder of all-MiniLM-L6-v2")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--models", nargs="*", default=["roberta-base", "albert-base-v2"])
    parser.add_argument("--shapes", nargs="+", type=read_shape, default=SHAPES, metavar="BATCHxLENGTH")
    asked = parser.parse_args()
    # The exporter warns of what is not installed, and transformers shows progress for what takes no time.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    transformers.utils.logging.disable_progress_bar()
    theirs = subprocess.check_output([asked.peers, "-c", _ASK_VERSIONS], text=True).split()
    print(machine(asked.threads, asked.rounds), _versions(theirs))
    models = {name: ExportPlan(name, Path(), TASK, random_weights=True) for name in asked.models}
    if asked.minilm:
        models = {"all-MiniLM-L6-v2": ExportPlan(str(asked.minilm), Path(), TASK), **models}
    for name, plan in models.items():
        with tempfile.TemporaryDirectory() as folder:
            files = _make(plan, Path(folder), asked.peers)
            _check(files)
            workers = _start(files, asked.threads)
            if theirs[0] != onnxruntime.__version__:
                own = OrtWorker(files["Optimum O2"], (), asked.threads, asked.peers)
                workers[f"Optimum O2, onnxruntime {theirs[0]}"] = own
            print(table(name, asked.shapes, measure(workers, asked.shapes, asked.rounds)), flush=True)


def _versions(theirs: Sequence[str]) -> str:
    ort, optimum, transformers, pytorch = theirs
    return (
        f"bvx {bvx.__version__}, onnxruntime {onnxruntime.__version__}, PyTorch {version('torch')}, transformers "
        f"{version('transformers')}. optimum-onnx {optimum} exported with PyTorch {pytorch}, transformers "
        f"{transformers} and onnxruntime {ort}."
    )


def _make(plan: ExportPlan, folder: Path, peers: str) -> dict[str, Path]:
    """By engine, the bundle, checkpoint or ONNX file that it opens: the same weights in each."""
    bundle, checkpoint = folder / "model.bvx", folder / "checkpoint"
    export(ExportPlan(plan.model, bundle, plan.task, random_weights=plan.random_weights))
    loaded = load_checkpoint(plan)
    loaded.model.save_pretrained(checkpoint)  # type: ignore[operator]
    files = {"bvx": bundle, "PyTorch eager": checkpoint}
    for title, options in (("torch.onnx", {}), ("torch.onnx, opset 23", {"opset_version": 23})):
        files[title] = _export_raw(loaded, folder / f"{len(files)}.onnx", options)
    files["Optimum O2"] = _export_o2(checkpoint, folder / "o2.onnx", peers)
    return files


def _export_o2(checkpoint: Path, path: Path, peers: str) -> Path:
    command = [peers, Path(__file__).with_name("optimum_o2.py"), checkpoint, path]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        sys.exit(f"Optimum could not export the checkpoint:\n{done.stderr[-4000:]}")
    return path


def _export_raw(checkpoint: Checkpoint, path: Path, options: Mapping[str, int]) -> Path:
    """What torch.onnx writes when nothing is asked of it but dynamic axes and names."""
    inputs = checkpoint.family.inputs
    example = {name: torch.ones(2, 3, dtype=torch.int64) for name in inputs}
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")}
    program = torch.onnx.export(
        checkpoint.model,
        kwargs=example,
        dynamo=True,
        dynamic_shapes=dict.fromkeys(inputs, axes),
        input_names=list(inputs),
        output_names=list(checkpoint.outputs),
        verbose=False,
        **options,
    )
    assert program is not None
    program.save(path)
    return path


def _check(files: Mapping[str, Path]) -> None:
    """Every ONNX file says what the bundle says."""
    with bvx.load(files["bvx"], threads=1) as model:
        names = [spec.name for spec in model.manifest.inputs]
        batch = feeds(names, 2, 21)
        expected = model.run(**batch)[OUTPUT]
    for name, path in files.items():
        if path.suffix == ".onnx":
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            difference = np.abs(session.run([OUTPUT], batch)[0] - expected).max() / expected.std()
            if not difference < 1e-3:
                sys.exit(f"{name} and bvx differ by {difference:.1e} of the output's scale: nothing to compare.")


def _start(files: Mapping[str, Path], threads: int) -> dict[str, Worker]:
    workers = {}
    for name, path in files.items():
        if path.suffix == ".onnx":
            workers[name] = OrtWorker(path, (), threads)
        else:
            workers[name] = Worker([sys.executable, __file__, "--serve", name, str(path), str(threads)], threads)
    return workers


def _serve(engine: str, path: str, threads: str) -> None:
    if engine == "bvx":
        encoder = bvx.load(path, threads=int(threads))
        wanted = [spec.name for spec in encoder.manifest.inputs]
        answer(lambda batch, length: encoder.run(**feeds(wanted, batch, length)))
        return
    torch.set_num_threads(int(threads))
    model = transformers.AutoModel.from_pretrained(path).eval()
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if model.config.type_vocab_size > 1 else [])]

    @torch.inference_mode()
    def run(batch: int, length: int) -> torch.Tensor:
        arrays = feeds(names, batch, length)
        states: torch.Tensor = model(**{name: torch.from_numpy(array) for name, array in arrays.items()})[OUTPUT]
        return states

    answer(run)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        _serve(*sys.argv[2:])
    else:
        main()
