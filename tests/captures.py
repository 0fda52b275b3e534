"""Captures, each made once in a session of tests and handed out again to whoever asks for the same.

Tracing a model of two layers takes PyTorch seconds, and the tests export some hundreds of them, most alike but for
their weights. The trace does not read those: torch.export runs on fake tensors. So a kept graph is the capture of any
model of the same modules, configuration and tensors, once these tensors are put into it. What cannot be shown to be
alike is traced.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import torch
from onnx_ir.tensor_adapters import TorchTensor

Capture = Callable[[torch.nn.Module, Sequence[str], Sequence[str]], ir.Model]

IGNORED = frozenset(
    {"_name_or_path", "architectures", "dtype", "id2label", "initializer_range", "label2id", "transformers_version"}
)
"""What a configuration says that no forward pass reads."""

LARGEST = 4_000_000
"""Numbers in a model; a larger one is traced, and not kept on the disk."""


class Captures:
    """`capture`, remembered in a folder that several processes may share."""

    def __init__(self, folder: Path, capture: Capture) -> None:
        self.folder = folder
        self.capture = capture
        self.traced = 0

    def __call__(self, model: torch.nn.Module, inputs: Sequence[str], outputs: Sequence[str]) -> ir.Model:
        tensors = dict(_tensors(model))
        if sum(tensor.numel() for tensor in tensors.values()) > LARGEST:
            return self.capture(model, inputs, outputs)
        file = self.folder / f"{_digest(model, tensors, inputs, outputs)}.onnx"
        if not file.exists():
            self.traced += 1
            made = self.capture(model, inputs, outputs)
            _keep(made, tensors, file)
            return made
        model.eval()  # as the capture leaves it
        kept = onnx.load(file)
        names = [entry.value for entry in kept.metadata_props]
        del kept.metadata_props[:]
        replayed = ir.from_proto(kept)
        for name in names:
            replayed.graph.initializers[name].const_value = TorchTensor(tensors[name], name=name)
        return replayed


def _tensors(model: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


def _digest(
    model: torch.nn.Module, tensors: dict[str, torch.Tensor], inputs: Sequence[str], outputs: Sequence[str]
) -> str:
    """Of everything that a trace may read: the code of each module, the configuration, and the tensors' shapes."""
    config: Any = model.config
    first: dict[int, str] = {}
    facts = {
        "inputs": [list(inputs), list(outputs)],
        "config": {name: value for name, value in config.to_dict().items() if name not in IGNORED},
        "attention": config._attn_implementation,
        "modules": [(name, *_code(module)) for name, module in model.named_modules()],
        "tensors": [
            (name, list(tensor.shape), str(tensor.dtype), first.setdefault(tensor.data_ptr(), name))
            for name, tensor in tensors.items()
        ],
    }
    return hashlib.sha256(json.dumps(facts, default=repr, sort_keys=True).encode()).hexdigest()


def _code(module: torch.nn.Module) -> tuple[str, str, str]:
    """The class of a module, where its forward pass stands, and its switches, among them `eps` and `training`."""
    forward: Any = getattr(module.forward, "__wrapped__", module.forward)
    code: Any = getattr(getattr(forward, "__func__", forward), "__code__", None)
    written = (code.co_filename, code.co_firstlineno, code.co_code.hex()) if code else repr(forward)
    plain = {name: value for name, value in vars(module).items() if isinstance(value, (bool, int, float, str))}
    plain.pop("training", None)
    plain.pop("name_or_path", None)
    hooks = [len(module._forward_hooks), len(module._forward_pre_hooks)]
    return f"{type(module).__module__}.{type(module).__qualname__}", repr(written), f"{sorted(plain.items())} {hooks}"


def _keep(made: ir.Model, tensors: dict[str, torch.Tensor], file: Path) -> None:
    """Write a capture down, unless it holds a tensor that is neither the model's own nor small."""
    names = []
    for name, value in made.graph.initializers.items():
        raw = getattr(value.const_value, "raw", None)
        if name in tensors and isinstance(raw, torch.Tensor) and raw.data_ptr() == tensors[name].data_ptr():
            names.append(name)
        elif value.const_value is None or value.const_value.size > 1:
            return
    proto = ir.to_proto(made)
    for name in names:
        proto.metadata_props.add(key=f"tensor {len(proto.metadata_props)}", value=name)
    part = file.with_suffix(f".{os.getpid()}")
    onnx.save(proto, part)
    part.rename(file)
