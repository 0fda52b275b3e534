"""The last step of an export for TensorRT: the plans, built from the bundle that was sealed, and put into it."""

from __future__ import annotations

from pathlib import Path

from ..runtime.bundle import Bundle
from ..runtime.engines import ENGINES, list_candidates
from ..runtime.errors import BvxError, EngineBuildError
from .engines import BuildRequest, build_engines
from .progress import Progress, Silent

__all__ = ["build_into", "choose_builder"]

_TARGET = "tensorrt"


def choose_builder() -> str | None:
    """The engine that can build here: tensorrt where it has its GPU, else tensorrt-rtx, which needs none."""
    able = [one.engine for one in list_candidates([_TARGET]) if one.obstacle is None]
    if able:
        return able[0]
    return "tensorrt-rtx" if ENGINES["tensorrt-rtx"].is_installed else None


def build_into(path: Path, out: Path, asked: bool, progress: Progress | None = None) -> None:
    """Build every variant for tensorrt of the published bundle at `path`, and put the plans into it.

    `out` is the bundle as it was typed. Where no builder can work here, one sentence says what to type later: an
    EngineBuildError if `asked`, else a warning. Whatever fails, the bundle stays as it is, which the EngineBuildError
    says, with how to go on.
    """
    progress = progress or Silent()
    variants = Bundle.open(path, check_hashes=False).manifest.variants
    if not any(variant.target == _TARGET for variant in variants):
        return
    engine = choose_builder()
    if engine is None:
        cause = f"No engine was built for the bundle in {out}: neither tensorrt with a GPU nor tensorrt-rtx is here."
        step = f"On a machine that has one, type `bvx build {out} --engine tensorrt` (or tensorrt-rtx)."
        if asked:
            raise EngineBuildError(cause, step)
        progress.warn(f"{cause} {step}")
        return
    try:
        build_engines(BuildRequest(str(path), engine, out=path, overwrite=True), progress)
    except BvxError as error:
        raise EngineBuildError(
            f"The bundle in {out} is proven and whole, but has no engines: {engine} could not build them. "
            f"{error.cause}",
            f"{error.next_step} Then go on with `bvx build {out} --engine {engine}`; nothing has to be exported again.",
        ) from error
