"""From the words of `bvx export` to a checked ExportPlan."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ..runtime.errors import BvxError, PlanError
from ..runtime.manifest import Profile
from .calibration_plan import CalibrationPlan
from .plan import ExportPlan
from .supported import AUTO, choose_targets

__all__ = ["Request", "default_out", "make_plan", "read_profile", "read_share"]

_SHAPE = re.compile(r"([0-9]{1,9})x([0-9]{1,9})", re.ASCII)
_SHARE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*%", re.ASCII)


@dataclass(frozen=True)
class Request:
    """What was typed, as it was typed: `precision` and `target` are lists with commas, `profiles` MIN:OPT:MAX.

    `target` None is whatever the precisions need; `max_drop` is a share such as 0.5%. `seed` None is 0; any other
    needs `random_weights` or `allow_new_head`.
    """

    model: str
    task: str | None = None
    family: str | None = None
    revision: str | None = None
    precision: str = "fp32"
    target: str | None = None
    calibrate: str | None = None
    samples: int = 256
    observer: str | None = None
    ranges: Path | None = None
    labelled: str | None = None
    max_drop: str | None = None
    reduce_range: bool | None = None
    profiles: tuple[str, ...] = ()
    hidden_states: bool = False
    out: Path | None = None
    overwrite: bool = False
    random_weights: bool = False
    allow_new_head: bool = False
    seed: int | None = None


def make_plan(request: Request) -> ExportPlan:
    """The plan that `request` asks for, checked. Raises one error that holds every fault, as ExportPlan.check does."""
    faults: list[BvxError] = []
    profiles: list[Profile] = []
    for text in request.profiles:
        try:
            profiles.append(read_profile(text))
        except PlanError as error:
            faults.append(error)
    if request.seed is not None and not (request.random_weights or request.allow_new_head):
        faults.append(
            PlanError(
                f"--seed {request.seed} is for random weights.",
                "Add --random-weights or --allow-new-head, or leave --seed out.",
            )
        )
    max_drop = None
    if request.max_drop is not None:
        try:
            max_drop = read_share(request.max_drop)
        except PlanError as error:
            faults.append(error)
    precisions = _split(request.precision)
    pick = precisions == (AUTO,)
    if AUTO in precisions and not pick:
        faults.append(PlanError(f"{AUTO} stands beside other precisions.", "Ask for it alone, or name precisions."))
    if pick:
        precisions = ("fp32", "int8")
    plan = ExportPlan(
        model=request.model,
        out=request.out or default_out(request.model),
        task=request.task,
        family=request.family,
        revision=request.revision,
        precisions=tuple(name for name in precisions if name != AUTO),
        targets=choose_targets(precisions) if request.target is None else _split(request.target),
        pick=pick,
        calibration=CalibrationPlan(
            texts=request.calibrate,
            samples=request.samples,
            observer=request.observer,
            ranges=request.ranges,
            labelled=request.labelled,
            max_drop=max_drop,
            reduce_range=request.reduce_range,
        ),
        profiles=tuple(profiles),
        hidden_states=request.hidden_states,
        random_weights=request.random_weights,
        allow_new_head=request.allow_new_head,
        seed=request.seed or 0,
        overwrite=request.overwrite,
    )
    plan.check(also=faults)
    return plan


def read_profile(text: str) -> Profile:
    """`1x16:8x128:32x512` as a Profile: batch x length, least, best and most. Raises PlanError."""
    shapes = [_SHAPE.fullmatch(part.strip()) for part in text.split(":")]
    found = [(int(shape[1]), int(shape[2])) for shape in shapes if shape]
    if len(found) != 3 or len(shapes) != 3:
        raise PlanError(f"{text!r} is no profile.", "Write MIN:OPT:MAX as batch x length, such as 1x16:8x128:32x512.")
    return Profile(*found)


def read_share(text: str) -> float:
    """`0.5%` as 0.005. Raises PlanError for anything else: a bare number could mean a share or a percentage."""
    found = _SHARE.fullmatch(text.strip())
    if not found:
        raise PlanError(f"{text!r} is no share.", "Write a percentage with its sign, such as 0.5%.")
    return float(found[1]) / 100


def default_out(model: str) -> Path:
    """Where a bundle goes when nothing is said: the last part of `model` with .bvx, in the current folder."""
    path = Path(model).expanduser()
    name = path.resolve().name if path.is_dir() else path.name
    return Path(f"{name or 'model'}.bvx")


def _split(names: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in names.split(",") if part.strip())
