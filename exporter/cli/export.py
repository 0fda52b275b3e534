"""`bvx export`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from ...runtime.errors import PlanError
from ..documents import Interrupted
from ..supported import AUTO, OBSERVERS, PRECISIONS, TARGETS
from . import completion
from .options import AsJson, Quiet, Verbose
from .shell import Shell, Work

__all__ = ["export"]


def export(
    model: Annotated[
        str,
        Argument(
            metavar="MODEL",
            autocompletion=completion.list_models,
            help="A hub id, a local folder, or an architecture's name.",
        ),
    ],
    task: Annotated[
        str | None,
        Option(
            metavar="NAME",
            autocompletion=completion.list_tasks,
            help="What the model is for.  [default: as the checkpoint says]",
        ),
    ] = None,
    family: Annotated[
        str | None,
        Option(
            metavar="NAME",
            autocompletion=completion.list_families,
            help="albert, bert, electra, roberta or spanbert.  [default: as the checkpoint says]",
        ),
    ] = None,
    revision: Annotated[str | None, Option(metavar="NAME", help="A branch, tag or commit on the hub.")] = None,
    precision: Annotated[
        str,
        Option(
            metavar="NAME,…",
            autocompletion=completion.list_precisions,
            help=f"Supported: {', '.join(PRECISIONS)}; {AUTO} takes the fastest inside --max-drop.",
        ),
    ] = "fp32",
    target: Annotated[
        str | None,
        Option(
            metavar="NAME,…",
            autocompletion=completion.list_targets,
            help=f"Supported: {', '.join(TARGETS)}.  [default: cpu, and what the precisions need]",
        ),
    ] = None,
    calibrate: Annotated[
        str | None, Option(metavar="FILE", help="Texts to calibrate on: lines, JSON Lines, CSV; - is stdin.")
    ] = None,
    samples: Annotated[int, Option(min=1, help="How many texts to draw.")] = 256,
    observer: Annotated[
        str | None, Option(metavar="NAME", help=f"How ranges are chosen: {', '.join(OBSERVERS)}.")
    ] = None,
    ranges: Annotated[
        Path | None, Option(metavar="BUNDLE", help="Ranges of another bundle, or their file, instead of texts.")
    ] = None,
    labelled: Annotated[
        str | None, Option("--eval", metavar="FILE", help="Labelled texts to judge every variant on.")
    ] = None,
    max_drop: Annotated[
        str | None, Option(metavar="SHARE", help="What a variant may lose of its accuracy, such as 0.5%.")
    ] = None,
    reduce_range: Annotated[
        bool | None,
        Option(
            "--reduce-range/--full-range",
            help="int8 weights for x86 without VNNI, or for all others.  [default: as this machine needs]",
        ),
    ] = None,
    profile: Annotated[list[str] | None, Option(metavar="MIN:OPT:MAX", help="Such as 1x16:8x128:32x512.")] = None,
    hidden_states: Annotated[bool, Option("--hidden-states", help="Add every layer's hidden states.")] = False,
    build: Annotated[
        bool | None,
        Option(
            "--build/--no-build",
            help="Put TensorRT's plans into the bundle.  [default: where the target is tensorrt and its library here]",
        ),
    ] = None,
    out: Annotated[Path | None, Option(metavar="DIR", help="The bundle's folder.  [default: NAME.bvx]")] = None,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace a bundle that is there.")] = False,
    random_weights: Annotated[bool, Option("--random-weights", help="Fill a known architecture.")] = False,
    allow_new_head: Annotated[
        bool, Option("--allow-new-head", help="Draw the task's head if the checkpoint has none.")
    ] = False,
    seed: Annotated[int | None, Option(min=0, help="Seed of the random weights.  [default: 0]")] = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> Work:
    """Turn a checkpoint into a bundle. Without proof that it says what PyTorch says, nothing is written."""

    def work(shell: Shell) -> int:
        from ..request import Request, make_plan

        plan = make_plan(
            Request(
                model=model, task=task, family=family, revision=revision, precision=precision, target=target,
                profiles=tuple(profile or ()), hidden_states=hidden_states, out=out, overwrite=overwrite,
                random_weights=random_weights, allow_new_head=allow_new_head, seed=seed,
                calibrate=calibrate, samples=samples, observer=observer, ranges=ranges, labelled=labelled,
                max_drop=max_drop, reduce_range=reduce_range,
            )
        )  # fmt: skip
        if build and "tensorrt" not in plan.targets:
            raise PlanError("--build makes plans for the target tensorrt, which is not asked for.", "Add it: --target.")
        result = None
        try:
            from ..pipeline import export

            with shell.watching():
                result = export(plan, shell, sys.stdin.buffer if sys.stdin else None)
                if build is not False and "tensorrt" in plan.targets:
                    from ..building import build_into

                    build_into(result.path, plan.out, bool(build), shell)
        except KeyboardInterrupt as error:
            if result is not None:
                raise Interrupted(f"Interrupted; the bundle in {plan.out} is whole, without engines.") from error
            raise Interrupted("Interrupted; nothing was written.") from error
        from ..inspection import describe_export, list_files
        from ..views import view_details, view_export

        document = describe_export(result.path, plan.out, shell.warnings)
        shell.detail(*view_details(document, list_files(result.path)))
        shell.answer(document, view_export(document))
        return 0

    return work
