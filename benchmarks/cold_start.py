"""What a fresh process takes from nothing to its first answer: processor time, the clock, memory, step by step.

    python benchmarks/cold_start.py BUNDLE [--precision int8] [--engine auto] [--processes 15]

Processor time is user and system time of the whole process, Python's own start included, so that other work on the
machine counts little; the clock says something on a quiet machine only.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

__all__: list[str] = []

_FRESH = """
import json, resource, sys, time
began, steps = time.time(), {}

def mark(step):
    used = resource.getrusage(resource.RUSAGE_SELF)
    steps[step] = (used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)

mark("Python")
import numpy
mark("import numpy")
if sys.argv[3] == "openvino":
    import openvino
else:
    import onnxruntime
import tokenizers
mark("import of the engine and tokenizers")
import bvx
import bvx.runtime.loading
import bvx.runtime.heads.similarity
mark("import bvx")
model = bvx.load(sys.argv[1], precision=sys.argv[2], engine=sys.argv[3], threads=1)
mark("bvx.load")
model("A text that nobody has asked about before.")
mark("first answer")
print(json.dumps({"steps": steps, "clock": time.time() - began}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--engine", default="onnxruntime")
    parser.add_argument("--processes", type=int, default=15)
    asked = parser.parse_args()
    command = [sys.executable, "-c", _FRESH, str(asked.bundle), asked.precision, asked.engine]
    runs = [json.loads(subprocess.check_output(command, text=True)) for _ in range(asked.processes + 1)][1:]
    print(f"{asked.precision} on {asked.engine}, medians of {asked.processes} fresh processes (lowest in brackets)\n")
    print("| step | processor time, ms | memory so far, MB |\n|---|---|---|")
    before = [0.0] * len(runs)
    for step in runs[0]["steps"]:
        ends = [run["steps"][step][0] for run in runs]
        taken = [(end - start) * 1e3 for end, start in zip(ends, before, strict=True)]
        memory = statistics.median(run["steps"][step][1] for run in runs)
        print(f"| {step} | {statistics.median(taken):.0f} ({min(taken):.0f}) | {memory:.0f} |")
        before = ends
    clock = [run["clock"] for run in runs]
    print(f"| all | {statistics.median(before) * 1e3:.0f} ({min(before) * 1e3:.0f}) | {memory:.0f} |")
    print(f"\nBy the clock, without Python's start: {statistics.median(clock):.2f} s ({min(clock):.2f}).")


if __name__ == "__main__":
    main()
