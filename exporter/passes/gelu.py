"""The tanh approximation of GELU is one operator."""

from __future__ import annotations

import math

import onnx_ir as ir
from onnxscript.rewriter import RewriteRuleClassBase, RewriteRuleSet
from onnxscript.rewriter._basics import MatchResult

from ...runtime.manifest import PassLog

__all__ = ["fuse_tanh_gelu"]

WANTED = {"half": 0.5, "three": 3.0, "cubic": 0.044715, "slope": math.sqrt(2 / math.pi), "one": 1.0}
"""Hendrycks and Gimpel, "Gaussian Error Linear Units", arXiv 1606.08415, section 2."""


class _TanhGelu(RewriteRuleClassBase):
    """`0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))` becomes `Gelu(x, approximate="tanh")`."""

    def __init__(self, refusals: dict[str, int]) -> None:
        super().__init__()
        self.refusals = refusals

    def pattern(self, op, x, half, three, cubic, slope, one):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        inner = op.Add(x, op.Mul(op.Pow(x, three), cubic))
        return op.Mul(op.Mul(x, half), op.Add(op.Tanh(op.Mul(inner, slope)), one))

    def check(self, context, x, **constants):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN003, ANN202
        for name, wanted in WANTED.items():
            tensor = ir.convenience.get_const_tensor(constants[name])
            # Exporters round the constants to float32 or to the digits that a paper prints.
            if tensor is None or tensor.size != 1 or not math.isclose(tensor.numpy().item(), wanted, rel_tol=1e-5):
                reason = f"where GELU has {wanted:.6g}, the graph has something else"
                self.refusals[reason] = self.refusals.get(reason, 0) + 1
                return MatchResult().fail(reason)
        return MatchResult()

    def rewrite(self, op, x, **_):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN003, ANN202
        return op.Gelu(x, approximate="tanh")


def fuse_tanh_gelu(model: ir.Model) -> PassLog:
    """`gelu_new` and `gelu_pytorch_tanh` spelt out become one Gelu, which engines have a kernel for."""
    refusals: dict[str, int] = {}
    rules = RewriteRuleSet([_TanhGelu.rule(refusals)], commute=True)
    return PassLog("fuse_tanh_gelu", rules.apply_to_model(model), refusals)
