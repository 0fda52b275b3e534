"""Parity of a graph that bvx did not make, such as Optimum's, with the checkpoint that it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ... import __version__
from ...runtime.bundle import MANIFEST, Bundle
from ...runtime.encoder import Encoder
from ...runtime.errors import BvxError, CheckpointError, PlanError
from ...runtime.feeds import Batch
from ...runtime.heads.similarity import SimilarityHead
from ...runtime.machine import describe
from ...runtime.manifest import FORMAT, Manifest, TensorSpec, Variant
from ...runtime.parity import ParityReport, ParityRow, Tolerance, compare
from ..plan import ExportPlan
from ..progress import Progress, Silent

if TYPE_CHECKING:
    # What needs torch or onnx is imported where it is used: a bundle is told from a graph on machines without them.
    from ..cases import Case
    from ..checkpoint import Checkpoint
    from .graph import ForeignGraph, Translated

__all__ = ["find_graph", "verify_graph"]


def find_graph(path: str | Path) -> Path | None:
    """The ONNX file that `path` means; None for a bundle, and where there is no ONNX file.

    In a folder that is model.onnx, onnx/model.onnx, or the one file in either place. Raises PlanError, listing them,
    when several could be meant.
    """
    path = Path(path).expanduser()
    if path.suffix == ".onnx" and path.is_file():
        return path
    if not path.is_dir() or (path / MANIFEST).exists():
        return None
    found = [*sorted(path.glob("*.onnx")), *sorted(path.glob("onnx/*.onnx"))]
    usual = [file for file in found if file.name == "model.onnx"]
    if len(found) > 1 and not usual:
        names = ", ".join(file.relative_to(path).as_posix() for file in found)
        raise PlanError(f"{path} holds several graphs: {names}.", f"Name the one that is meant, such as {found[0]}.")
    return next(iter(usual or found), None)


def verify_graph(
    file: Path, against: str | None, task: str | None = None, engine: str = "auto", progress: Progress | None = None
) -> ParityReport:
    """Compare the ONNX file with the checkpoint `against` (a hub id or folder), live, on the cases of every bundle.

    `task` is by default the one that the graph's outputs and the checkpoint show. What cannot be compared is said to
    `progress`. A graph of lower precision is held to its family's tolerance for that precision, and where there is
    none to that of fp32. Rows that are masked whole do not count for a graph in fp32 that differs only there.

    Raises PlanError where `against` or a task is missing, what opening the graph and loading the checkpoint raise,
    CheckpointError when the graph's outputs are not those of such a model, and ParityFailed when it does not run.
    """
    progress = progress or Silent()
    if against is None:
        raise PlanError(
            f"{file} was not made by bvx, so there is no proof in it to check.",
            f"Pass the checkpoint that it was made from: --against {_likely_origin(file)}.",
        )
    from .. import parity
    from .graph import open_graph
    from .outputs import translate

    progress.stage(f"load {file.name}")
    graph = open_graph(file, engine)
    try:
        checkpoint = _load_origin(graph, against, task, progress)
        translated = translate(graph, checkpoint, progress)
        _tell_limits(graph, checkpoint, progress)
        # What bvx's own int8 may differ by says nothing of how another tool quantised.
        tolerance = checkpoint.family.tolerances["fp32"]
        cases = [case for case in parity.cases_for(checkpoint) if _is_answerable(case, graph)]
        encoder = _as_encoder(translated, checkpoint)
        rows = _compare_embeddings(translated, checkpoint, cases, tolerance)
        if encoder.manifest.outputs:
            found = parity.check(checkpoint, encoder, tolerance, progress, locate=False).rows
            answerable = {case.name for case in cases}
            rows = (*(row for row in found if graph.reads_mask or row.case in answerable), *rows)
    finally:
        graph.engine.close()
    report = ParityReport(file.name, f"{translated.name} {translated.version}", rows, describe())
    empty = {case.name for case in cases if not case.feeds["attention_mask"].any(axis=1).all()}
    if graph.precision == "fp32" and not report and all(row.passed for row in rows if row.case not in empty):
        progress.warn(_explain(report, cases, None))
        return replace(report, rows=tuple(row for row in rows if row.case not in empty))
    if not report:
        known = graph.precision == "fp32"
        progress.warn(_explain(report, cases, None if known else graph.precision))
    return report


def _likely_origin(file: Path) -> str:
    """The checkpoint that lies beside the file, if one does: on the hub both are often in one repository."""
    for folder in (file.parent, file.parent.parent):
        if (folder / "config.json").is_file() and any(folder.glob("*.safetensors")):
            return str(folder)
    return "CHECKPOINT, a hub id or a local folder"


def _load_origin(graph: ForeignGraph, against: str, asked: str | None, progress: Progress) -> Checkpoint:
    """The checkpoint with the head of the graph's task, reading what the graph reads and no longer texts."""
    from ..checkpoint import load_checkpoint
    from .graph import INPUTS
    from .outputs import find_task_of

    names = [spec.name for spec in graph.engine.outputs]
    chosen = asked or find_task_of(names, against, progress)
    try:
        checkpoint = load_checkpoint(ExportPlan(model=against, out=Path(), task=chosen), progress)
    except PlanError:
        raise
    except BvxError as error:
        raise CheckpointError(
            f"{graph.file} gives {', '.join(names)}, and {against} could not be loaded for {chosen}. {error.cause}",
            "Name the checkpoint that the graph was made from, or say what the graph is for with --task.",
        ) from error
    # The cases need a mask; a graph that reads none is compared where it hides nothing.
    inputs = [name for name in INPUTS if name == "attention_mask" or name in graph.inputs]
    return replace(
        checkpoint,
        family=replace(checkpoint.family, inputs=tuple(inputs)),
        max_length=min(checkpoint.max_length, graph.width or checkpoint.max_length),
    )


def _as_encoder(translated: Translated, checkpoint: Checkpoint) -> Encoder:
    """The graph as a bundle in memory, so that it is asked and compared as every bundle is; its own pooling apart."""
    from .outputs import EMBEDDING

    graph = translated.graph
    engine = translated.only(name for name in translated.names if name != EMBEDDING)
    variant = Variant(graph.precision, "cpu", graph.file.name, "verified")
    manifest = Manifest(
        format=FORMAT,
        bvx_version=__version__,
        model=checkpoint.model_info,
        family=checkpoint.family.name,
        task=checkpoint.task.name,
        head={},
        inputs=tuple(TensorSpec(name, "int64", ("batch", "sequence")) for name in checkpoint.family.inputs),
        outputs=engine.outputs,
        max_length=checkpoint.max_length,
        tokenizer=None,
        variants=(variant,),
        files=(),
    )
    return Encoder(Bundle(graph.file.parent, manifest), variant, engine)


def _is_answerable(case: Case, graph: ForeignGraph) -> bool:
    """Whether the graph reads a mask, or does without one: there is no padding."""
    mask = case.feeds["attention_mask"]
    return graph.reads_mask or (bool(mask.all()) and graph.width in (None, mask.shape[1]))


def _compare_embeddings(
    translated: Translated, checkpoint: Checkpoint, cases: Sequence[Case], tolerance: Tolerance
) -> tuple[ParityRow, ...]:
    """The graph's own pooling beside the checkpoint's, on texts padded on the right as sentence-transformers pads."""
    from .. import parity
    from .outputs import EMBEDDING

    if EMBEDDING not in translated.names:
        return ()
    head = SimilarityHead(tuple(checkpoint.head["pooling"]), checkpoint.head["normalize"])
    rows = []
    for case in cases:
        mask = case.feeds["attention_mask"]
        if not mask[:, 0].all():
            continue
        states = parity.reference(checkpoint.model, case.feeds, ("last_hidden_state",))
        expected = np.stack(head.decode(states, Batch((), (), {"attention_mask": mask}), None))
        found = translated.run(case.feeds, [EMBEDDING])[EMBEDDING]
        batch, length = mask.shape
        rows.append(compare(case.name, EMBEDDING, expected, found, tolerance, batch=batch, length=length))
    return tuple(rows)


def _tell_limits(graph: ForeignGraph, checkpoint: Checkpoint, progress: Progress) -> None:
    """Say what of the checkpoint the graph leaves no way to compare."""
    name = graph.file.name
    if not graph.reads_mask:
        progress.warn(f"{name} reads no attention_mask: it takes padding for text. It was compared without padding.")
    if "token_type_ids" not in graph.inputs and int(checkpoint.config.get("type_vocab_size") or 1) > 1:
        progress.warn(
            f"{name} reads no token_type_ids: it takes the second text of a pair for more of the first. It was "
            "compared with PyTorch doing the same."
        )
    if graph.rows or graph.width:
        progress.warn(
            f"{name} takes nothing but {graph.rows or 'any'} x {graph.width or 'any'} (batch x length): batches were "
            "cut into such pieces and filled up with padding. Longer texts were not compared."
        )


def _explain(report: ParityReport, cases: Sequence[Case], precision: str | None) -> str:
    """What a reader has to know to judge a report that failed; `precision` is one that bvx has no tolerance for."""
    masks = {case.name: case.feeds["attention_mask"] for case in cases}
    empty = {name for name, mask in masks.items() if not mask.any(axis=1).all()}
    left = {name for name, mask in masks.items() if (mask.any(axis=1) & (mask[:, 0] == 0)).any()}
    failed = {row.case for row in report.rows if not row.passed}
    usual = [row for row in report.rows if row.case not in empty | left]
    if not usual:
        return "None of the cases fits the one shape that this graph takes."
    figures = (
        f"largest difference {max(row.max_abs for row in usual):.1e} of its scale, "
        f"mean {max(row.mean_abs for row in usual):.1e}, cosine {min(row.cosine for row in usual):.7f}"
    )
    if precision is not None:
        return (
            f"bvx has no tolerance for {precision}: this graph was held to fp32's, and did not pass. On texts padded "
            f"on the right: {figures}. Your own task has to show whether that will do."
        )
    if failed <= empty:
        return (
            "Rows that are masked whole differ, and are left out of the judgement: they hold no text. A graph that "
            "attends to everything there, as eager attention does, differs from PyTorch's SDPA, which attends to "
            f"nothing. On texts padded on the right: {figures}."
        )
    if failed <= empty | left:
        return (
            "Only rows that are padded on the left, or masked whole, differ: a graph that takes the mask for a length, "
            "as ONNX Runtime's fused attention does, reads other tokens there. On texts padded on the right: "
            f"{figures}."
        )
    return f"On texts padded on the right: {figures}."
