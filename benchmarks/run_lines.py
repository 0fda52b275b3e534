"""`bvx run --jsonl` beside transformers' pipeline on the same lines: throughput, and memory over many lines.

    python benchmarks/run_lines.py [--lines 100000] [--slice 2000] [--rounds 3] [--threads 1] [--models tiny minilm]

Both answer text-classification with the same random weights, as speed does not depend on them, and must say the same.
A slice of the lines is answered by each in turns; all of them by bvx alone, whose memory is looked at as they go by.

Every run is a process of its own that reads a file and writes JSON Lines, and is watched from outside (one_run.py).
Its rate is that of the lines after its first window: what a tool holds before it says anything. docs/benchmarks.md
shows what came of it.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import transformers
from one_run import Run, run_to_end

import bvx
from bvx.calibration.texts import builtin_texts
from bvx.exporter.checkpoint import load_checkpoint
from bvx.exporter.pipeline import export
from bvx.exporter.plan import ExportPlan
from bvx.runtime.machine import describe

TASK = "text-classification"
MODELS = {"tiny": (2, 128, 2), "minilm": (6, 384, 12)}
"""Layers, hidden size and heads; the first that is asked for answers all lines."""
BATCH = 32
ALLOWED = 1e-4
MOST_WORDS = 300

Answer = Mapping[str, float]


@dataclass(frozen=True)
class Tool:
    """What it is called with, but for the file, and how many lines it answers before it writes the first."""

    command: Sequence[str | Path]
    window: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--slice", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    asked = parser.parse_args()
    if not 8 * BATCH < asked.slice <= asked.lines:
        parser.error(f"--slice is {asked.slice}; it is more than {8 * BATCH}, the first window, and at most --lines.")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        texts = make_texts(asked.lines)
        part, every = (_write(folder / f"{count}.jsonl", texts[:count]) for count in (asked.slice, asked.lines))
        print(_conditions(asked, texts), flush=True)
        for number, name in enumerate(asked.models):
            tools = _make(MODELS[name], folder / name, asked.threads)
            measured = _take_turns(tools, part, asked.threads, asked.rounds)
            print(_table(MODELS[name], tools, measured), flush=True)
            if number == 0:
                ours = tools["bvx run"]
                print(_memory_table(run_to_end([*ours.command, every], asked.threads), ours.window), flush=True)


def make_texts(count: int) -> list[str]:
    """Texts of 1 to 300 words, half of them below 15, always the same: words of bvx's own texts, in any order."""
    generator = np.random.default_rng(0)
    words = np.array(" ".join(builtin_texts()).split())
    lengths = np.clip(np.exp(generator.normal(np.log(15), 0.9, count)), 1, MOST_WORDS).astype(int)
    return [" ".join(generator.choice(words, length)) for length in lengths]


def _write(path: Path, texts: Sequence[str]) -> Path:
    lines = (json.dumps({"id": number, "text": text}) for number, text in enumerate(texts))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _make(shape: tuple[int, int, int], folder: Path, threads: int) -> dict[str, Tool]:
    """The tools, with the same weights and vocabulary."""
    layers, hidden, heads = shape
    config = {
        "model_type": "bert",
        "vocab_size": 30522,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * hidden,
        "max_position_embeddings": 512,
    }
    plain, checkpoint, bundle = (folder / name for name in ("config", "checkpoint", "model.bvx"))
    plain.mkdir(parents=True)
    (plain / "config.json").write_text(json.dumps(config), encoding="utf-8")
    plan = ExportPlan(str(plain), bundle, task=TASK, family="bert", random_weights=True)
    export(plan)
    loaded = load_checkpoint(plan)
    loaded.model.save_pretrained(checkpoint)  # type: ignore[operator]
    assert loaded.tokenizer is not None
    for name, content in loaded.tokenizer.files.items():
        (checkpoint / name).write_bytes(content)
    program = Path(sys.executable).with_name("bvx")
    options = ("--batch-size", str(BATCH), "--threads", str(threads))
    theirs = [sys.executable, __file__, "--serve", checkpoint, str(threads)]
    return {
        # It sorts eight batches by length (exporter/prediction/lines.py).
        "bvx run": Tool([program, "run", bundle, "--jsonl", *options, "--input"], 8 * BATCH),
        f"pipeline, batch_size={BATCH}": Tool([*theirs, str(BATCH)], BATCH),
        "pipeline, as it comes": Tool([*theirs, "1"], 1),
    }


def _take_turns(tools: Mapping[str, Tool], path: Path, threads: int, rounds: int) -> dict[str, list[Run]]:
    """By tool, the run of each round. Ends the program where answers differ."""
    found: dict[str, list[Run]] = {name: [] for name in tools}
    for _ in range(rounds):
        for name, tool in tools.items():
            found[name].append(run_to_end([*tool.command, path], threads, keep=True))
    expected, *others = (_read(runs[0].lines) for runs in found.values())
    for name, answers in zip(list(found)[1:], others, strict=True):
        difference = _difference(expected, answers)
        if not difference <= ALLOWED:
            sys.exit(f"{name} and bvx differ by {difference:.1e}: nothing to compare.")
    return found


def _read(lines: Sequence[bytes]) -> list[Answer]:
    return [{label["label"]: label["score"] for label in json.loads(line)["answer"]} for line in lines]


def _difference(some: Sequence[Answer], others: Sequence[Answer]) -> float:
    pairs = zip(some, others, strict=True)
    return max(abs(one[label] - other[label]) for one, other in pairs for label in one)


def _conditions(asked: Any, texts: Sequence[str]) -> str:
    words = [len(text.split()) for text in texts]
    half, most = statistics.median(words), max(words)
    return (
        f"{describe()['cpu']}, {asked.threads} thread(s), medians of {asked.rounds} rounds in turns. "
        f"bvx {bvx.__version__}, onnxruntime {version('onnxruntime')}; transformers {version('transformers')}, "
        f"PyTorch {version('torch')}. "
        f"{len(texts):,} lines of 1 to {most} words, half of them at most {half:.0f}; {TASK}."
    )


def _table(shape: tuple[int, int, int], tools: Mapping[str, Tool], measured: Mapping[str, Sequence[Run]]) -> str:
    """Markdown: a row for each tool; the best of a column in bold."""
    rows = {name: _summarise(runs, tools[name].window) for name, runs in measured.items()}
    picks, formats = (min, max, min, min), (".1f", ",.0f", ".2f", ",.0f")
    best = [pick(column) for pick, column in zip(picks, zip(*rows.values(), strict=True), strict=True)]
    title = f"{shape[0]} layers of {shape[1]}, {next(iter(measured.values()))[0].count:,} lines"
    shown = [
        f"\n| {title} | first answer, s | lines/s | CPU time of a line, ms | most memory, MB |",
        "|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        cells = [f"{value:{form}}" for value, form in zip(row, formats, strict=True)]
        marked = [
            f"**{cell}**" if value == least else cell for cell, value, least in zip(cells, row, best, strict=True)
        ]
        shown.append(f"| {name} | {' | '.join(marked)} |")
    return "\n".join(shown)


def _summarise(runs: Sequence[Run], window: int) -> tuple[float, float, float, float]:
    first = statistics.median(run.first.seconds for run in runs)
    rate = statistics.median(run.rate(window) for run in runs)
    work = statistics.median(run.work(window) for run in runs)
    return first, rate, work * 1e3, max(run.most_memory for run in runs)


def _memory_table(run: Run, window: int) -> str:
    """Markdown: what was resident when so much was answered."""
    parts = (0.01, 0.1, 0.25, 0.5, 0.75, 1.0)
    memory = [run.memory_at(part) for part in parts]
    return "\n".join(
        (
            f"\nbvx run, all {run.count:,} lines: {run.rate(window):,.0f} lines/s, "
            f"{run.work(window) * 1e3:.2f} ms of CPU time a line; in memory, MB:\n",
            f"| after | {' | '.join(f'{part:.0%}' for part in parts)} | the most |",
            f"|---|{'---|' * (len(parts) + 1)}",
            f"| | {' | '.join(f'{value:,.0f}' for value in [*memory, run.most_memory])} |",
        )
    )


def _serve(checkpoint: str, threads: str, batch_size: str, path: str) -> None:
    import torch

    torch.set_num_threads(int(threads))
    classify = transformers.pipeline("text-classification", model=checkpoint, device="cpu", top_k=None)
    with Path(path).open(encoding="utf-8") as file:
        texts = (json.loads(line)["text"] for line in file)
        for number, answer in enumerate(classify(texts, batch_size=int(batch_size)), start=1):
            print(json.dumps({"line": number, "answer": answer}), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        _serve(*sys.argv[2:])
    else:
        main()
