"""ExportPlan: what was asked for, frozen, checked once, with all faults reported together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..runtime.errors import BvxError, PlanError
from ..runtime.manifest import Profile
from ..runtime.tasks import find_task
from .families import find_architecture, find_family

__all__ = ["PRECISIONS", "TARGETS", "ExportPlan"]

TARGETS: dict[str, tuple[str, ...]] = {"cpu": ("fp32",)}
"""The precisions that each target's lowering supports."""

PRECISIONS: tuple[str, ...] = ("fp32",)


@dataclass(frozen=True)
class ExportPlan:
    """One export.

    `model` is a hub id, a local folder, or with `random_weights` the name of a known architecture. `task` and
    `family` are None when they are to be recognised from the checkpoint. `hidden_states` asks for every layer's
    hidden states as extra outputs. `out` is the bundle's folder.
    """

    model: str
    out: Path
    task: str | None = None
    family: str | None = None
    revision: str | None = None
    precisions: tuple[str, ...] = ("fp32",)
    targets: tuple[str, ...] = ("cpu",)
    profiles: tuple[Profile, ...] = field(default=())
    hidden_states: bool = False
    random_weights: bool = False
    seed: int = 0
    overwrite: bool = False

    def check(self) -> None:
        """Raises one PlanError with every fault of the plan that can be seen without opening the checkpoint."""
        faults = [*self._model_faults(), *self._form_faults(), *self._profile_faults(), *self._out_faults()]
        if len(faults) == 1:
            raise PlanError(faults[0].cause, faults[0].next_step)
        if faults:
            causes = " ".join(f"({number}) {fault}" for number, fault in enumerate(faults, 1))
            raise PlanError(f"The export cannot start, for {len(faults)} reasons: {causes}")

    def _model_faults(self) -> Iterator[BvxError]:
        if not self.model.strip():
            yield PlanError(
                "No model is named.", "Pass a hub id, a local folder, or --random-weights with a known name."
            )
            return
        folder = Path(self.model).expanduser()
        if self.random_weights and not (folder / "config.json").is_file():
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
        out, model = self.out.absolute(), Path(self.model).expanduser()
        parent = next((folder for folder in out.parents if folder.exists()), out.parent)
        if not parent.is_dir():
            yield PlanError(f"{self.out} cannot be made: {parent} is a file.", "Choose another folder with --out.")
        elif out.is_dir() and model.is_dir() and out.resolve() == model.resolve():
            yield PlanError(f"{self.out} is the checkpoint's own folder.", "Choose another folder with --out.")
        elif out.exists() and not out.is_dir():
            yield PlanError(f"{self.out} is a file; a bundle is a folder.", "Choose another folder with --out.")
        elif out.exists() and any(out.iterdir()) and not self.overwrite:
            yield PlanError(f"{self.out} exists already.", "Pass --overwrite to replace it, or choose another --out.")


def _fault_of(find: object, name: str) -> Iterator[BvxError]:
    """The error that looking `name` up raises, if it does."""
    assert callable(find)
    try:
        find(name)
    except BvxError as error:
        yield error
