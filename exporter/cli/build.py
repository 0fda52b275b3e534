"""`bvx build`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from ..documents import Interrupted
from .options import AsJson, Folder, Quiet, Verbose
from .shell import Shell, Work

__all__ = ["build"]


def build(
    bundle: Folder,
    engine: Annotated[
        str,
        Option(metavar="NAME", help="tensorrt builds for the GPU here; tensorrt-rtx needs none; cpu measures engines."),
    ] = ("tensorrt"),
    precision: Annotated[str | None, Option(metavar="NAME,…", help="[default: all that the bundle has]")] = None,
    profile: Annotated[
        list[str] | None,
        Option(metavar="MIN:OPT:MAX", help="Such as 1x16:8x128:32x512.  [default: as exported, or as calibrated]"),
    ] = None,
    gpu: Annotated[str, Option(metavar="NAME,…", help="For tensorrt-rtx: sm_75, sm_80, sm_86, sm_89, sm_120.")] = "",
    version_compatible: Annotated[bool, Option("--version-compatible", help="Runs on later TensorRT too.")] = False,
    hardware_compatible: Annotated[bool, Option("--hardware-compatible", help="For all GPUs from Ampere on.")] = False,
    strip_weights: Annotated[bool, Option("--strip-weights", help="Leave the weights out of the plan.")] = False,
    optimization_level: Annotated[int, Option(metavar="N", help="0 to 5: how long to look for kernels.")] = 3,
    workspace: Annotated[float | None, Option(metavar="GiB", help="The most that a layer may use for itself.")] = None,
    timing_cache: Annotated[
        Path | None, Option(metavar="FILE", help="The builder's timings.  [default: in the cache]")
    ] = None,
    tf32: Annotated[bool, Option("--tf32", help="Let fp32 products round their inputs.")] = False,
    embed: Annotated[bool, Option("--embed", help="Make a new bundle with the plans inside.")] = False,
    out: Annotated[
        Path | None, Option(metavar="DIR", help="The new bundle's folder.  [default: NAME-built.bvx]")
    ] = None,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace a bundle that is there.")] = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> Work:
    """Build a bundle's engines. They go to this machine's cache, or with --embed into a new bundle; no torch needed.

    With --engine cpu the installed engines are measured, and the fastest kept for loading with engine "auto".
    """

    def work(shell: Shell) -> int:
        from ..build_views import view_build, view_choosing
        from ..choosing import choose_engines
        from ..engines import BuildRequest, build_engines, check_for_cpu

        folder = Path(bundle)
        place = out or (folder.with_name(f"{folder.name.removesuffix('.bvx')}-built.bvx") if embed else None)
        request = BuildRequest(
            bundle=bundle, engine=engine, precision=precision, profiles=tuple(profile or ()), gpus=gpu,
            version_compatible=version_compatible, hardware_compatible=hardware_compatible, strip_weights=strip_weights,
            optimization_level=optimization_level, workspace=workspace, timing_cache=timing_cache, tf32=tf32, out=place,
            overwrite=overwrite,
        )  # fmt: skip
        try:
            with shell.watching():
                if engine == "cpu":
                    check_for_cpu(request)
                    document = choose_engines(bundle, precision, shell)
                else:
                    document = build_engines(request, shell)
        except KeyboardInterrupt as error:
            raise Interrupted("Interrupted; nothing was written.") from error
        shell.answer(document, view_choosing(document) if engine == "cpu" else view_build(document))
        return 0

    return work
