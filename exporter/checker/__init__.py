"""The static checker: what TensorRT's parser refuses and its compiler does not fuse, found before anything is built."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from ...runtime.errors import BundleError, PlanError
from .attention import ATTENTION_RULES
from .facts import Facts
from .operators import OPERATOR_RULES
from .precision import PRECISION_RULES
from .quantization import QUANTIZATION_RULES
from .rule import Breach, Finding, Rule

__all__ = ["RULES", "TARGETS", "Breach", "Finding", "Rule", "check"]

TARGETS = ("tensorrt",)

RULES: tuple[Rule, ...] = (*OPERATOR_RULES, *PRECISION_RULES, *QUANTIZATION_RULES, *ATTENTION_RULES)
"""Every rule. Each is tested against NVIDIA's own builder; where one is stricter than that, it says why."""


def check(
    model: ir.Model | str | Path, target: str = "tensorrt", version: tuple[int, int] = (10, 14)
) -> tuple[Finding, ...]:
    """What stands against building `model`, a graph or the path of an ONNX file, for `target` from `version` on.

    Findings of severity "refused" stop a build; others cost speed, size or accuracy. No engine is needed, and the
    graph is not changed. Raises PlanError for another target, BundleError where the file cannot be read.
    """
    if target not in TARGETS:
        raise PlanError(f"There are no rules for {target!r}.", f"Check for one of: {', '.join(TARGETS)}.")
    facts = Facts(model if isinstance(model, ir.Model) else _read(Path(model)), version)
    return tuple(
        Finding(rule.name, rule.severity, breach.node, breach.reason, rule.remedy)
        for rule in RULES
        for breach in rule.find(facts)
    )


def _read(path: Path) -> ir.Model:
    try:
        return ir.load(path)
    except Exception as error:
        raise BundleError(
            f"{path} cannot be read as an ONNX file ({' '.join(str(error).split())[:200]}).", "Name an .onnx file."
        ) from error
