"""What a calibration takes: peak memory and time over the number of texts, each run in a process of its own.

    python benchmarks/calibration_memory.py BUNDLE TEXTS [--samples 32,256,4096] [--observer mse] [--threads N]

BUNDLE's canonical graph is calibrated on TEXTS, which are what `--calibrate` takes. Peak memory is the process's
largest resident set, Python and all libraries included; it should not grow with the number of texts.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

from bvx.calibration.collect import OBSERVER, collect
from bvx.calibration.corpus import read_sample
from bvx.runtime.bundle import Bundle
from bvx.runtime.machine import describe
from bvx.runtime.tokenizer import Tokenizer

__all__ = ["measure"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("texts")
    parser.add_argument("--samples", default="32,256,4096")
    parser.add_argument("--observer", default=OBSERVER)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        print(json.dumps(measure(asked.bundle, asked.texts, int(asked.samples), asked.observer, asked.threads)))
        return
    conditions = f"{describe()['cpu']}, {asked.threads} thread(s)"
    print(f"{asked.bundle.name}, {asked.texts}, observer {asked.observer}; {conditions}\n")
    print("| texts | tokens | peak MB | seconds | CPU seconds |\n|---|---|---|---|---|")
    for samples in asked.samples.split(","):
        options = ["--samples", samples, "--observer", asked.observer, "--threads", str(asked.threads), "--worker"]
        command = [sys.executable, __file__, str(asked.bundle), asked.texts, *options]
        found = json.loads(subprocess.check_output(command, text=True))
        print("| {samples} | {tokens} | {peak:.0f} | {seconds:.1f} | {cpu:.1f} |".format(**found), flush=True)


def measure(path: Path, texts: str, samples: int, observer: str, threads: int) -> dict[str, float]:
    """Calibrate in this process: texts and tokens read, peak memory in MB, seconds that passed and that cores spent."""
    bundle = Bundle.open(path, check_hashes=False)
    info = bundle.manifest.tokenizer
    assert info is not None
    began, spent = time.perf_counter(), time.process_time()
    sample = read_sample(texts, samples=samples)
    tokenizer = Tokenizer(bundle.path("tokenizer.json"), bundle.manifest.max_length, threads)
    graph = bundle.path("onnx/model.onnx")
    ranges = collect(graph, sample, tokenizer, info, observer=observer, threads=threads)
    return {
        "samples": ranges.corpus.samples,
        "tokens": ranges.corpus.tokens,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - spent,
    }


if __name__ == "__main__":
    main()
