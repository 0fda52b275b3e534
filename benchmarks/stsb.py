"""How well a bundle's similarities rank sentence pairs: Spearman's correlation with people's scores on STS-B.

    python benchmarks/stsb.py BUNDLE CSV [--precision fp32] [--threads N]

BUNDLE's task is sentence-similarity; a row of CSV is a sentence, another, and a score; a line with the
names of the columns may stand above them.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

import bvx

__all__ = ["rank_agreement", "spearman"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("csv", type=Path)
    parser.add_argument("--precision")
    parser.add_argument("--threads", type=int)
    asked = parser.parse_args()
    with bvx.load(asked.bundle, precision=asked.precision, threads=asked.threads) as model:
        found, pairs = rank_agreement(model, asked.csv)
        print(f"{asked.bundle}, {model.variant.key}: Spearman {found:.4f} on the {pairs} pairs of {asked.csv}")


def rank_agreement(model: bvx.Encoder, path: Path) -> tuple[float, int]:
    """Spearman's correlation of the model's cosines with the scores of the file, and the number of pairs."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    if rows[0] == ["sentence1", "sentence2", "score"]:
        del rows[0]
    first, second = (np.stack(model([row[side] for row in rows])) for side in (0, 1))
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosines = (first * second).sum(axis=1) / lengths
    return spearman(cosines, [float(row[2]) for row in rows]), len(rows)


def spearman(a: ArrayLike, b: ArrayLike) -> float:
    """Pearson's correlation of the ranks of `a` and `b` [n]; equal values share the mean of their ranks."""
    return float(np.corrcoef(_ranks(np.asarray(a)), _ranks(np.asarray(b)))[0, 1])


def _ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum()
    ranks: NDArray[np.float64] = (last - (counts - 1) / 2)[place]
    return ranks


if __name__ == "__main__":
    main()
