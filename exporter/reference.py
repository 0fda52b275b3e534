"""onnx's reference evaluator: numbers of graphs that no engine on this machine runs, such as bf16 and fp8."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from onnx.reference.ops.op_attention import Attention_23
from onnx.reference.ops.op_gemm import Gemm_7
from onnx.reference.ops.op_layer_normalization import LayerNormalization
from onnx.reference.ops.op_matmul import MatMul

from ..runtime.errors import EngineMismatch, InputError

__all__ = ["check_lowered"]

_ERF = np.vectorize(math.erf, otypes=[np.float32])


def check_lowered(path: Path, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The outputs of the ONNX file at `path` for `feeds`, in the types and with the rounding that the graph says.

    What GPUs add up in float32 is added up so here too, and rounded once: products, LayerNormalization, Attention and
    Gelu. It is for proofs, not for speed: about 50 times slower than an engine. Raises EngineMismatch where the
    evaluator does not know an operator, and InputError where an input is missing.
    """
    model = onnx.load(path)
    missing = [value.name for value in model.graph.input if value.name not in feeds]
    if missing:
        raise InputError(f"{path.name} reads {', '.join(missing)} too.", "Give every input of the graph.")
    try:
        evaluator = ReferenceEvaluator(model, new_ops=list(_OPERATORS))
        found = evaluator.run(None, dict(feeds))
    except (NotImplementedError, RuntimeError) as error:
        raise EngineMismatch(
            f"onnx's reference evaluator {onnx.__version__} cannot run {path.name}: {error}",
            "Verify this variant on its own engine.",
        ) from error
    return dict(zip((value.name for value in model.graph.output), found, strict=True))


def _widen(value: Any) -> Any:
    """Floats of fewer bits as float32; masks, None and float32 itself as they are."""
    narrow = value is not None and value.dtype not in (np.bool_, np.float32) and value.dtype.itemsize <= 2
    return value.astype(np.float32) if narrow else value


class _Rounded(OpRun):
    """An operator that computes in float32 and rounds its outputs to the type of its first input."""

    def _run(self, *inputs: Any, **attributes: Any) -> tuple[Any, ...]:
        plain: Any = super()
        return tuple(value.astype(inputs[0].dtype) for value in plain._run(*map(_widen, inputs), **attributes))


class _PlainGelu(OpRun):
    def _run(self, x: Any, approximate: str = "none") -> tuple[Any]:
        """Hendrycks and Gimpel, "Gaussian Error Linear Units", arXiv 1606.08415, section 2."""
        if approximate == "tanh":
            return (0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),)
        return (0.5 * x * (1 + _ERF(x / math.sqrt(2))),)


_PLAIN: dict[str, type[OpRun]] = {
    "Attention": Attention_23,
    "Gelu": _PlainGelu,
    "Gemm": Gemm_7,
    "LayerNormalization": LayerNormalization,
    "MatMul": MatMul,
}
"""Where onnx's own are not right or not what a GPU does: LayerNormalization's stash_type, sums in the narrow type."""

_OPERATORS = tuple(type(name, (_Rounded, plain), {"op_domain": ""}) for name, plain in _PLAIN.items())
