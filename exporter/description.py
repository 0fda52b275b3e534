"""What the manifest says of a checkpoint and its canonical graph, before anything is lowered."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence

import onnx_ir as ir

from .. import __version__
from ..runtime.manifest import FORMAT, Manifest, PassLog, TensorSpec
from ..runtime.parity import SAME_MACHINE
from .checkpoint import Checkpoint
from .families import OWN_TOLERANCES
from .plan import ExportPlan

__all__ = ["describe"]

_TOOLS = ("torch", "transformers", "onnx", "onnx-ir", "onnxscript", "onnxruntime", "tokenizers", "safetensors", "numpy")


def describe(plan: ExportPlan, checkpoint: Checkpoint, canonical: ir.Model, logs: Sequence[PassLog]) -> Manifest:
    """The manifest of a bundle that has no variants yet. `logs` are those of the canonical passes."""
    return Manifest(
        format=FORMAT,
        bvx_version=__version__,
        model=checkpoint.model_info,
        family=checkpoint.family.name,
        task=checkpoint.task.name,
        head=checkpoint.head,
        inputs=tuple(_spec(value) for value in canonical.graph.inputs),
        outputs=tuple(_spec(value) for value in canonical.graph.outputs),
        input_limits=_limits(checkpoint),
        max_length=checkpoint.max_length,
        tokenizer=checkpoint.tokenizer.info if checkpoint.tokenizer else None,
        tolerances={name: checkpoint.family.tolerances[name] for name in plan.precisions},
        own_tolerances={
            name: OWN_TOLERANCES[name] for name in OWN_TOLERANCES if name in (SAME_MACHINE, *plan.precisions)
        },
        variants=(),
        files=(),
        profiles=plan.profiles,
        passes={"canonical": tuple(logs)},
        tools={name: _version(name) for name in _TOOLS if _version(name)},
    )


def _limits(checkpoint: Checkpoint) -> dict[str, int]:
    """How many rows the table has that each input is looked up in."""
    sizes = {"input_ids": "vocab_size", "token_type_ids": "type_vocab_size"}
    known = {name: checkpoint.config.get(size) for name, size in sizes.items() if name in checkpoint.family.inputs}
    return {name: int(size) for name, size in known.items() if size}


def _spec(value: ir.Value) -> TensorSpec:
    assert value.shape is not None and value.dtype is not None
    shape = tuple(size if isinstance(size, int) else str(size) for size in value.shape)
    return TensorSpec(str(value.name), value.dtype.numpy().name, shape)


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""
