"""Show that other tools open a bundle and give bvx's embeddings, or its scores.

    python interop/compare.py BUNDLE --peers PYTHON [--node NODE]

The bundle's task is sentence-similarity, with mean pooling, or text-ranking. PYTHON is the interpreter of the
environment that `make peers` makes. Ends with 1 when a tool cannot open the bundle, or when any number differs by more
than 1e-4.

Each tool is a program that reads {"texts": […], "normalize": true}, or {"query": …, "texts": […]}, and whose last line
is {"tool": …, "answers": [[…], …]}: a row for each text.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import bvx

HERE = Path(__file__).resolve().parent
ALLOWED = 1e-4

QUERY = "When does the train to Zürich leave?"
TEXTS = (
    "How do I reset my password?",
    "The train to Zürich leaves at half past nine.",
    "",
    "Hi",
    "naïve café — déjà vu, Straße, ﬁne",
    "今天天气很好。 明日は雨が降るでしょう。",
    "I 💛 emoji 👩‍👩‍👧 and\ttabs\u00a0too",
    "antidisestablishmentarianism " * 12,
    "'Tis 3.14159% of $1,000,000 (or so), isn't it?",
    "A sentence that goes on and on, with a comma here and another one there, " * 10,
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--peers", required=True, help="the peers' interpreter")
    parser.add_argument("--node", default="node")
    asked = parser.parse_args()
    with bvx.load(asked.bundle, threads=1) as model:
        request, expected = _rank(model) if isinstance(model, bvx.Reranker) else _embed(model)
        print(f"{asked.bundle}: {len(TEXTS)} texts, compared with bvx {bvx.__version__} on {_engine(model)}\n")
    commands: list[list[str | Path]] = [
        [asked.peers, HERE / "optimum_embed.py"],
        [asked.peers, HERE / "sentence_transformers_embed.py"],
        [asked.node, HERE / "transformers_js.mjs"],
    ]
    if "query" in request:
        commands = [[asked.peers, HERE / "sentence_transformers_rank.py"]]
    print("| opened by | max abs difference | least cosine | |\n|---|---|---|---|")
    passed = [_compare([*command, asked.bundle], json.dumps(request), expected) for command in commands]
    return 0 if all(passed) else 1


def _rank(model: bvx.Reranker) -> tuple[dict[str, object], NDArray[np.float32]]:
    """The request, and the scores [texts, 1] of the texts for the query, cut as sentence-transformers cuts them."""
    scores = model([QUERY] * len(TEXTS), TEXTS, truncate=True)
    return {"query": QUERY, "texts": TEXTS}, np.array(scores, np.float32)[:, None]


def _embed(model: bvx.Encoder) -> tuple[dict[str, object], NDArray[np.float32]]:
    """The request, and the embeddings [texts, dim]."""
    return {"texts": TEXTS, "normalize": model.manifest.head["normalize"]}, np.stack(model(TEXTS))


def _engine(model: bvx.Encoder) -> str:
    return f"{model.engine.name} {model.engine.version}"


def _compare(command: Sequence[str | Path], request: str, expected: NDArray[np.float32]) -> bool:
    """Print a tool's row of the table; whether it gave the rows that were expected."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, input=request, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        print(f"| {Path(command[1]).name} | | | failed |", flush=True)
        print(done.stderr[-4000:], file=sys.stderr)
        return False
    answer = json.loads(done.stdout.splitlines()[-1])
    found = np.array(answer["answers"], np.float32)
    if found.shape != expected.shape:
        print(f"| {answer['tool']} | | | shape {found.shape}, wanted {expected.shape} |", flush=True)
        return False
    difference = float(np.abs(found - expected).max())
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    cosine = float(((found * expected).sum(1) / lengths).min())
    equal = difference <= ALLOWED  # false for NaN
    print(f"| {answer['tool']} | {difference:.1e} | {cosine:.7f} | {'equal' if equal else 'differs'} |", flush=True)
    return equal


if __name__ == "__main__":
    sys.exit(main())
