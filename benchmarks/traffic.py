"""Sentences of mixed length: what sorting them by length inside the model saves, beside padding batches as they come.

    python benchmarks/traffic.py BUNDLE TEXTS [--count 512] [--batch 64] [--engine auto] [--threads 1]

TEXTS has a paragraph a line, as WikiText has; it is cut into sentences. Times are the process's own processor time, so
that other work on the machine does not count; that both give the same answers is checked.
"""

from __future__ import annotations

import argparse
import random
import re
import time
from pathlib import Path

import numpy as np

import bvx

__all__ = ["read_sentences"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--count", type=int, default=512)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    sentences = read_sentences(asked.texts.read_text(encoding="utf-8"), asked.count)
    with bvx.load(asked.bundle, engine=asked.engine, threads=asked.threads) as model:
        size, taken, answers = asked.batch, {}, {}
        batches = [sentences[start : start + size] for start in range(0, len(sentences), size)]
        for name in ("as they come", "sorted inside"):
            model(sentences[:2], truncate=True)
            began = time.process_time()
            if name == "as they come":
                found = [one for batch in batches for one in model(batch, truncate=True, batch_size=size)]
            else:
                found = model(sentences, truncate=True, batch_size=size)
            taken[name], answers[name] = time.process_time() - began, np.stack(found)
        apart = np.abs(answers["as they come"] - answers["sorted inside"]).max()
        padded = sum(model.tokenize(batch, truncate=True)["input_ids"].size for batch in batches)
        tokens = sum(int(model.tokenize(batch, truncate=True)["attention_mask"].sum()) for batch in batches)
        print(f"{len(sentences)} sentences, batches of {size}, {model.engine.name} {model.variant.key}")
        print(f"{tokens} tokens; padded as they come: {padded} ({padded / tokens:.2f} times)")
        for name, seconds in taken.items():
            print(f"{name}: {seconds:.2f} s of processor time, {len(sentences) / seconds:.0f} texts/s")
        print(f"{taken['as they come'] / taken['sorted inside']:.2f} times as many; answers at most {apart:.1e} apart")


def read_sentences(text: str, count: int) -> list[str]:
    """`count` sentences of `text`, drawn without replacement by a fixed seed; headings are left out."""
    paragraphs = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("=")]
    sentences = [one for paragraph in paragraphs for one in re.split(r"(?<= [.!?]) ", paragraph) if len(one) > 5]
    return random.Random(0).sample(sentences, min(count, len(sentences)))


if __name__ == "__main__":
    main()
