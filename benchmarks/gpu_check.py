"""What a machine with an NVIDIA GPU says of bvx: builds, parity, audit and latency of every family (docs/tensorrt.md).

    python benchmarks/gpu_check.py [--models albert-base-v2 …] [--precisions fp16 bf16 int8] [--engines tensorrt …]
                                   [--shapes 1x16 …] [--runs 100] [--out reports]

It works with whatever is installed, and says of everything else that it was not run, and why. Models have random
weights at their full size: neither speed nor parity with PyTorch depends on them. Latencies are wall time of
`model.run` with NumPy arrays in and out, copies included, medians of --runs; beside them PyTorch in fp16 with SDPA,
eager and compiled, with its inputs on the GPU already. Beside wall time stands the GPU's own, by CUDA events, copies
included, each with CUDA graphs and without. Writes gpu-check.json and gpu-check.md into --out.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import bvx
from bvx.exporter.doctor import examine
from bvx.exporter.engines import BuildRequest, build_engines
from bvx.exporter.pipeline import export
from bvx.exporter.plan import ExportPlan
from bvx.runtime.engines.cuda import open_cuda
from bvx.runtime.errors import BvxError

MODELS = ("albert-base-v2", "bert-base-uncased", "electra-small-discriminator", "roberta-base", "spanbert-base-cased")
ENGINES = ("tensorrt", "tensorrt-rtx", "onnxruntime-cuda")
BUILT = ("tensorrt", "tensorrt-rtx")
CUDA = ("fp32", "fp16")
SHAPES = ("1x16", "1x128", "8x128", "32x128", "32x384")
TASK = "feature-extraction"
PROFILE = "1x1:8x128:32x384"

Row = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--precisions", nargs="+", default=("fp16", "bf16", "int8"))
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES)
    parser.add_argument("--shapes", nargs="+", default=SHAPES, metavar="BATCHxLENGTH")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("reports"))
    asked = parser.parse_args()
    report: dict[str, Any] = {"machine": examine(), "gpu": None, "rows": [], "not_run": []}
    try:
        report["gpu"] = vars(open_cuda().find_gpu())
    except BvxError as error:
        report["not_run"].append({"what": "everything that runs on a GPU", "why": str(error)})
    with tempfile.TemporaryDirectory() as folder:
        for model in asked.models:
            check_model(model, Path(folder) / model, asked, report)
    write(report, asked.out)
    return 0 if report["gpu"] and any(row.get("parity") for row in report["rows"]) else 1


def check_model(model: str, folder: Path, asked: argparse.Namespace, report: dict[str, Any]) -> None:
    """Add every row of one model to `report`: PyTorch's, then each precision's on each engine."""
    shapes = [tuple(map(int, shape.split("x"))) for shape in asked.shapes]
    if report["gpu"]:
        attempt(report, f"PyTorch of {model}", lambda: report["rows"].extend(time_torch(model, shapes, asked.runs)))
    for precision in asked.precisions:
        bundle = folder.with_name(f"{model}-{precision}.bvx")

        targets = ("cuda", "tensorrt") if precision in CUDA else ("tensorrt",)

        def make(precision: str = precision, bundle: Path = bundle, targets: tuple[str, ...] = targets) -> None:
            plan = ExportPlan(model, bundle, TASK, precisions=(precision,), targets=targets, random_weights=True)
            export(plan)

        if not attempt(report, f"{model} in {precision}", make):
            continue
        for engine in asked.engines:
            row: Row = {"model": model, "precision": precision, "engine": engine}
            name = f"{model} in {precision} on {engine}"
            if engine not in BUILT and precision not in CUDA:
                continue
            make_plan = lambda: row.update(build(bundle, engine, precision))  # noqa: B023, E731
            if engine in BUILT and not attempt(report, f"building {name}", make_plan):
                continue
            report["rows"].append(row)
            if report["gpu"]:
                attempt(report, f"running {name}", lambda: row.update(run(bundle, engine, shapes, asked.runs)))  # noqa: B023


def attempt(report: dict[str, Any], what: str, work: Callable[[], object]) -> bool:
    """Do `work`; where that fails, put down why, and go on with the rest."""
    print(what, "…", file=sys.stderr, flush=True)
    try:
        work()
    except Exception as error:  # noqa: BLE001  a report of what fails is what this is for
        report["not_run"].append({"what": what, "why": " ".join(str(error).split())[:500]})
        return False
    return True


def build(bundle: Path, engine: str, precision: str) -> Row:
    document = build_engines(BuildRequest(str(bundle), engine, precision, profiles=(PROFILE,)))
    built = document["engines"][0]
    audit = {key: value for key, value in built["audit"].items() if key != "layers"}
    return {
        "version": built["version"],
        "plan_bytes": built["bytes"],
        "build_seconds": built["seconds"],
        "audit": audit,
    }


def run(bundle: Path, engine: str, shapes: Sequence[tuple[int, ...]], runs: int) -> Row:
    """Parity with what PyTorch said at export, and latencies with CUDA graphs and without: wall time, and the GPU's."""
    with bvx.load(bundle, engine=engine) as model:
        report = model.verify()
        found: Row = {"version": model.engine.version, "parity": bool(report), "summary": report.summary()}
        found |= {key: {} for key in ("ms", "ms_without_graphs", "gpu_ms", "gpu_ms_without_graphs")}
        for batch, length in shapes:
            feeds = {spec.name: np.ones((batch, length), np.int64) for spec in model.manifest.inputs}
            for key, graphs in (("ms", True), ("ms_without_graphs", False)):
                model.engine.cuda_graphs = graphs  # type: ignore[attr-defined]
                shape = f"{batch}x{length}"
                found[key][shape] = median_ms(lambda: model.run(**feeds), runs)  # noqa: B023
                times = [model.engine.time_run(feeds) for _ in range(runs)]  # type: ignore[attr-defined]
                found[f"gpu_{key}"][shape] = round(statistics.median(times), 4)
    return found


def time_torch(model: str, shapes: Sequence[tuple[int, ...]], runs: int) -> list[Row]:
    """fp16 with SDPA, eager and compiled, on the GPU."""
    import torch

    from bvx.exporter.checkpoint import load_checkpoint

    if not torch.cuda.is_available():
        raise RuntimeError("this PyTorch has no CUDA")
    checkpoint = load_checkpoint(ExportPlan(model, Path(), TASK, random_weights=True))
    module = checkpoint.model.half().cuda().eval()
    rows = []
    for name, call in (("torch", module), ("torch.compile", torch.compile(module, mode="max-autotune"))):
        row: Row = {"model": model, "precision": "fp16", "engine": name, "version": torch.__version__, "ms": {}}
        for batch, length in shapes:
            ones = torch.ones((batch, length), dtype=torch.int64, device="cuda")
            feeds = dict.fromkeys(checkpoint.family.inputs, ones)

            def once(call: Any = call, feeds: Any = feeds) -> None:
                with torch.inference_mode():
                    call(**feeds)
                torch.cuda.synchronize()

            row["ms"][f"{batch}x{length}"] = median_ms(once, runs)
        rows.append(row)
    return rows


def median_ms(work: Callable[[], object], runs: int) -> float:
    for _ in range(10):
        work()
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - began))
    return round(statistics.median(times), 4)


def write(report: dict[str, Any], out: Path) -> None:
    """The report as JSON, and as a table to read."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "gpu-check.json").write_text(json.dumps(report, indent=1, default=str) + "\n")
    shapes = list(dict.fromkeys(shape for row in report["rows"] for shape in row.get("ms", ())))
    head = ["model", "precision", "engine", "parity", "fused", "plan MB", *(f"{shape} ms (GPU)" for shape in shapes)]
    lines = [f"GPU: {report['gpu'] or 'none'}", "", f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for row in report["rows"]:
        audit = row.get("audit", {})
        cells = [row["model"], row["precision"], f"{row['engine']} {row.get('version', '')}".strip()]
        cells += ["" if "parity" not in row else "holds" if row["parity"] else "FAILS"]
        cells += [f"{audit['attentions_fused']}/{audit['attentions']}" if audit else ""]
        cells += [f"{row['plan_bytes'] / 1e6:.1f}" if "plan_bytes" in row else ""]
        for shape in shapes:
            gpu = row.get("gpu_ms", {}).get(shape)
            cells.append(f"{row.get('ms', {}).get(shape, '')}{'' if gpu is None else f' ({gpu})'}")
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Not run:", "", *(f"- {one['what']}: {one['why']}" for one in report["not_run"] or [])]
    (out / "gpu-check.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
