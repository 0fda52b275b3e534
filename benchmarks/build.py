"""What NVIDIA's builder takes and what it makes: seconds, peak memory, the plan's size and kernels (docs/tensorrt.md).

    python benchmarks/build.py [--models MODEL …] [--precisions fp16 int8 …] [--profile 1x1:8x128:32x512] [--gpu sm_89]
                               [--page docs/tensorrt.md]

Each plan is built by TensorRT-RTX in a process of its own, whose largest resident set is the peak memory, Python
included. MODEL is a folder or the name of an architecture, which gets random weights. Every linear layer is int8 or
fp8 where the label says so, with made-up scales: neither time nor size depends on them. Writes tensorrt-builds.json
beside the page, and the page's measured part. What is built again replaces its row; others stay.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir
from pages import replace_measured, table

from bvx.calibration.plain import plain_recipe
from bvx.calibration.ranges import Corpus, Ranges
from bvx.calibration.recipe import Recipe
from bvx.exporter.checkpoint import load_checkpoint
from bvx.exporter.pipeline import make_canonical
from bvx.exporter.plan import ExportPlan
from bvx.exporter.storage import save_graph, stored_bytes
from bvx.exporter.targets import find_lowering
from bvx.exporter.tensorrt import BuildOptions, build_plan
from bvx.runtime.machine import describe

__all__ = ["lay_out"]

TASK = "feature-extraction"
PROFILE = "1x1:8x128:32x512"
PRECISIONS = ("fp32", "fp16", "bf16", "int8", "int8 attention", "fp8")
ATTENTION = " attention"
"""What follows the precision where the products inside attention are of that type too."""

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["roberta-base"])
    parser.add_argument("--precisions", nargs="+", default=PRECISIONS)
    parser.add_argument("--profile", default=PROFILE)
    parser.add_argument("--gpu", default="sm_89")
    parser.add_argument("--page", type=Path, default=Path("docs/tensorrt.md"))
    parser.add_argument("--worker", nargs=2, metavar=("ONNX", "PRECISION"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        print(json.dumps(build(Path(asked.worker[0]), asked.worker[1], asked.profile, asked.gpu)))
        return
    store = asked.page.with_name("tensorrt-builds.json")
    for model in asked.models:
        with tempfile.TemporaryDirectory() as folder:
            for row in measure(model, Path(folder), asked):
                print(json.dumps(row), flush=True)
                rows = merge(json.loads(store.read_text())["rows"] if store.exists() else [], row)
                store.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
                replace_measured(asked.page, lay_out(rows))


def measure(model: str, folder: Path, asked: argparse.Namespace) -> Iterator[Row]:
    """A row for each precision; one that is not built says why."""
    local = Path(model).is_dir()
    plan = ExportPlan(model, folder, TASK, random_weights=not local)
    checkpoint = load_checkpoint(plan)
    canonical, _ = make_canonical(checkpoint)
    name = "all-MiniLM-L6-v2" if local and "minilm" in model.lower() else Path(model).name
    del checkpoint
    for precision in asked.precisions:
        path = folder / "graph.onnx"
        size = write(canonical, precision, path)
        row = {"model": name, "precision": precision, "profile": asked.profile, "gpu": asked.gpu, "bytes": size}
        options = ["--profile", asked.profile, "--gpu", asked.gpu]
        command = [sys.executable, __file__, *options, "--worker", str(path), precision.removesuffix(ATTENTION)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            yield {**row, "failed": " ".join(done.stderr.split())[-400:]}
        else:
            yield {**row, **json.loads(done.stdout.splitlines()[-1])}


def write(canonical: ir.Model, precision: str, path: Path) -> int:
    """The graph of `canonical` that an export writes for TensorRT; the bytes of its weights."""
    lowering = find_lowering("tensorrt", precision.removesuffix(ATTENTION))
    if lowering is None or lowering.rewrite is None:
        sys.exit(f"There is no {precision} for tensorrt.")
    graph = canonical.clone()
    lowering.rewrite(graph, make_recipe(graph, precision.endswith(ATTENTION)))
    save_graph(graph, path)
    return stored_bytes(graph)


def make_recipe(graph: ir.Model, attention: bool) -> Recipe:
    names = [str(value.name) for node in graph.graph for value in node.outputs if value.dtype == ir.DataType.FLOAT]
    ranges = Ranges(
        "minmax", Corpus("none", 0, 0, 0, 0, ""), dict.fromkeys(names, (-4.0, 4.0)), dict.fromkeys(names, 4.0)
    )
    return plain_recipe(graph.graph, ranges, attention=attention, embeddings=False)


def build(path: Path, precision: str, profile: str, gpu: str) -> Row:
    """Build in this process."""
    from bvx.exporter.request import read_profile

    before = peak_bytes()
    spent = time.process_time()
    plan = build_plan(path, precision, BuildOptions("tensorrt-rtx", (read_profile(profile),), gpus=(gpu,)))
    audit = {key: value for key, value in plan.audit.to_dict().items() if key != "layers"}
    return {
        "version": plan.version,
        "cpu": describe()["cpu"],
        "seconds": round(plan.seconds, 1),
        "processor_seconds": round(time.process_time() - spent, 1),
        "peak_bytes": peak_bytes(),
        "bytes_before": before,
        "plan_bytes": len(plan.data),
        "audit": audit,
    }


def peak_bytes() -> int:
    """The largest resident set so far. Not getrusage's: that begins with what the parent had when it forked."""
    line = next(one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])


def merge(rows: Sequence[Row], new: Row) -> list[Row]:
    """`rows` with `new` in the place of what it replaces, or at the end."""
    key = [new[name] for name in ("model", "precision", "profile", "gpu")]
    kept = [new if [row[name] for name in ("model", "precision", "profile", "gpu")] == key else row for row in rows]
    return kept if new in kept else [*kept, new]


def lay_out(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The page's lines: a table of all that was built, with its conditions in front."""
    built = [row for row in rows if "failed" not in row]
    versions = ", ".join(sorted({f"TensorRT-RTX {row['version']}" for row in built}))
    cpus = ", ".join(sorted({str(row["cpu"]) for row in built}))
    profiles = ", ".join(sorted({f"{row['profile']} for {row['gpu']}" for row in built}))
    yield f"{versions} on {cpus}, {profiles}. Processor seconds, since the clock depends on what else a machine does."
    yield ""
    header = ("model", "precision", "weights MB", "plan MB", "kernels", "a layer", "attention", "Q, K, V merged",
              "linear layers", "processor s", "peak MB")  # fmt: skip
    yield from table(header, ([row["model"], row["precision"], *_cells(row)] for row in built))
    for row in rows:
        if "failed" in row:
            yield from ("", f"Not built: {row['model']} in {row['precision']}: {row['failed']}")


def _cells(row: Mapping[str, Any]) -> list[str]:
    audit = row["audit"]
    return [
        f"{row['bytes'] / 1e6:.1f}",
        f"{row['plan_bytes'] / 1e6:.1f}",
        str(audit["kernels"]),
        f"{audit['kernels_per_layer']:g}" if audit["attentions_fused"] else "",
        f"{audit['attentions_fused']} of {audit['attentions']}",
        str(audit["qkv_merged"]),
        ", ".join(f"{count} {kind}" for kind, count in audit["gemms"].items()),
        f"{row['processor_seconds']:.0f}",
        f"{row['peak_bytes'] / 1e6:.0f}" if row["peak_bytes"] else "",
    ]


if __name__ == "__main__":
    main()
