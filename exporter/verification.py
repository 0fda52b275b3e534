"""Parity again, on this machine: with the golden values alone, without torch, or with the live model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..runtime.bundle import Bundle
from ..runtime.encoder import Encoder
from ..runtime.engines import ENGINES, Candidate, find_engine, list_candidates
from ..runtime.errors import BvxError, CheckpointError, EngineMismatch, PlanError
from ..runtime.golden import read_golden
from ..runtime.loading import load
from ..runtime.manifest import Manifest, Variant
from ..runtime.parity import ParityReport
from .foreign.verification import find_graph, verify_graph
from .plan import ExportPlan
from .progress import Progress, Silent

if TYPE_CHECKING:
    # What needs torch or onnx is imported where it is used: golden values are checked on machines without them.
    from .bisect import Divergence
    from .checkpoint import Checkpoint

__all__ = ["Verification", "verify"]

_CANONICAL = "onnx/model.onnx"

_LEAVE_OUT = "Leave it out."


@dataclass(frozen=True)
class Verification:
    """A report for each variant that was checked, and for failed ones, where they diverge if that was asked for.

    Truthy when every report is.
    """

    reports: tuple[ParityReport, ...]
    divergences: tuple[Divergence, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.reports) and all(self.reports)

    def to_dict(self) -> dict[str, Any]:
        return {
            "passed": bool(self),
            "reports": [{**report.to_dict(), "summary": report.summary()} for report in self.reports],
            "divergences": [divergence.to_dict() for divergence in self.divergences],
        }


def verify(
    bundle: str | Path,
    against: str | None = None,
    precision: str | None = None,
    engine: str = "auto",
    bisect: bool = False,
    progress: Progress | None = None,
    task: str | None = None,
    strict: bool = False,
) -> Verification:
    """Check every variant of `bundle`, or those of one `precision`, that `engine` serves here.

    With "auto" a variant whose engine is not here, or lacks its GPU or its plan, is left out, and `progress` warned of
    it; `strict` refuses instead.

    Without `against` they are compared with the bundle's golden values. `against` names the model that the bundle was
    made from (hub id, folder, or for random weights the architecture), which is loaded and asked live. `bisect` looks
    for the first operator that diverges in each variant that fails: against PyTorch, or without `against` against the
    bundle's canonical graph.

    `bundle` may also be an ONNX file that bvx did not make, or a folder of Optimum or sentence-transformers that holds
    one: it is compared with `against`, as a graph for `task` where that is not None (see verify_graph).

    Raises BundleError, EngineMismatch, PlanError, and what loading the model raises; CheckpointError when the model is
    not of the bundle's family, task and size.
    """
    progress = progress or Silent()
    foreign = find_graph(bundle)
    if foreign is not None:
        return _verify_foreign(foreign, against, task, precision, engine, bisect, progress)
    if task is not None:
        raise PlanError("--task is for graphs that bvx did not make; a bundle says itself what it is for.", _LEAVE_OUT)
    opened = Bundle.open(bundle)
    chosen = list(_choose(opened, precision, engine))
    checkpoint = None if against is None else _load_model(against, opened.manifest, progress)
    reports: list[ParityReport] = []
    divergences: list[Divergence] = []
    left_out: list[EngineMismatch] = []
    for variant, choice in chosen:
        try:
            if choice.obstacle is not None:
                raise choice.obstacle
            encoder = load(opened.root, precision=variant.precision, engine=choice.engine, check_hashes=False)
        except EngineMismatch as error:
            if engine != "auto" or strict:
                raise
            left_out.append(error)
            progress.warn(f"{variant.key} was not verified. {error}")
            continue
        with encoder:
            report = _check(encoder, checkpoint, progress, locate=not bisect)
            if bisect and not report:
                divergence = _bisect(encoder, checkpoint, report, progress)
                if divergence is not None:
                    report = replace(report, diverged_at=divergence.layer)
                    divergences.append(divergence)
            reports.append(report)
    if not reports and left_out:
        raise left_out[0]
    return Verification(tuple(reports), tuple(divergences))


def _verify_foreign(
    file: Path,
    against: str | None,
    task: str | None,
    precision: str | None,
    engine: str,
    bisect: bool,
    progress: Progress,
) -> Verification:
    if precision is not None:
        raise PlanError(f"--precision chooses from a bundle's variants; {file} is one graph, not a bundle.", _LEAVE_OUT)
    if bisect:
        raise PlanError(
            f"--bisect reads the names that bvx gives to operators; {file} was made by another tool.", _LEAVE_OUT
        )
    if against is not None:
        _need("--against", "torch", "transformers", "onnx_ir")
    return Verification((verify_graph(file, against, task, engine, progress),))


def _choose(bundle: Bundle, precision: str | None, engine: str) -> Iterator[tuple[Variant, Candidate]]:
    """The variants to check, each with the engine for it. Raises BundleError and EngineMismatch for none."""
    bundle.variant(precision)
    variants = [v for v in bundle.manifest.variants if v.state != "failed" and precision in (None, v.precision)]
    if engine != "auto":
        name, _ = find_engine(engine, [variant.target for variant in variants])
        yield from ((one, Candidate(name, one.target)) for one in variants if one.target in ENGINES[name].targets)
        return
    for variant in variants:
        # Where none can serve, what an installed one lacks says more than that others are not installed.
        choices = sorted(
            list_candidates([variant.target]),
            key=lambda one: (one.obstacle is not None, not ENGINES[one.engine].is_installed),
        )
        yield from ((variant, choice) for choice in choices[:1])


def _check(encoder: Encoder, checkpoint: Checkpoint | None, progress: Progress, locate: bool) -> ParityReport:
    if checkpoint is None:
        progress.stage(f"golden values {encoder.variant.key}")
        return encoder.verify()
    from . import parity

    return parity.check(checkpoint, encoder, encoder.manifest.tolerances[encoder.precision], progress, locate=locate)


def _load_model(against: str, manifest: Manifest, progress: Progress) -> Checkpoint:
    """The model to compare with. Raises CheckpointError when it cannot be what the bundle was made from."""
    _need("--against", "torch", "transformers", "onnx_ir")
    from .checkpoint import load_checkpoint

    mine = f"The bundle is {manifest.family} for {manifest.task} with {manifest.model.parameters:,} parameters"
    origin = f"Name the model that it was made from: {manifest.model.id}."
    random = manifest.model.random and not _has_weights(Path(against).expanduser())
    plan = ExportPlan(
        model=against,
        out=Path(),
        task=manifest.task,
        family=manifest.family,
        revision=manifest.model.revision if against == manifest.model.id and not Path(against).exists() else None,
        random_weights=random,
        allow_new_head=bool(manifest.model.new_weights),
        seed=manifest.model.seed or 0,
    )
    try:
        checkpoint = load_checkpoint(plan, progress)
    except PlanError:
        raise
    except BvxError as error:
        raise CheckpointError(f"{mine}; {against} could not be loaded as that. {error.cause}", origin) from error
    if checkpoint.model_info.parameters != manifest.model.parameters:
        raise CheckpointError(f"{mine}; {against} has {checkpoint.model_info.parameters:,}.", origin)
    missing = {spec.name.partition(".")[0] for spec in manifest.outputs} - {"hidden_states", *checkpoint.outputs}
    if missing:
        raise CheckpointError(f"{mine}; {against} does not give its {', '.join(sorted(missing))}.", origin)
    return checkpoint


def _has_weights(folder: Path) -> bool:
    return folder.is_dir() and any(path.suffix in (".safetensors", ".bin") for path in folder.iterdir())


def _bisect(
    encoder: Encoder, checkpoint: Checkpoint | None, report: ParityReport, progress: Progress
) -> Divergence | None:
    """The first operator that diverges, if one does; what can be said otherwise goes to `progress`."""
    _need("--bisect", "onnx_ir")
    progress.stage(f"bisect {report.variant}")
    if checkpoint is not None:
        from . import parity

        found = parity.find_divergence(checkpoint, encoder, report, encoder.manifest.tolerances[encoder.precision])
        other = "PyTorch"
    else:
        if encoder.variant.file == _CANONICAL or not encoder.bundle.has(_CANONICAL):
            progress.warn(f"{report.variant} can only be bisected against PyTorch: add --against MODEL.")
            return None
        found = _against_canonical(encoder, report)
        other = f"{_CANONICAL} (compare that with PyTorch: --against MODEL)"
    if found is None:
        progress.warn(
            f"With the engine's optimisations switched off, no operator of {report.variant} differs from {other}."
        )
    return found


def _against_canonical(encoder: Encoder, report: ParityReport) -> Divergence | None:
    from .bisect import first_divergence

    worst = report.worst()
    bundle = encoder.bundle
    for case in read_golden(bundle.path("golden.safetensors")):
        if worst is not None and case.name == worst.case:
            graph = bundle.path(encoder.variant.file)
            return first_divergence(graph, bundle.path(_CANONICAL), case.inputs, worst.tolerance)
    return None


def _need(option: str, *modules: str) -> None:
    """Raises BvxError when what `option` needs is not installed: a machine that serves need not have it."""
    from importlib.util import find_spec

    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise BvxError(
            f"{option} needs {', '.join(missing)}, not installed here.",
            "Install it with `pip install bvx[export,cpu]`.",
        )
