"""Does it still say what PyTorch said? The exported graph, on the engine that serves it, against the live model."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from ..calibration.texts import builtin_texts
from ..runtime.differences import measure, scale_of
from ..runtime.encoder import Encoder
from ..runtime.golden import GoldenCase, sample_case
from ..runtime.machine import describe
from ..runtime.parity import ParityReport, ParityRow, Tolerance, compare
from ..runtime.tokenizer import Tokenizer
from .bisect import Divergence, ModuleCall, first_divergence
from .cases import Case, make_cases
from .checkpoint import Checkpoint
from .progress import Progress, Silent

__all__ = ["cases_for", "check", "find_divergence", "golden_cases", "record_modules", "reference"]

_GOLDEN = ("text alone", "pairs of texts, padded left and right", "two tokens", "fully masked rows", "longest")
"""The cases whose answers are kept in the bundle: one for each thing that another machine may do otherwise."""

_SMALL = 512
"""Tokens in a case from which on every module's value at once takes much memory."""

_NUMBERED = re.compile(r".*\.\d+$")

Arrays = Mapping[str, NDArray[Any]]


def check(
    checkpoint: Checkpoint,
    encoder: Encoder,
    tolerance: Tolerance,
    progress: Progress | None = None,
    *,
    locate: bool = True,
    most_tokens: int | None = None,
) -> ParityReport:
    """Run every case through `encoder` and through the checkpoint's model, and compare every output.

    A text that stands in a batch with longer ones is compared with the same text alone: in PyTorch, and in the
    encoder. Cases are run one at a time, with little kept. A case that fails is looked at again with PyTorch's own
    rounding in mind (`_with_rounding`). On failure the report's `diverged_at` is the first layer
    that differs, unless `locate` is False. Cases of more tokens than `most_tokens` are left out.
    """
    progress = progress or Silent()
    every = cases_for(checkpoint)
    cases = [case for case in every if most_tokens is None or case.feeds["input_ids"].size <= most_tokens]
    outputs = tuple(spec.name for spec in encoder.manifest.outputs)
    scales = _typical_scales(checkpoint.model, every, outputs)
    progress.stage(f"parity {encoder.variant.key}", len(cases))
    rows: list[ParityRow] = []
    alone: dict[str, tuple[Arrays, Arrays]] = {}
    by_name = {case.name: case for case in cases}
    needed = {case.inside.alone for case in cases if case.inside}
    for case in cases:
        found = encoder.run(**case.feeds)
        expected = reference(checkpoint.model, case.feeds, outputs)
        if case.name in needed:
            alone[case.name] = expected, found
        by_itself = alone[case.inside.alone] if case.inside else None
        compared = _compare_case(case, expected, found, by_itself, dict.fromkeys(outputs, tolerance), scales)
        if not all(row.passed for row in compared):
            allowed = _with_rounding(checkpoint.model, case, expected, tolerance, scales)
            if case.inside and by_itself:
                # The text alone has a rounding of its own, which a longer batch may not show.
                inner = _with_rounding(checkpoint.model, by_name[case.inside.alone], by_itself[0], tolerance, scales)
                allowed = {name: _wider(allowed[name], inner[name]) for name in allowed}
            compared = _compare_case(case, expected, found, by_itself, allowed, scales)
        rows += compared
        progress.advance(detail=case.name)
    engine = f"{encoder.engine.name} {encoder.engine.version}"
    report = ParityReport(encoder.variant.key, engine, tuple(rows), describe())
    if report or not locate:
        return report
    progress.advance(0, "looking for the first layer that differs")
    divergence = find_divergence(checkpoint, encoder, report, tolerance)
    return replace(report, diverged_at=divergence.layer if divergence else None)


def golden_cases(checkpoint: Checkpoint, outputs: Sequence[str] | None = None) -> tuple[GoldenCase, ...]:
    """A few of the cases with samples of what PyTorch says to them; `outputs` are the task's by default."""
    names = checkpoint.outputs if outputs is None else tuple(outputs)
    cases = cases_for(checkpoint)
    scales = _typical_scales(checkpoint.model, cases, names)
    return tuple(
        sample_case(case.name, case.feeds, reference(checkpoint.model, case.feeds, names), scales)
        for case in cases
        if case.name in _GOLDEN
    )


def _typical_scales(model: torch.nn.Module, cases: Sequence[Case], outputs: Sequence[str]) -> dict[str, float]:
    """The scale of each output over several real texts: that of one text with few values says little."""
    several = max(cases, key=lambda case: len(case.feeds["input_ids"]))
    return {name: scale_of(value) for name, value in reference(model, several.feeds, outputs).items()}


def cases_for(checkpoint: Checkpoint) -> tuple[Case, ...]:
    """The cases for this checkpoint, the same each time; its own tokenizer reads bvx's texts."""
    config, frozen = checkpoint.config, checkpoint.tokenizer
    limits = {"input_ids": int(config["vocab_size"]), "token_type_ids": int(config.get("type_vocab_size") or 1)}
    pad_id = frozen.info.pad_id if frozen else int(config.get("pad_token_id") or 0)
    with tempfile.TemporaryDirectory(prefix="bvx-tokenizer-") as folder:
        tokenizer = None
        if frozen is not None:
            path = Path(folder) / "tokenizer.json"
            path.write_bytes(frozen.files[path.name])
            tokenizer = Tokenizer(path, checkpoint.max_length)
        return make_cases(tokenizer, builtin_texts(), checkpoint.family.inputs, limits, pad_id, checkpoint.max_length)


def reference(model: torch.nn.Module, feeds: Arrays, outputs: Sequence[str]) -> dict[str, NDArray[Any]]:
    """What the model says to `feeds` (int64 [batch, length]), with its two-dimensional mask, as float32 arrays.

    `outputs` are transformers' names; `hidden_states.3` is the fourth of the hidden states.
    """
    tensors = {name: torch.tensor(array) for name, array in feeds.items()}
    with torch.inference_mode():
        found = model(**tensors, output_hidden_states=any(name.startswith("hidden_states.") for name in outputs))
    values: dict[str, NDArray[Any]] = {}
    for name in outputs:
        kind, _, index = name.partition(".")
        value = found[kind][int(index)] if index else found[kind]
        values[name] = value.float().numpy()
    return values


def find_divergence(
    checkpoint: Checkpoint, encoder: Encoder, report: ParityReport, tolerance: Tolerance
) -> Divergence | None:
    """The first operator of the encoder's graph that differs from PyTorch, on the worst case of a failed report.

    None when no operator does: then the engine's own optimisations are at fault, which are switched off here.
    """
    failed = sorted((row for row in report.rows if not row.passed), key=lambda row: -row.severity)
    small = [row for row in failed if row.batch * row.length <= _SMALL]
    cases = {case.name: case for case in cases_for(checkpoint)}
    for row in small or failed:
        if row.case in cases:
            feeds = cases[row.case].feeds
            graph = encoder.bundle.path(encoder.variant.file)
            return first_divergence(graph, record_modules(checkpoint.model, feeds), feeds, tolerance)
    return None


def record_modules(model: torch.nn.Module, feeds: Arrays) -> tuple[ModuleCall, ...]:
    """What every module of the model gave, in the order in which they ended, for `feeds` (int64 [batch, length]).

    A layer that is used again counts as another layer. Modules that hold layers are left out: the names of operators
    begin with the layer.
    """
    layers = _layer_modules(model)
    calls: list[ModuleCall] = []
    entered: list[str] = []

    def enter(path: str) -> Callable[..., None]:
        return lambda module, inputs: entered.append(path)

    def leave(path: str) -> Callable[..., None]:
        def record(module: torch.nn.Module, inputs: Any, output: Any) -> None:
            value = output[0] if isinstance(output, (tuple, list)) and output else output
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                bias = module.bias if isinstance(module, torch.nn.Linear) else None
                calls.append(ModuleCall(_place(path, entered), _array(value), None if bias is None else _array(bias)))

        return record

    with ExitStack() as hooks:
        for path, module in model.named_modules():
            if path in layers:
                hooks.callback(module.register_forward_pre_hook(enter(path)).remove)
            if path and not any(layer.startswith(f"{path}.") for layer in layers):
                hooks.callback(module.register_forward_hook(leave(path)).remove)
        reference(model, feeds, ())
    return tuple(calls)


def _layer_modules(model: torch.nn.Module) -> frozenset[str]:
    """The paths of the modules that are layers: the innermost numbered ones that hold an attention."""
    paths = [path for path, _ in model.named_modules()]
    numbered = {
        path
        for path in paths
        if _NUMBERED.match(path)
        and any(other.startswith(f"{path}.") and "attention" in other[len(path) :] for other in paths)
    }
    return frozenset(path for path in numbered if not any(other.startswith(f"{path}.") for other in numbered))


def _place(path: str, entered: Sequence[str]) -> str:
    """The module's path as node names have it, given the layers that were entered so far."""
    layer = entered[-1] if entered else ""
    if layer and (path == layer or path.startswith(f"{layer}.")):
        return f"layer.{len(entered) - 1}{path[len(layer) :]}"
    return path


def _array(tensor: torch.Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().float().numpy()
    return array


def _compare_case(
    case: Case,
    expected: Arrays,
    found: Arrays,
    alone: tuple[Arrays, Arrays] | None,
    tolerance: Mapping[str, Tolerance],
    scales: Mapping[str, float],
) -> list[ParityRow]:
    """Every output of one case; `alone` is what PyTorch and the encoder said to the text that stands inside it."""
    batch, length = next(iter(case.feeds.values())).shape
    rows = [
        compare(case.name, name, expected[name], found[name], allowed, batch=batch, length=length, typical=scales[name])
        for name, allowed in tolerance.items()
    ]
    return rows + (_compare_inside(case, *alone, found, tolerance, scales) if alone else [])


def _with_rounding(
    model: torch.nn.Module, case: Case, expected: Arrays, tolerance: Tolerance, scales: Mapping[str, float]
) -> dict[str, Tolerance]:
    """What each output may differ by where PyTorch's own fp32 rounding is most of what `tolerance` allows.

    That rounding is PyTorch's fp32 against its float64. Two correct engines can be twice as far apart, so twice the
    rounding is allowed, up to ten times `tolerance`: a deep model that amplifies rounding is not refused for it.
    """
    try:
        exact = reference(model.double(), case.feeds, tuple(expected))
    finally:
        model.float()  # exactly what it was: every float32 is a float64
    allowed = {}
    for name, output in expected.items():
        own = measure(exact[name], output, scale_of(exact[name], scales[name]))
        largest, mean = (
            min(max(limit, 2 * rounding), 10 * limit)
            for limit, rounding in ((tolerance.max_abs, own.max_abs), (tolerance.mean_abs, own.mean_abs))
        )
        allowed[name] = replace(tolerance, max_abs=largest, mean_abs=mean)
    return allowed


def _wider(one: Tolerance, other: Tolerance) -> Tolerance:
    return replace(one, max_abs=max(one.max_abs, other.max_abs), mean_abs=max(one.mean_abs, other.mean_abs))


def _compare_inside(
    case: Case,
    expected: Arrays,
    alone: Arrays,
    together: Arrays,
    tolerance: Mapping[str, Tolerance],
    scales: Mapping[str, float],
) -> list[ParityRow]:
    """The text inside the batch, against PyTorch's and against the encoder's own answer to it alone."""
    inside = case.inside
    assert inside is not None
    batch, length = next(iter(case.feeds.values())).shape
    rows = []
    for name, output in together.items():
        row = output[inside.row : inside.row + 1]
        # Per token or per text: only what has a value per token has grown with the batch's length.
        if row.ndim > 1 and row.shape[1] == length and expected[name].shape[1] == inside.length:
            row = row[:, : inside.length]
        for title, other in (("PyTorch's", expected), ("its own", alone)):
            title = f"{case.name}, with {title} answer to it alone"
            size = {"batch": batch, "length": length, "typical": scales[name]}
            rows.append(compare(title, name, other[name], row, tolerance[name], **size))
    return rows
