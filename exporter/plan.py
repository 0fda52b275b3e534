"""ExportPlan: what was asked for, frozen, checked once, with all faults reported together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..runtime.bundle import MANIFEST
from ..runtime.errors import BundleError, BvxError, CheckpointError, PlanError
from ..runtime.manifest import Profile
from ..runtime.tasks import find_task
from .calibration_plan import CalibrationPlan
from .families import find_architecture, find_family
from .supported import PRECISIONS, TARGETS

__all__ = ["ExportPlan"]


@dataclass(frozen=True)
class ExportPlan:
    """One export.

    `model` is a hub id, a local folder, or with `random_weights` the name of a known architecture. `task` and
    `family` are None when they are to be recognised from the checkpoint. `hidden_states` asks for every layer's
    hidden states as extra outputs. `allow_new_head` draws the weights of a head that the checkpoint
    does not have, with `seed`. `pick` puts the fastest variant that keeps the accuracy first. `out` is the bundle's
    folder.
    """

    model: str
    out: Path
    task: str | None = None
    family: str | None = None
    revision: str | None = None
    precisions: tuple[str, ...] = ("fp32",)
    targets: tuple[str, ...] = ("cpu",)
    pick: bool = False
    calibration: CalibrationPlan = field(default_factory=CalibrationPlan)
    profiles: tuple[Profile, ...] = field(default=())
    hidden_states: bool = False
    random_weights: bool = False
    allow_new_head: bool = False
    seed: int = 0
    overwrite: bool = False

    def check(self, also: Iterable[BvxError] = ()) -> None:
        """Raises one error with every fault of the plan that can be seen without opening the checkpoint, and `also`.

        A PlanError where the words themselves are at fault, whatever lies on the disk; else what a single fault with
        what they name is: CheckpointError for the model, BundleError for `out`.
        """
        faults = [
            *also,
            *self._model_faults(),
            *self._form_faults(),
            *self.calibration.faults(self.precisions),
            *self._profile_faults(),
            *self._out_faults(),
        ]
        if not faults:
            return
        at_fault = next((fault for fault in faults if isinstance(fault, PlanError)), faults[0])
        if len(faults) == 1:
            raise at_fault
        causes = " ".join(f"({number}) {fault}" for number, fault in enumerate(faults, 1))
        raise type(at_fault)(f"The export cannot start, for {len(faults)} reasons: {causes}")

    def _model_faults(self) -> Iterator[BvxError]:
        if not self.model.strip():
            yield PlanError(
                "No model is named.", "Pass a hub id, a local folder, or --random-weights with a known name."
            )
            return
        folder = Path(self.model).expanduser()
        if folder.exists() and not folder.is_dir():
            yield CheckpointError(
                f"{self.model} is a file; a checkpoint is a folder with config.json and weights.",
                f"Pass the folder: {folder.parent}",
            )
        elif _looks_like_path(self.model) and not folder.exists():
            yield CheckpointError(
                f"There is no folder {self.model}, and it cannot be a hub id (those look like owner/name).",
                f"Check the path; the current folder is {Path.cwd()}.",
            )
        elif self.random_weights and not (folder / "config.json").is_file():
            if folder.is_dir() and _looks_like_path(self.model):
                yield CheckpointError(f"{self.model} has no config.json.", "Pass a folder that has, or a known name.")
            else:
                yield from _fault_of(find_architecture, self.model)
        if self.revision is not None and (self.random_weights or folder.is_dir()):
            what = "random weights have" if self.random_weights else "a local folder has"
            yield PlanError(f"--revision {self.revision} is for the hub; {what} none.", "Leave --revision out.")
        if self.task is not None:
            yield from _fault_of(find_task, self.task)
        if self.family is not None:
            yield from _fault_of(find_family, self.family)

    def _form_faults(self) -> Iterator[BvxError]:
        for what, asked, known in (
            ("precision", self.precisions, PRECISIONS),
            ("target", self.targets, tuple(TARGETS)),
        ):
            if not asked:
                yield PlanError(f"No {what} is asked for.", f"Choose from: {', '.join(known)}.")
            for name in asked:
                if name not in known:
                    yield PlanError(f"There is no {what} {name!r}.", f"Choose from: {', '.join(known)}.")
            for name in sorted({name for name in asked if asked.count(name) > 1}):
                yield PlanError(f"The {what} {name!r} is asked for more than once.", "Name it once.")
        able = {precision for target in self.targets for precision in TARGETS.get(target, ())}
        for precision in self.precisions:
            if precision in PRECISIONS and able and precision not in able:
                ones = ", ".join(target for target, precisions in TARGETS.items() if precision in precisions)
                yield PlanError(
                    f"None of the targets {', '.join(self.targets)} can run {precision}.", f"Add one that can: {ones}."
                )

    def _profile_faults(self) -> Iterator[BvxError]:
        for profile in self.profiles:
            shapes = (profile.min, profile.opt, profile.max)
            text = ":".join(f"{batch}x{length}" for batch, length in shapes)
            if any(size < 1 for shape in shapes for size in shape):
                yield PlanError(f"The profile {text} has a size below 1.", "Batch and length start at 1.")
            elif any(not low <= mid <= high for low, mid, high in zip(*shapes, strict=True)):
                yield PlanError(
                    f"The profile {text} does not grow from its least shape to its largest.",
                    "Write MIN:OPT:MAX, for example 1x16:8x128:32x512.",
                )

    def _out_faults(self) -> Iterator[BvxError]:
        out, model = self.out.expanduser().absolute(), Path(self.model).expanduser()
        another = "Choose another folder with --out."
        parent = next((folder for folder in out.parents if folder.exists()), out.parent)
        if not parent.is_dir():
            yield BundleError(f"{self.out} cannot be made: {parent} is a file.", another)
        elif out.is_dir() and model.is_dir() and out.resolve() == model.resolve():
            yield BundleError(f"{self.out} is the checkpoint's own folder.", another)
        elif out.exists() and not out.is_dir():
            yield BundleError(f"{self.out} is a file; a bundle is a folder.", another)
        elif out.exists() and any(out.iterdir()):
            if not (out / MANIFEST).is_file():
                yield BundleError(
                    f"{self.out} exists and is not a bundle (it has no {MANIFEST}).",
                    f"{another} bvx deletes nothing that it did not write, --overwrite or not.",
                )
            elif not self.overwrite:
                yield BundleError(
                    f"There is a bundle in {self.out} already.",
                    "Pass --overwrite to replace it, or choose another folder with --out.",
                )


def _looks_like_path(model: str) -> bool:
    return model.startswith((".", "/", "~")) or model.endswith("/") or model.count("/") > 1 or "\\" in model


def _fault_of(find: Callable[[str], object], name: str) -> Iterator[PlanError]:
    """What is wrong with a typed `name` that `find` does not know."""
    try:
        find(name)
    except BvxError as error:
        yield PlanError(error.cause, error.next_step)
