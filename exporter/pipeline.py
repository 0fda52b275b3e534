"""The one road from a checkpoint to a bundle, readable from top to bottom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import onnx_ir as ir

from ..runtime.bundle import Bundle
from ..runtime.errors import PlanError
from ..runtime.manifest import Manifest, PassLog
from ..runtime.parity import ParityReport
from .budget import keep_within
from .capture import capture
from .checkpoint import Checkpoint, load_checkpoint
from .description import describe
from .gate import check_canonical
from .judgement import judge, read_questions
from .lowering import find_lowerings, lower
from .passes import CANONICAL, run_passes
from .plan import ExportPlan
from .progress import Progress, Silent
from .proof import prove
from .quantization import quantise
from .seal import check_target, publish, seal, staging
from .storage import save_graph
from .targets import CANONICAL_FILE

__all__ = ["ExportResult", "export"]


@dataclass(frozen=True)
class ExportResult:
    """What an export made: where it is, what its bvx.json says, and the proof for each variant."""

    path: Path
    manifest: Manifest
    reports: tuple[ParityReport, ...]


def export(plan: ExportPlan, progress: Progress | None = None, stdin: BinaryIO | None = None) -> ExportResult:
    """Export a checkpoint to a sealed bundle at `plan.out`. `stdin` is what texts called "-" are read from.

    Raises PlanError, UnknownFamily, CheckpointError, UnsupportedModel, CalibrationError, BundleError, or ParityFailed;
    whatever is raised, nothing is published and nothing is left behind.
    """
    progress = progress or Silent()
    plan.check()
    check_target(plan.out, plan.overwrite)
    checkpoint = load_checkpoint(plan, progress)
    _check_profiles(plan, checkpoint.max_length)
    labelled = read_questions(plan, checkpoint)
    canonical, logs = make_canonical(checkpoint, plan.hidden_states, progress)
    with staging(plan.out, plan.overwrite) as stage:
        _write_files(stage.folder, checkpoint)
        save_graph(canonical, stage.folder / CANONICAL_FILE)
        manifest = describe(plan, checkpoint, canonical, logs)
        quantised = quantise(plan, checkpoint, canonical, stage.folder, progress, stdin)
        questions = labelled or (quantised.sample if quantised else None)
        quantised = keep_within(plan, stage.folder, manifest, canonical, quantised, questions, progress)
        manifest = lower(stage.folder, canonical, find_lowerings(plan), quantised, manifest, progress)
        del canonical  # the weights are on disk now, and the proof needs the memory
        seal(stage.folder, manifest)
        manifest, reports = prove(stage.folder, manifest, checkpoint, progress)
        manifest = judge(plan, stage.folder, manifest, questions, progress)
        if quantised and quantised.tradeoff:
            manifest = replace(manifest, tradeoff=quantised.tradeoff)
        progress.stage("seal")
        path = publish(stage, manifest)
    return ExportResult(path, Bundle.open(path, check_hashes=False).manifest, reports)


def make_canonical(
    checkpoint: Checkpoint, hidden_states: bool = False, progress: Progress | None = None
) -> tuple[ir.Model, Sequence[PassLog]]:
    """The canonical graph of a loaded checkpoint, gated, and what each pass did."""
    progress = progress or Silent()
    outputs = list(checkpoint.outputs)
    if hidden_states:
        layers = checkpoint.family.layers(checkpoint.config)
        outputs += [f"hidden_states.{index}" for index in range(layers + 1)]
    progress.stage("capture")
    model = capture(checkpoint.model, checkpoint.family.inputs, outputs)
    progress.stage("passes", len(CANONICAL))
    logs = run_passes(model, progress=lambda name: progress.advance(detail=name))
    weights = 4 * checkpoint.model_info.parameters
    check_canonical(model, checkpoint.family, checkpoint.config, checkpoint.task.name, weights)
    return model, logs


def _check_profiles(plan: ExportPlan, max_length: int) -> None:
    for profile in plan.profiles:
        if profile.max[1] > max_length:
            raise PlanError(
                f"A profile reaches to {profile.max[1]} tokens; this model takes at most {max_length}.",
                f"End --profile at a length of {max_length} or less.",
            )


def _write_files(folder: Path, checkpoint: Checkpoint) -> None:
    files = {**checkpoint.extra_files, **(checkpoint.tokenizer.files if checkpoint.tokenizer else {})}
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
