"""The audit: what was built is compared with what its label says, and refused where that is not true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from ...calibration.sites import find_linears
from ...runtime.errors import EngineBuildError
from ..checker.facts import Facts
from ..checker.operators import ATTENTION_SINCE
from .layers import Layer

__all__ = ["Audit", "Expectation", "audit_layers", "expect"]

_TYPES = {"fp32": "Float", "fp16": "Half", "bf16": "BFloat16"}
_ATTENTION = "_gemm_mha"


@dataclass(frozen=True)
class Expectation:
    """What a graph with the label `precision` has to become: how many attentions, and linear layers of each kind.

    `quantised` are the linear layers whose input and weight both come from DequantizeLinear.
    """

    precision: str
    attentions: int
    linears: int
    quantised: int


@dataclass(frozen=True)
class Audit:
    """What an engine consists of, per profile: the worst one, where several differ.

    `gemms` counts linear layers by the type that they are computed in; `merged` how often Q, K and V are one GEMM.
    """

    layers: tuple[Layer, ...]
    kernels: int
    fused: int
    merged: int
    gemms: Mapping[str, int]
    attentions: int

    @property
    def kernels_per_layer(self) -> float:
        """Kernels that lie between one attention and the next, 0 with fewer than two: what a further layer costs."""
        first = [layer for layer in self.layers if layer.profile == 0 and layer.launches]
        places = [number for number, layer in enumerate(first) if _ATTENTION in layer.name]
        return (places[-1] - places[0]) / (len(places) - 1) if len(places) > 1 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, for the manifest: the counts, and a row per layer of the first profile."""
        return {
            "kernels": self.kernels,
            "kernels_per_layer": round(self.kernels_per_layer, 2),
            "attentions": self.attentions,
            "attentions_fused": self.fused,
            "qkv_merged": self.merged,
            "gemms": dict(self.gemms),
            "layers": [
                {"name": one.name, "kind": one.kind, "inputs": list(one.inputs), "outputs": list(one.outputs)}
                for one in self.layers
                if one.profile == 0
            ],
        }


def expect(model: ir.Model, precision: str) -> Expectation:
    """What `model`, labelled `precision`, has to become."""
    facts = Facts(model, ATTENTION_SINCE)
    attentions = sum(1 for _ in facts.of("Attention")) or sum(1 for _ in facts.of("Softmax"))
    quantised = stored = 0
    for node in facts.of("MatMul", "Gemm"):
        pair = [facts.maker(value, "DequantizeLinear") for value in node.inputs[:2]]
        weight = pair[1]
        if weight is not None and facts.is_constant(weight.inputs[0]):
            stored += 1
            quantised += pair[0] is not None
    plain = sum(1 for _ in find_linears(model.graph))
    return Expectation(precision, attentions, plain + stored, quantised)


def audit_layers(layers: Iterable[Layer], expected: Expectation) -> Audit:
    """The audit of an engine's `layers`. Raises EngineBuildError where the label is not true."""
    layers = tuple(layers)
    if not layers:
        raise EngineBuildError(
            "The builder did not say what layers the engine has, so that its label cannot be proven.",
            "Use a version of TensorRT that bvx knows: 10.3 to 11, or TensorRT-RTX.",
        )
    found = [_audit_profile(layers, number, expected) for number in sorted({layer.profile for layer in layers})]
    for one in found:
        _compare(one, expected)
    return min(found, key=lambda one: (one.fused, one.merged, -one.kernels))


def _audit_profile(layers: tuple[Layer, ...], profile: int, expected: Expectation) -> Audit:
    mine = [layer for layer in layers if layer.profile == profile]
    gemms: Counter[str] = Counter()
    for layer in mine:
        if _is_gemm(layer):
            gemms[_computed_in(layer)] += layer.name.count("+") + 1
    return Audit(
        layers=layers,
        kernels=sum(layer.launches for layer in mine),
        fused=sum(_ATTENTION in layer.name for layer in mine),
        merged=sum(layer.kind == "gemm" and layer.name.count("+") == 2 for layer in mine),
        gemms=dict(gemms),
        attentions=expected.attentions,
    )


def _compare(found: Audit, expected: Expectation) -> None:
    label = expected.precision
    if label != "fp32" and found.fused < expected.attentions:
        raise EngineBuildError(
            f"The {label} engine computes only {found.fused} of {expected.attentions} attentions in one kernel.",
            "`bvx inspect FILE --check tensorrt` says why; head sizes from 16 to 256 in steps of 8 have kernels.",
        )
    if label in ("int8", "fp8"):
        wanted = {"int8": ("Int8",), "fp8": ("FP8", "Fp8")}[label]
        if sum(found.gemms.get(name, 0) for name in wanted) < max(1, expected.quantised):
            raise _untrue(found, label, f"{max(1, expected.quantised)} linear layers in {wanted[0]}")
    elif label in _TYPES:
        others = {name: count for name, count in found.gemms.items() if name not in (_TYPES[label], "")}
        if others or not found.gemms:
            raise _untrue(found, label, f"every linear layer in {_TYPES[label]}")


def _untrue(found: Audit, label: str, wanted: str) -> EngineBuildError:
    there = ", ".join(f"{count} in {name or 'a type that is not said'}" for name, count in found.gemms.items())
    return EngineBuildError(
        f"The engine is not {label}: wanted {wanted}; it has {there or 'no linear layer at all'}.",
        "The precision has to be in the graph: export it again with bvx, or build it under its true label.",
    )


def _is_gemm(layer: Layer) -> bool:
    """A matrix product with a weight: a layer of that kind, or a fusion that is named after the steps in it (Fc)."""
    return layer.kind == "gemm" or (layer.name.startswith("__myl_") and "Fc" in layer.name.split("_myl", 2)[1])


def _computed_in(layer: Layer) -> str:
    """The type of its first input; where that is cast before the product, the one that comes out."""
    first = layer.inputs[0] if layer.inputs else ""
    if layer.kind != "gemm" and "Cast" in layer.name.split("Fc")[0]:
        return layer.outputs[0] if layer.outputs else first
    return first
