"""What a build may be asked for, checked before any library is touched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...runtime.errors import PlanError
from ...runtime.manifest import Profile

__all__ = ["ARCHITECTURES", "ENGINES", "BuildOptions"]

ENGINES = ("tensorrt", "tensorrt-rtx")

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_120", "sm_121")
"""What TensorRT-RTX 1.7 builds for: Turing, Ampere, Ada and Blackwell. Hopper (sm_90) is not among them."""


@dataclass(frozen=True)
class BuildOptions:
    """How a plan is built.

    `gpus` are the architectures of a tensorrt-rtx plan; empty is every one from sm_80 on, which costs nothing: they
    share their code. tensorrt builds for the GPU that is here. `workspace` is in bytes, None as much as there is;
    `timing_cache` is a file that is read and written. `tf32` lets fp32 GEMMs round their inputs to 10 bits.
    """

    engine: str
    profiles: tuple[Profile, ...]
    gpus: tuple[str, ...] = ()
    tf32: bool = False
    version_compatible: bool = False
    hardware_compatible: bool = False
    strip_weights: bool = False
    optimization_level: int = 3
    workspace: int | None = None
    timing_cache: Path | None = None

    @property
    def architectures(self) -> tuple[str, ...]:
        """What a tensorrt-rtx plan is built for."""
        return self.gpus or tuple(name for name in ARCHITECTURES[1:-1])

    def check(self) -> None:
        """Raises PlanError that names every fault."""
        faults = list(self._faults())
        if faults:
            raise PlanError(" ".join(cause for cause, _ in faults), " ".join(step for _, step in faults))

    def _faults(self) -> Iterator[tuple[str, str]]:
        if self.engine not in ENGINES:
            yield f"There is no builder called {self.engine!r}.", f"Choose one of: {', '.join(ENGINES)}."
        if not self.profiles:
            yield "No profile says which shapes to build for.", "Give one, such as 1x16:8x128:32x512."
        for profile in self.profiles:
            yield from _profile_faults(profile)
        if not 0 <= self.optimization_level <= 5:
            yield f"The optimisation level is {self.optimization_level}.", "Levels are 0 to 5."
        if self.workspace is not None and self.workspace < 1:
            yield f"The workspace is {self.workspace} bytes.", "Give a positive size, or none."
        yield from self._rtx_faults() if self.engine == "tensorrt-rtx" else self._tensorrt_faults()

    def _rtx_faults(self) -> Iterator[tuple[str, str]]:
        unknown = [name for name in self.gpus if name not in ARCHITECTURES]
        if unknown:
            yield (
                f"tensorrt-rtx does not build for {', '.join(unknown)}.",
                f"It builds for {', '.join(ARCHITECTURES)}; for others use engine tensorrt on such a GPU.",
            )
        if self.version_compatible or self.hardware_compatible:
            yield (
                "tensorrt-rtx has no version- or hardware-compatible plans.",
                "Name the GPUs instead: a plan from sm_80 on fits all of them.",
            )
        if self.strip_weights:
            yield "tensorrt-rtx strips weights only where a GPU is.", "Leave --strip-weights out."
        if self.timing_cache is not None:
            yield "tensorrt-rtx times nothing and has no timing cache.", "Leave --timing-cache out."

    def _tensorrt_faults(self) -> Iterator[tuple[str, str]]:
        if self.engine == "tensorrt" and self.gpus:
            yield (
                f"tensorrt builds for the GPU that is here, not for {', '.join(self.gpus)}.",
                "Leave --gpu out, or use --engine tensorrt-rtx.",
            )


def _profile_faults(profile: Profile) -> Iterator[tuple[str, str]]:
    """TensorRT does not raise for a profile whose least is above its best: it makes one that is false."""
    for name, low, opt, high in zip(("batch", "length"), profile.min, profile.opt, profile.max, strict=True):
        if not 1 <= low <= opt <= high:
            yield (
                f"A profile's {name} goes {low}, {opt}, {high}.",
                "Write least, best and most in this order, from 1 on.",
            )
