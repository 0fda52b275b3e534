"""Sentences of mixed length: what cutting batches by length saves, beside padding each batch to its longest text.

    python benchmarks/traffic.py BUNDLE TEXTS [--count 512] [--batch 64] [--precision int8] [--threads 1]

TEXTS has a paragraph a line, as WikiText has; it is cut into sentences. Times are the process's own processor time, so
that other work on the machine does not count, medians of runs in turns; that all give the same answers is checked.
"""

from __future__ import annotations

import argparse
import random
import re
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

import bvx
from bvx.runtime import encoder

__all__ = ["read_sentences"]


WAYS = ("padded to the longest", "a call for each batch", "one call for all")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--count", type=int, default=512)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    sentences, size = read_sentences(asked.texts.read_text(encoding="utf-8"), asked.count), asked.batch
    with bvx.load(asked.bundle, precision=asked.precision, engine=asked.engine, threads=asked.threads) as model:
        batches = [sentences[start : start + size] for start in range(0, len(sentences), size)]
        taken: dict[str, list[float]] = {name: [] for name in (*WAYS, "tokenised")}
        answers = {}
        model(sentences[:2], truncate=True)
        for _ in range(asked.rounds):
            for name in WAYS:
                began = time.process_time()
                answers[name] = np.stack(answer(model, name, sentences if name == WAYS[2] else batches, size))
                taken[name].append(time.process_time() - began)
            began = time.process_time()
            arrays = [model.tokenize(batch, truncate=True) for batch in batches]
            taken["tokenised"].append(time.process_time() - began)
        padded = sum(one["input_ids"].size for one in arrays)
        tokens = sum(int(one["attention_mask"].sum()) for one in arrays)
        print(f"{len(sentences)} sentences in batches of {size}, {model.engine.name} {model.variant.key},")
        print(f"{asked.threads} thread(s); {tokens} tokens, padded {padded} ({padded / tokens:.2f} times)\n")
    seconds = {name: statistics.median(times) for name, times in taken.items()}
    print("| | texts/s | times as many | tokenising |\n|---|---|---|---|")
    for name in WAYS:
        apart = np.abs(answers[name] - answers[WAYS[0]]).max()
        assert apart < 1e-3, f"{name}: answers are {apart} apart"
        rate, share = len(sentences) / seconds[name], seconds["tokenised"] / seconds[name]
        print(f"| {name} | {rate:.0f} | {seconds[WAYS[0]] / seconds[name]:.2f} | {share:.1%} |")


def answer(model: Any, way: str, batches: Any, size: int) -> list[Any]:
    """The answers to all sentences."""
    if way == WAYS[2]:
        found: list[Any] = model(batches, truncate=True, batch_size=size)
        return found
    own, encoder._RUN_COST = encoder._RUN_COST, 10**9 if way == WAYS[0] else encoder._RUN_COST
    try:
        return [one for batch in batches for one in model(batch, truncate=True, batch_size=size)]
    finally:
        encoder._RUN_COST = own


def read_sentences(text: str, count: int) -> list[str]:
    """`count` sentences of `text`, drawn without replacement by a fixed seed; headings are left out."""
    paragraphs = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("=")]
    sentences = [one for paragraph in paragraphs for one in re.split(r"(?<= [.!?]) ", paragraph) if len(one) > 5]
    return random.Random(0).sample(sentences, min(count, len(sentences)))


if __name__ == "__main__":
    main()
