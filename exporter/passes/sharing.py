"""Two initializers with the same bytes become one."""

from __future__ import annotations

import hashlib

import onnx_ir as ir

from ...runtime.manifest import PassLog

__all__ = ["share_weights"]


def share_weights(model: ir.Model) -> PassLog:
    """Initializers `a` and `b` with equal type, shape and bytes: every use of `b` becomes a use of `a`.

    Sharing that the checkpoint lost when it was saved (a tied decoder stored twice, attention-only sharing) is
    found again from the tensors themselves. Vectors are left alone: a zero bias is equal to every other zero bias
    by chance, merging them would win nothing and cost their names.
    """
    first: dict[tuple[object, ...], ir.Value] = {}
    applied = 0
    for value in list(model.graph.initializers.values()):
        tensor = value.const_value
        if tensor is None or len(tensor.shape) < 2:
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
