"""Which of a bundle's plans runs here: decided by what is written down, before the plan itself is read."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from ..bundle import Bundle
from ..cache import find_engines
from ..errors import BundleError, EngineMismatch
from ..manifest import EngineFile, Variant
from .cuda import Gpu

__all__ = ["choose_plan", "read_plan"]

_AMPERE = 80


def choose_plan(bundle: Bundle, variant: Variant, engine: str, version: str, gpu: Gpu) -> tuple[EngineFile, Path]:
    """The plan of `variant` for `engine` of `version` on `gpu`, inside the bundle or in this machine's cache.

    Raises EngineMismatch that says what there is instead, and the `bvx build` to type.
    """
    precision = f" --precision {variant.precision}"
    step = f"Build it here: `bvx build {bundle.root} --engine {engine}{precision}`."
    mine = [one for one in find_engines(bundle) if (one[0].engine, one[0].variant) == (engine, variant.key)]
    if not mine:
        raise EngineMismatch(f"There is no {engine} plan of {variant.key} on this machine.", step)
    fitting = [one for one in mine if _fits_version(one[0], version) and _fits_gpu(one[0], gpu)]
    if fitting:
        return fitting[-1]
    there = "; ".join(f"{engine} {plan.version} for {', '.join(plan.gpus)}" for plan, _ in mine)
    raise EngineMismatch(f"Plans of {variant.key} are for {there}; here is {version} with {gpu.architecture}.", step)


def read_plan(plan: EngineFile, path: Path) -> bytes:
    """The bytes of a plan. Raises BundleError where they are not those that were built."""
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != plan.sha256:
        raise BundleError(f"{path} was changed: its SHA-256 is not the one that was written down.", "Build it again.")
    return data


def _fits_version(plan: EngineFile, version: str) -> bool:
    """A plan runs on the version that built it; a version-compatible one up to the next major version."""
    built, here = _numbers(plan.version), _numbers(version)
    if built == here:
        return True
    return "version" in plan.compatible and built <= here and here[:1] <= (built[0] + 1,)


def _fits_gpu(plan: EngineFile, gpu: Gpu) -> bool:
    if gpu.architecture in plan.gpus:
        return True
    number = int(gpu.architecture.removeprefix("sm_"))
    return "hardware" in plan.compatible and number >= _AMPERE


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
