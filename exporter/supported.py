"""The targets and precisions that an export may be asked for. Nothing is imported here, so that help is quick."""

from __future__ import annotations

__all__ = ["PRECISIONS", "TARGETS"]

TARGETS: dict[str, tuple[str, ...]] = {"cpu": ("fp32",)}
"""The precisions of each target. A test holds them beside targets.LOWERINGS, whose rewriting needs onnx_ir."""

PRECISIONS: tuple[str, ...] = tuple(dict.fromkeys(name for names in TARGETS.values() for name in names))
