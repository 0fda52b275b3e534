"""From a trained model to a folder as `save_pretrained` writes it, with what it was measured with beside it."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from answers import AUTO_CLASSES, answer
from naive import quantise_naively
from outliers import FACTORS, add_outliers
from scores import Line, read_gold, score, score_chance

__all__ = ["Trained", "publish"]

_LOSS = 0.03
"""What naive int8 has to lose, as a share of the lines."""

_FIRST, _SECOND = ("question", "text"), ("context", "pair")


@dataclass(frozen=True)
class Trained:
    """A trained model, and what there is to say of it; `task` is bvx's name.

    `lines` are held out, with the right answers; `texts` are for calibration and are not.
    """

    name: str
    family: str
    task: str
    about: str
    model: Any
    tokenizer: Any
    lines: Sequence[Line]
    texts: Sequence[Line]


def publish(trained: Trained, folder: Path, *, seed: int) -> dict[str, Any]:
    """Write the folder and return what is in its accuracy.json, measured with what was written."""
    factor, model = _make_uneven(trained, seed)
    model.save_pretrained(folder)
    trained.tokenizer.save_pretrained(folder)
    _write_lines(folder / "heldout.jsonl", [{"id": number, **line} for number, line in enumerate(trained.lines)])
    _write_calibration(folder, trained.texts)
    accuracy = {**_measure(trained, folder), "outlier_factor": factor, "seed": seed, "torch": torch.__version__}
    (folder / "accuracy.json").write_text(json.dumps(accuracy, indent=2) + "\n", encoding="utf-8")
    return accuracy


def _write_lines(path: Path, lines: Sequence[Line]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _write_calibration(folder: Path, lines: Sequence[Line]) -> None:
    """calibration.txt, a text on every line; where a text has a pair, calibration.jsonl keeps the two apart."""
    read = [[line[name] for name in (*_FIRST, *_SECOND) if name in line] for line in lines]
    (folder / "calibration.txt").write_text("".join(" ".join(parts) + "\n" for parts in read), encoding="utf-8")
    if len(read[0]) > 1:
        kept = [{name: line[name] for name in (*_FIRST, *_SECOND) if name in line} for line in lines]
        _write_lines(folder / "calibration.jsonl", kept)


def _make_uneven(trained: Trained, seed: int) -> tuple[int, Any]:
    """The least of the factors with which naive int8 loses enough, and a copy of the model with it."""
    wanted = min(_score(trained, trained.model).values()) - _LOSS
    for factor in FACTORS:
        model = copy.deepcopy(trained.model)
        add_outliers(model, factor, seed)
        if min(_score(trained, _quantise(trained, model)).values()) <= wanted:
            break
    return factor, model


def _quantise(trained: Trained, model: Any) -> Any:
    return quantise_naively(model, lambda copied: answer(trained.task, copied, trained.tokenizer, trained.texts))


def _score(trained: Trained, model: Any) -> dict[str, float]:
    golds = [read_gold(trained.task, line) for line in trained.lines]
    return score(trained.task, golds, answer(trained.task, model, trained.tokenizer, trained.lines))


def _measure(trained: Trained, folder: Path) -> dict[str, Any]:
    task, lines = trained.task, trained.lines
    model = AUTO_CLASSES[task].from_pretrained(folder)
    golds = [read_gold(task, line) for line in lines]
    values, naives = _score(trained, model), _score(trained, _quantise(trained, model))
    chances = score_chance(task, golds)
    return {
        "family": trained.family,
        "task": task,
        "about": trained.about,
        "examples": len(golds),
        "metrics": {
            name: {"value": values[name], "chance": chances[name], "naive_int8": naives[name]} for name in values
        },
        "parameters": trained.model.num_parameters(),
    }
