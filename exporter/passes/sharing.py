"""Two initializers with the same bytes become one."""

from __future__ import annotations

import hashlib

import onnx_ir as ir

from ...runtime.manifest import PassLog

__all__ = ["share_weights"]


def share_weights(model: ir.Model) -> PassLog:
    """Initializers `a` and `b` with equal type, shape and bytes: every use of `b` becomes a use of `a`.

    Sharing that the checkpoint lost when it was saved (a tied decoder stored twice, attention-only sharing) is
    found again from the tensors themselves. Vectors of one repeated number are left alone: a zero bias is equal to
    every other zero bias by chance, merging them would win nothing and cost their names.
    """
    first: dict[tuple[object, ...], ir.Value] = {}
    applied = 0
    for value in list(model.graph.initializers.values()):
        tensor = value.const_value
        if tensor is None or not _tells_itself_apart(tensor):
            continue
        digest = hashlib.sha256(tensor.tobytes()).digest()
        key = (tensor.dtype, tuple(tensor.shape), digest)
        kept = first.setdefault(key, value)
        if kept is value:
            continue
        value.replace_all_uses_with(kept)
        model.graph.initializers.pop(str(value.name))
        applied += 1
    return PassLog("share_weights", applied)


def _tells_itself_apart(tensor: ir.TensorProtocol) -> bool:
    """Whether a second tensor with these bytes can only be the same weight."""
    if len(tensor.shape) != 1:
        return len(tensor.shape) > 1
    if not tensor.dtype.is_floating_point():
        return False
    numbers = tensor.numpy()
    return bool((numbers != numbers[:1]).any())
