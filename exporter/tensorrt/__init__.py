"""ONNX in, TensorRT plan out: one path through TensorRT 10.3 to 11 and TensorRT-RTX, and an audit of what came out."""

from __future__ import annotations

from .audit import Audit, Expectation, audit_layers, expect
from .builder import Plan, build_plan
from .layers import Layer
from .options import ARCHITECTURES, ENGINES, BuildOptions
from .profiles import choose_profiles

__all__ = [
    "ARCHITECTURES",
    "ENGINES",
    "Audit",
    "BuildOptions",
    "Expectation",
    "Layer",
    "Plan",
    "audit_layers",
    "build_plan",
    "choose_profiles",
    "expect",
]
