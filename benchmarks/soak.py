"""Whether memory stays flat: many requests of random lengths, tokenised and answered in one process.

    python benchmarks/soak.py BUNDLE [--requests 100000] [--precision int8] [--engine auto] [--json soak.json]

A request is one text of 1 to `--longest` words, short ones more often (uniform in the logarithm); every hundredth is
eight texts of that length at once. Resident memory is read from /proc after each hundredth of all requests.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import bvx

__all__ = ["ask", "growth"]

SENTENCE = "the engine of a good model answers any question about long or short texts at the same price as before"
SAMPLES = 100


def ask(count: int, longest: int, seed: int = 0) -> Iterator[list[str]]:
    """The texts of each of `count` requests."""
    draw, words = random.Random(seed), SENTENCE.split()
    for number in range(count):
        length = round(math.exp(draw.uniform(0, math.log(longest))))
        yield [" ".join(draw.choices(words, k=length)) for _ in range(8 if number % 100 == 99 else 1)]


def growth(sizes: list[float]) -> float:
    """By how much the last fifth of `sizes` is above the second fifth (the first one is warming up): of medians."""
    part = max(1, len(sizes) // 5)
    return statistics.median(sizes[-part:]) - statistics.median(sizes[part : 2 * part])


def resident() -> float:
    """Memory of this process that is in RAM, in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--longest", type=int, default=128)
    parser.add_argument("--precision")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    every, curve = max(1, asked.requests // SAMPLES), []
    with bvx.load(asked.bundle, precision=asked.precision, engine=asked.engine, threads=asked.threads) as model:
        began = time.process_time()
        curve.append({"requests": 0, "resident_mb": round(resident(), 1)})
        for number, texts in enumerate(ask(asked.requests, asked.longest), 1):
            model(texts, truncate=True)
            if number % every == 0:
                curve.append({"requests": number, "resident_mb": round(resident(), 1)})
        taken, engine = time.process_time() - began, f"{model.engine.name} {model.engine.version}"
        key = model.variant.key
    sizes = [point["resident_mb"] for point in curve]
    report = {
        "engine": engine,
        "variant": key,
        "requests": asked.requests,
        "longest_words": asked.longest,
        "processor_seconds": round(taken, 1),
        "growth_mb": round(growth(sizes), 2),
        "curve": curve,
    }
    if asked.json:
        asked.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"{engine}, {key}: {asked.requests:,} requests in {taken:.0f} s of processor time")
    print(f"{sizes[0]:.1f} MB after loading, {min(sizes[1:]):.1f} to {max(sizes):.1f} MB after requests, at the end")
    print(f"{sizes[-1]:.1f}; the last fifth is {report['growth_mb']:+} MB above the second.\n")
    print("| requests | resident MB |\n|---|---|")
    for point in [curve[0], curve[1], *curve[10::10]]:
        print(f"| {point['requests']:,} | {point['resident_mb']} |")


if __name__ == "__main__":
    main()
