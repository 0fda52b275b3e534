"""The one road from a checkpoint to a bundle, readable from top to bottom."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir

from .. import __version__
from ..runtime.bundle import Bundle
from ..runtime.errors import ParityFailed, PlanError
from ..runtime.golden import write_golden
from ..runtime.loading import load
from ..runtime.manifest import FORMAT, Manifest, PassLog, TensorSpec, Variant
from ..runtime.parity import ParityReport, Tolerance
from . import parity
from .capture import capture
from .checkpoint import Checkpoint, load_checkpoint
from .gate import check_canonical
from .passes import CANONICAL, run_passes
from .plan import ExportPlan
from .progress import Progress, Silent
from .seal import check_target, publish, seal, staging
from .storage import save_graph
from .targets import CANONICAL_FILE, Lowering, find_lowering

__all__ = ["ExportResult", "export"]

GOLDEN = "golden.safetensors"

_TOOLS = ("torch", "transformers", "onnx", "onnx-ir", "onnxscript", "onnxruntime", "tokenizers", "safetensors", "numpy")


@dataclass(frozen=True)
class ExportResult:
    """What an export made: where it is, what its bvx.json says, and the proof for each variant."""

    path: Path
    manifest: Manifest
    reports: tuple[ParityReport, ...]


def export(plan: ExportPlan, progress: Progress | None = None) -> ExportResult:
    """Export a checkpoint to a sealed bundle at `plan.out`.

    Raises PlanError, UnknownFamily, CheckpointError, UnsupportedModel, BundleError, or ParityFailed; whatever is
    raised, nothing is published and nothing is left behind.
    """
    progress = progress or Silent()
    plan.check()
    check_target(plan.out, plan.overwrite)
    checkpoint = load_checkpoint(plan, progress)
    _check_profiles(plan, checkpoint.max_length)
    canonical, logs = make_canonical(checkpoint, plan.hidden_states, progress)
    with staging(plan.out, plan.overwrite) as stage:
        _write_files(stage.folder, checkpoint)
        lowerings = _lowerings(plan)
        passes = {"canonical": tuple(logs), **_write_graphs(stage.folder, canonical, lowerings)}
        manifest = replace(_describe(checkpoint, canonical, lowerings, passes), profiles=plan.profiles)
        del canonical  # the weights are on disk now, and the proof needs the memory
        seal(stage.folder, manifest)
        manifest, reports = _prove(stage.folder, manifest, checkpoint, progress)
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


def _lowerings(plan: ExportPlan) -> list[Lowering]:
    """Each precision goes to the targets that support it; `plan.check` has seen to it that none goes nowhere."""
    found = (find_lowering(target, precision) for precision in plan.precisions for target in plan.targets)
    return [lowering for lowering in found if lowering is not None]


def _write_files(folder: Path, checkpoint: Checkpoint) -> None:
    files = {**checkpoint.extra_files, **(checkpoint.tokenizer.files if checkpoint.tokenizer else {})}
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _write_graphs(
    folder: Path, canonical: ir.Model, lowerings: Sequence[Lowering]
) -> Mapping[str, tuple[PassLog, ...]]:
    """Write the canonical graph and every lowered one; what each lowering did, per variant."""
    save_graph(canonical, folder / CANONICAL_FILE)
    logs = {}
    for lowering in lowerings:
        if lowering.rewrite is not None:
            lowered = canonical.clone()
            logs[f"{lowering.precision}/{lowering.target}"] = tuple(lowering.rewrite(lowered, None))
            save_graph(lowered, folder / lowering.file)
    return logs


def _describe(
    checkpoint: Checkpoint,
    canonical: ir.Model,
    lowerings: Sequence[Lowering],
    passes: Mapping[str, tuple[PassLog, ...]],
) -> Manifest:
    return Manifest(
        format=FORMAT,
        bvx_version=__version__,
        model=checkpoint.model_info,
        family=checkpoint.family.name,
        task=checkpoint.task.name,
        head=checkpoint.head,
        inputs=tuple(_spec(value) for value in canonical.graph.inputs),
        outputs=tuple(_spec(value) for value in canonical.graph.outputs),
        input_limits=_limits(checkpoint),
        max_length=checkpoint.max_length,
        tokenizer=checkpoint.tokenizer.info if checkpoint.tokenizer else None,
        tolerances=checkpoint.family.tolerances,
        variants=tuple(
            Variant(one.precision, one.target, one.file, "verified", engine_options=one.engine_options)
            for one in lowerings
        ),
        files=(),
        passes=passes,
        tools={name: _version(name) for name in _TOOLS if _version(name)},
    )


def _limits(checkpoint: Checkpoint) -> dict[str, int]:
    """How many rows the table has that each input is looked up in."""
    sizes = {"input_ids": "vocab_size", "token_type_ids": "type_vocab_size"}
    known = {name: checkpoint.config.get(size) for name, size in sizes.items() if name in checkpoint.family.inputs}
    return {name: int(size) for name, size in known.items() if size}


def _spec(value: ir.Value) -> TensorSpec:
    assert value.shape is not None and value.dtype is not None
    shape = tuple(size if isinstance(size, int) else str(size) for size in value.shape)
    return TensorSpec(str(value.name), value.dtype.numpy().name, shape)


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _prove(
    folder: Path, manifest: Manifest, checkpoint: Checkpoint, progress: Progress
) -> tuple[Manifest, tuple[ParityReport, ...]]:
    """Check every variant through the runtime that will serve it, and write the golden values.

    Raises ParityFailed, with the worst case, the output, the length and the layer, when any variant fails.
    """
    golden = parity.golden_cases(checkpoint, [spec.name for spec in manifest.outputs])
    reports = []
    variants = []
    for variant in manifest.variants:
        with load(folder, precision=variant.precision, check_hashes=False) as encoder:
            report = parity.check(checkpoint, encoder, manifest.tolerances[variant.precision], progress)
            if not report:
                raise ParityFailed(
                    report.summary(), "Nothing was written. Please report this with the checkpoint's name."
                )
            golden = tuple(case.with_found(variant.key, encoder.run(**case.inputs)) for case in golden)
        reports.append(report)
        variants.append(replace(variant, verified_on=report.machine))
    write_golden(folder / GOLDEN, golden)
    rows = {report.variant: tuple(row.to_dict() for row in report.rows) for report in reports}
    tolerances = {**manifest.tolerances, **_widest(manifest, reports)}
    return replace(manifest, variants=tuple(variants), parity=rows, tolerances=tolerances), tuple(reports)


def _widest(manifest: Manifest, reports: Sequence[ParityReport]) -> dict[str, Tolerance]:
    """Per precision, what a row was allowed at the most: golden values are checked on other machines by the same."""
    widest = {}
    for variant, report in zip(manifest.variants, reports, strict=True):
        allowed = [row.tolerance for row in report.rows]
        widest[variant.precision] = replace(
            manifest.tolerances[variant.precision],
            max_abs=max(one.max_abs for one in allowed),
            mean_abs=max(one.mean_abs for one in allowed),
        )
    return widest
