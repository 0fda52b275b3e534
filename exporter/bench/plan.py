"""BenchPlan: what is to be measured, frozen and checked once, all faults at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...runtime.errors import PlanError

__all__ = ["FEWEST_ROUNDS", "OTHER_TOOLS", "BenchPlan", "read_numbers", "read_shapes", "read_texts"]

OTHER_TOOLS: dict[str, tuple[str, str]] = {
    "torch": ("fp32", "PyTorch, eager, with SDPA attention"),
    "torch-compile": ("fp32", "torch.compile with frozen weights, compiled for each shape"),
    "torch-bf16": ("bf16", "PyTorch, eager, in bfloat16"),
    "optimum": ("fp32", "Optimum's ONNX export on ONNX Runtime"),
    "optimum-int8": ("int8", "the same after Optimum's dynamic quantisation"),
    "openvino": ("fp32", "Optimum's ONNX export on OpenVINO"),
    "openvino-nncf": ("int8", "OpenVINO with NNCF's post-training quantisation (SmoothQuant, bias correction)"),
    "ctranslate2": ("int8", "CTranslate2 in int8"),
}
"""What --against may name: its precision, and what it is."""

FEWEST_ROUNDS = 5
"""Turns of which an interval can be made."""

_LONGEST = 1 << 20


@dataclass(frozen=True)
class BenchPlan:
    """What was asked for.

    `strict` leaves a bundle out where "auto" would not serve it on the GPU that it was made for. `rounds` is how many
    turns each engine gets at each shape, at most where `minutes` limit the whole; `seconds` is how long each level of
    concurrency lasts. `pin` binds each engine's process to as many cores as it has threads. `peers` is the folder of
    the environment with the other tools, None for where it is looked for; `work` is where the files that they load are
    kept for another time, None for nowhere.
    """

    bundles: tuple[str, ...]
    engines: tuple[str, ...] = ("auto",)
    strict: bool = False
    precisions: tuple[str, ...] = ()
    shapes: tuple[tuple[int, int], ...] = ((1, 16), (1, 128), (8, 128))
    threads: tuple[int, ...] = (1,)
    against: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    concurrency: tuple[int, ...] = ()
    rounds: int = 30
    minutes: float = 0.0
    seconds: float = 2.0
    baseline: str = ""
    pin: bool = False
    peers: str | None = None
    work: str | None = None

    def check(self) -> None:
        """Raises PlanError that names every fault."""
        faults = list(_find_faults(self))
        if faults:
            raise PlanError(" ".join(faults), "See `bvx bench --help`.")


def _find_faults(plan: BenchPlan) -> Sequence[str]:
    from ...runtime.engines import ENGINES, SHORT_NAMES

    faults = []
    if not plan.bundles:
        faults.append("No bundle is named.")
    known = ["auto", *ENGINES, *SHORT_NAMES]
    if strange := [name for name in plan.engines if name not in known]:
        faults.append(f"There is no engine {', '.join(strange)}; there are auto, {', '.join(ENGINES)}.")
    if strange := [name for name in plan.against if name not in OTHER_TOOLS]:
        faults.append(f"--against knows no {', '.join(strange)}; it knows {', '.join(OTHER_TOOLS)}.")
    for name, found in (("--shapes", plan.shapes), ("--threads", plan.threads)):
        if not found:
            faults.append(f"{name} names none.")
        if len(set(found)) < len(found):
            faults.append(f"{name} names one twice.")
    if any(not 1 <= number <= 1024 for number in (*plan.threads, *plan.concurrency)):
        faults.append("--threads and --concurrency take numbers from 1 to 1024.")
    if plan.rounds < FEWEST_ROUNDS:
        faults.append(f"--rounds is less than {FEWEST_ROUNDS}, of which no interval can be made.")
    if plan.minutes < 0:
        faults.append("--minutes is less than 0.")
    return faults


def read_shapes(text: str) -> tuple[tuple[int, int], ...]:
    """`1x16,8x128` is ((1, 16), (8, 128)): batch and length in tokens. Raises PlanError."""
    shapes = []
    for word in filter(None, text.split(",")):
        match = re.fullmatch(r"([0-9]+)x([0-9]+)", word.strip())
        if not match or not all(1 <= int(number) <= _LONGEST for number in match.groups()):
            raise PlanError(f"{word!r} is no shape.", "Write batch and length in tokens, such as 8x128.")
        shapes.append((int(match[1]), int(match[2])))
    return tuple(shapes)


def read_numbers(text: str, option: str) -> tuple[int, ...]:
    """`1,2` is (1, 2). Raises PlanError that names the option."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not all(word.isascii() and word.isdigit() for word in words):
        raise PlanError(f"{option} is {text!r}.", "Give whole numbers, with commas between them.")
    return tuple(int(word) for word in words)


def read_texts(path: Path) -> tuple[str, ...]:
    """The texts of a file, one a line; empty lines are left out. Raises PlanError when there are none."""
    texts = tuple(line for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    if not texts:
        raise PlanError(f"{path} has no text.", "Give a file with a text on each line.")
    return texts
