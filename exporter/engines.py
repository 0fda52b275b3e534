"""Engines from a bundle alone: `bvx build`, on a machine without torch, for the GPU that is here or one that is not."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..calibration.store import read_ranges
from ..runtime.bundle import Bundle
from ..runtime.cache import find_engines, store_engine, timing_cache
from ..runtime.errors import BvxError, PlanError
from ..runtime.manifest import EngineFile, Profile, Variant
from ..runtime.manifest_json import to_plain
from .progress import Progress, Silent
from .request import read_profile
from .seal import check_target, publish, staging
from .tensorrt import ENGINES, BuildOptions, Plan, build_plan, choose_profiles
from .tensorrt.library import Library, open_library
from .wanted_variants import find_wanted

__all__ = ["BuildRequest", "build_engines", "check_for_cpu", "describe_engines"]

_TARGET = "tensorrt"
_RANGES = "ranges.safetensors"


@dataclass(frozen=True)
class BuildRequest:
    """What was typed: `precision` and `gpus` are lists with commas, `profiles` MIN:OPT:MAX, `workspace` in GiB.

    `out` is where a new bundle with the engines inside goes; None puts them into the machine's cache.
    """

    bundle: str
    engine: str = ENGINES[0]
    precision: str | None = None
    profiles: tuple[str, ...] = ()
    gpus: str = ""
    version_compatible: bool = False
    hardware_compatible: bool = False
    strip_weights: bool = False
    optimization_level: int = 3
    workspace: float | None = None
    timing_cache: Path | None = None
    tf32: bool = False
    out: Path | None = None
    overwrite: bool = False


def build_engines(request: BuildRequest, progress: Progress | None = None) -> dict[str, Any]:
    """Build what is asked for and put it into the cache, or into a new bundle; JSON-ready, what was built and where.

    Raises PlanError, BundleError, EngineBuildError; nothing is kept of a build whose label is not true.
    """
    progress = progress or Silent()
    bundle = Bundle.open(request.bundle)
    variants = find_wanted(bundle, request.precision, _TARGET)
    options = _make_options(bundle, request)
    options.check()
    if request.out is not None:
        check_target(request.out, request.overwrite)
    library = open_library(options.engine)
    if options.engine == "tensorrt" and options.timing_cache is None and library.gpu is not None:
        cache = timing_cache(library.engine, library.version, library.gpu.architecture)
        options = replace(options, timing_cache=cache)
    built = []
    for variant in variants:
        progress.stage(variant.key)
        plan = build_plan(bundle.path(variant.file), variant.precision, options, progress, library)
        built.append((_describe(variant, plan, library), plan))
    if request.out is None:
        places = [store_engine(bundle, engine, plan.data) for engine, plan in built]
    else:
        root = _embed(bundle, [(engine, plan.data) for engine, plan in built], request)
        places = [root / engine.file for engine, _ in built]
    rows = zip(built, places, strict=True)
    return {
        "path": str(bundle.root if request.out is None else request.out),
        "engine": library.engine,
        "version": library.version,
        "engines": [
            {**to_plain(engine), "file": str(place), "seconds": round(plan.seconds, 2)}
            for (engine, plan), place in rows
        ],
    }


def check_for_cpu(request: BuildRequest) -> None:
    """Raises PlanError where more was typed than a CPU's engines have: bundle and precision."""
    if request != BuildRequest(request.bundle, request.engine, request.precision):
        raise PlanError(
            "Nothing is built for a CPU; its engines are measured on this machine.",
            "Leave out every option but --precision, or build with --engine tensorrt.",
        )


def describe_engines(bundle: Bundle) -> dict[str, Any]:
    """The document of `bvx inspect --engine`: every engine inside `bundle` and in this machine's cache."""
    found = [{**to_plain(engine), "file": str(path)} for engine, path in find_engines(bundle)]
    return {"path": str(bundle.root), "engines": found}


def _make_options(bundle: Bundle, request: BuildRequest) -> BuildOptions:
    return BuildOptions(
        engine=request.engine,
        profiles=_make_profiles(bundle, request.profiles),
        gpus=tuple(name.strip() for name in request.gpus.split(",") if name.strip()),
        tf32=request.tf32,
        version_compatible=request.version_compatible,
        hardware_compatible=request.hardware_compatible,
        strip_weights=request.strip_weights,
        optimization_level=request.optimization_level,
        workspace=None if request.workspace is None else int(request.workspace * 2**30),
        timing_cache=request.timing_cache,
    )


def _make_profiles(bundle: Bundle, asked: Sequence[str]) -> tuple[Profile, ...]:
    """Those that are asked for, or that the bundle was exported with, or that the calibration's texts suggest."""
    longest = bundle.manifest.max_length
    profiles = tuple(read_profile(text) for text in asked) or bundle.manifest.profiles
    for profile in profiles:
        if profile.max[1] > longest:
            raise PlanError(
                f"A profile reaches to {profile.max[1]} tokens; this model takes at most {longest}.",
                f"End --profile at a length of {longest} or less.",
            )
    return profiles or choose_profiles(_seen_lengths(bundle), longest)


def _seen_lengths(bundle: Bundle) -> Mapping[int, int]:
    if not bundle.has(_RANGES):
        return {}
    try:
        return read_ranges(bundle.path(_RANGES)).lengths
    except BvxError:
        return {}


def _describe(variant: Variant, plan: Plan, library: Library) -> EngineFile:
    gpus = "-".join(name.removeprefix("sm_") for name in plan.gpus)
    return EngineFile(
        variant=variant.key,
        engine=plan.engine,
        version=plan.version,
        gpus=plan.gpus,
        file=f"engines/{variant.precision}-{library.engine}-{library.version}-sm{gpus}.plan",
        sha256=hashlib.sha256(plan.data).hexdigest(),
        bytes=len(plan.data),
        profiles=plan.profiles,
        compatible=plan.compatible,
        audit=plan.audit.to_dict(),
    )


def _embed(bundle: Bundle, engines: Sequence[tuple[EngineFile, bytes]], request: BuildRequest) -> Path:
    """A copy of the bundle with the engines inside, sealed anew."""
    assert request.out is not None
    files = {engine.file for engine, _ in engines}
    kept = tuple(engine for engine in bundle.manifest.engines if engine.file not in files)
    with staging(request.out, request.overwrite) as stage:
        for entry in bundle.manifest.files:
            copy = stage.folder / entry.path
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.path(entry.path), copy)
        for engine, data in engines:
            path = stage.folder / engine.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return publish(stage, replace(bundle.manifest, engines=(*kept, *(engine for engine, _ in engines))))
