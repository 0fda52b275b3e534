"""The layers of a finished engine, as the builder's verbose log or the engine inspector describes them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Layer", "read_inspector", "read_log"]

_LINE = re.compile(r"Name: (?P<name>.*?), LayerType: (?P<kind>\w+), (?P<rest>.*)")
_SECTION = re.compile(r"(Inputs|Constants|Outputs): (\[.*?\])(?=, (?:Constants|Outputs|TacticName|ParameterType)|$)")
_DTYPE = re.compile(r"(?:Datatype|Format/Datatype): (\w+)")
_PROFILE = re.compile(r"_myl(\d+)_|\[profile (\d+)\]")

_NO_KERNEL = ("shape_call", "copy", "Constant", "NoOp", "signal", "wait")
"""Kinds of layers that launch no kernel of their own: shape arithmetic on the host, and copies of its results."""


@dataclass(frozen=True)
class Layer:
    """One layer of an engine: a kernel. `inputs`, `weights` and `outputs` are element types as TensorRT calls them."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    weights: tuple[str, ...]
    outputs: tuple[str, ...]
    profile: int = 0

    @property
    def launches(self) -> bool:
        """Whether it is a kernel on the GPU."""
        return self.kind not in _NO_KERNEL


def read_log(lines: Iterable[str]) -> tuple[Layer, ...]:
    """Layers from lines `Name: …, LayerType: …, Inputs: […], …` of a log at verbose severity."""
    layers = []
    for line in lines:
        found = _LINE.search(line)
        if found:
            types = {title: tuple(_DTYPE.findall(text)) for title, text in _SECTION.findall(found["rest"])}
            layers.append(_layer(found["name"], found["kind"], types))
    return tuple(layers)


def read_inspector(text: str) -> tuple[Layer, ...]:
    """Layers from an engine inspector's JSON; names alone, which a plan without details has, say nothing."""
    layers = []
    for item in json.loads(text).get("Layers", []):
        if isinstance(item, Mapping):
            types = {title: _types(item.get(title, ())) for title in ("Inputs", "Constants", "Outputs")}
            layers.append(_layer(str(item.get("Name", "")), str(item.get("LayerType", "")), types))
    return tuple(layers)


def _types(tensors: Iterable[Any]) -> tuple[str, ...]:
    words = (
        str(one.get("Datatype") or one.get("Format/Datatype") or "") for one in tensors if isinstance(one, Mapping)
    )
    return tuple(word.split()[-1] if word else "" for word in words)


def _layer(name: str, kind: str, types: Mapping[str, tuple[str, ...]]) -> Layer:
    profile = _PROFILE.search(name)
    number = int(profile[1] or profile[2]) if profile else 0
    inputs, weights, outputs = (types.get(title, ()) for title in ("Inputs", "Constants", "Outputs"))
    return Layer(name, kind, inputs, weights, outputs, number)
