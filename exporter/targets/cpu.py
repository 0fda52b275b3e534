"""ONNX Runtime's CPU engine.

In fp32 the canonical graph is the fastest of the forms measured (docs/cpu.md has the table, `make bench-forms` makes
it anew): QKV in one GEMM, MultiHeadAttention and com.microsoft.Attention are no faster than `Attention` on 3-D inputs.
What is left is to keep ONNX Runtime from undoing it.
"""

from __future__ import annotations

__all__ = ["ENGINE_OPTIONS"]

ENGINE_OPTIONS = {"disabled_optimizers": ["SkipLayerNormFusion", "BiasGeluFusion"]}
"""ONNX Runtime fuses Add with LayerNormalization, and Add with Gelu, into operators whose CPU kernels are slower."""
