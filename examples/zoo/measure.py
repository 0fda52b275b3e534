"""Measure a bundle with the held-out lines of the checkpoint that it was made from.

bvx export examples/zoo/models/roberta-opinions --out roberta-opinions.bvx
python examples/zoo/measure.py examples/zoo/models/roberta-opinions roberta-opinions.bvx
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scores import Line, read_gold, score

import bvx

__all__ = ["measure", "read_lines"]


def read_lines(checkpoint: Path) -> list[Line]:
    with (checkpoint / "heldout.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def measure(task: str, model: Any, lines: Sequence[Line]) -> dict[str, float]:
    """The metrics of `model`, what bvx.load returned, on these lines."""
    return score(task, [read_gold(task, line) for line in lines], _ANSWERS[task](model, lines))


def _texts(lines: Sequence[Line], name: str = "text") -> list[str]:
    return [line[name] for line in lines]


def _labels(model: Any, lines: Sequence[Line]) -> list[str]:
    return [answer["label"] for answer in model(_texts(lines))]


def _words(model: Any, lines: Sequence[Line]) -> list[str]:
    return [fillings[0]["token_str"].strip() for fillings in model(_texts(lines), top_k=1)]


def _words_and_order(model: Any, lines: Sequence[Line]) -> list[tuple[str, str]]:
    answers = model(_texts(lines), _texts(lines, "pair"), top_k=1)
    return [(answer["fillings"][0][0]["token_str"].strip(), answer["pair"][0]["label"]) for answer in answers]


def _replaced(model: Any, lines: Sequence[Line]) -> list[frozenset[Any]]:
    answers = model(_texts(lines), threshold=0.5)
    return [frozenset((token["start"], token["end"]) for token in tokens) for tokens in answers]


def _spans(model: Any, lines: Sequence[Line]) -> list[str]:
    answers = model(_texts(lines, "question"), _texts(lines, "context"))
    return [answer["answer"] for answer in answers]


_ANSWERS: Mapping[str, Callable[[Any, Sequence[Line]], list[Any]]] = {
    "text-classification": _labels,
    "fill-mask": _words,
    "pretraining-heads": _words_and_order,
    "replaced-token-detection": _replaced,
    "question-answering": _spans,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--precision", help="one of the bundle's precisions")
    asked = parser.parse_args()
    stated = json.loads((asked.checkpoint / "accuracy.json").read_text(encoding="utf-8"))
    chosen = {} if asked.precision is None else {"precision": asked.precision}
    with bvx.load(asked.bundle, **chosen) as model:
        found = measure(stated["task"], model, read_lines(asked.checkpoint))
    for name, value in found.items():
        there = stated["metrics"][name]
        print(f"{name:16} {value:.4f}   (in PyTorch {there['value']:.4f}, by chance {there['chance']:.4f})")


if __name__ == "__main__":
    main()
