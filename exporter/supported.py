"""The targets and precisions that an export may be asked for. Nothing is imported here, so that help is quick."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["AUTO", "CALIBRATED", "INTEGER", "OBSERVERS", "PRECISIONS", "TARGETS", "choose_targets"]

TARGETS: dict[str, tuple[str, ...]] = {
    "cpu": ("fp32", "int8", "int8-dynamic"),
    "cuda": ("fp32", "fp16"),
    "tensorrt": ("fp32", "fp16", "bf16", "int8", "fp8"),
}
"""The precisions of each target. A test holds them beside targets.LOWERINGS, whose rewriting needs onnx_ir."""

PRECISIONS: tuple[str, ...] = tuple(dict.fromkeys(name for names in TARGETS.values() for name in names))

AUTO = "auto"
"""Instead of a precision: fp32 and int8 are made for this machine's processor, and the faster one comes first."""

CALIBRATED: tuple[str, ...] = ("int8", "int8-dynamic", "fp16", "bf16", "fp8")
"""The precisions whose graph depends on what real texts do in it."""

INTEGER: tuple[str, ...] = ("int8", "int8-dynamic", "fp8")
"""Those that a recipe decides: weights and activations of 8 bits."""

OBSERVERS: tuple[str, ...] = ("minmax", "moving-average", "percentile", "entropy", "mse")


def choose_targets(precisions: Sequence[str]) -> tuple[str, ...]:
    """The targets when none is named: the processor, and those that a precision needs which it cannot run."""
    beyond = [name for name in precisions if name in PRECISIONS and name not in TARGETS["cpu"]]
    others = [target for target, able in TARGETS.items() if target != "cpu" and any(name in able for name in beyond)]
    needs_cpu = not beyond or any(name in TARGETS["cpu"] for name in precisions)
    return (*(("cpu",) if needs_cpu else ()), *others)
