"""Whether `bvx bench --compare` is quiet when nothing changed and speaks when something did (docs/guide/measure.md).

    python benchmarks/compare_noise.py [--reruns 10] [--rounds 30] [--shapes 1x16,1x128] [--fail-above 5%]
                                       [--json FILE] [--page docs/guide/measure.md]

A small BERT of ten layers is measured, then again RERUNS times, each in a new process, and once with twelve layers: a
fifth more work under the same name. Each is compared with the first. Ends with 1 where a rerun is accused, or the
fifth is not noticed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import onnx_ir as ir
import transformers
from files import OnnxFile, describe_conditions, measure_files
from pages import replace_measured, table

from bvx.exporter.bench.compare import Change, compare_documents, read_share
from bvx.exporter.bench.plan import read_shapes
from bvx.exporter.checkpoint import load_checkpoint
from bvx.exporter.pipeline import make_canonical
from bvx.exporter.plan import ExportPlan

_LAYERS, _SLOWER = 10, 12
_NAME = "ten layers"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reruns", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--shapes", type=read_shapes, default=((1, 16), (1, 128)), metavar="1x16,1x128")
    parser.add_argument("--fail-above", type=read_share, default=0.05)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", type=Path, help="write the result between its comments")
    asked = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        same = make_graph(_LAYERS, Path(folder) / "same")
        slow = make_graph(_SLOWER, Path(folder) / "slow")
        paths = [same] * (asked.reruns + 1) + [slow]
        documents = []
        for number, path in enumerate(paths):
            documents.append(measure_files({_NAME: OnnxFile(path)}, asked.shapes, asked.rounds, threads=1))
            print(f"{number + 1} of {len(paths)}", file=sys.stderr, flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(documents))
    return report(documents, asked.fail_above, asked.page)


def report(documents: list[dict[str, Any]], fail_above: float, page: Path | None) -> int:
    """Print every change, and write to `page` what they come to; 1 where a rerun is accused or the fifth unnoticed."""
    first, *others = documents
    found = [compare_documents(first, other, fail_above)[0] for other in others]
    names = [*(f"rerun {number}" for number in range(1, len(found))), "a fifth more work"]
    rows = [[name, *(show(change) for change in changes)] for name, changes in zip(names, found, strict=True)]
    shapes = [f"{change.batch}x{change.length}" for change in found[0]]
    print(describe_conditions(first), "", *table(["", *shapes], rows), "", summarise(found), sep="\n")
    if page:
        replace_measured(page, [describe_conditions(first), "", summarise(found)])
    accused = any(change.verdict == "slower" for changes in found[:-1] for change in changes)
    return int(accused or any(change.verdict != "slower" for change in found[-1]))


def summarise(found: list[list[Change]]) -> str:
    """What the reruns, and last what was planted, come to."""
    reruns, planted = [change for changes in found[:-1] for change in changes], found[-1]
    if any(change.verdict == "too noisy" for change in (*reruns, *planted)):
        return "The machine was too busy: `--compare` says of runs that it cannot tell, and accuses none of them."
    accused = sum(change.verdict == "slower" for change in reruns)
    noticed = sum(change.verdict == "slower" for change in planted)
    ratios = sorted(100 * (change.ratio - 1) for change in reruns)
    more = ", ".join(f"{100 * (change.ratio - 1):+.0f} %" for change in planted)
    return (
        f"Of the same build, {accused} of {len(reruns)} cells in {len(found) - 1} reruns are accused (their medians "
        f"lie {ratios[0]:+.1f} to {ratios[-1]:+.1f} % from the first's). A fifth more work is noticed in {noticed} of "
        f"{len(planted)} cells (medians {more})."
    )


def show(change: Change) -> str:
    span = f"{100 * (change.least - 1):+.0f} to {100 * (change.most - 1):+.0f} %"
    return f"{100 * (change.ratio - 1):+.1f} % ({span}), {change.verdict}"


def make_graph(layers: int, folder: Path) -> Path:
    """The canonical graph of a random BERT with so many layers."""
    config = transformers.BertConfig(
        vocab_size=1000,
        hidden_size=128,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=512,
        architectures=["BertModel"],
    )
    transformers.BertModel(config).save_pretrained(folder)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *map(str, range(config.vocab_size - 5))]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    plan = ExportPlan(str(folder), Path(os.devnull), task="feature-extraction")
    model, _ = make_canonical(load_checkpoint(plan))
    path = folder / "model.onnx"
    ir.save(model, path)
    return path


if __name__ == "__main__":
    sys.exit(main())
