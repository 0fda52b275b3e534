"""The passes that turn a raw capture into the canonical graph, one file each, and their order.

A pass is a function that rewrites a model in place and says how often it applied and why it refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import onnx_ir as ir

from ...runtime.manifest import PassLog
from . import choices, constants, decoders, gelu, heads, linears, mask, names, positions, reshapes, sharing, token_types

__all__ = ["CANONICAL", "Pass", "run_passes"]

Pass = Callable[[ir.Model], PassLog]

CANONICAL: tuple[Pass, ...] = (
    sharing.share_weights,  # first: what follows recognises one weight by its one initializer
    decoders.keep_tied_tables,  # before linears, which would store the table's transpose beside it
    linears.transpose_weights,  # before constants, whose folding would hide which weight was transposed
    choices.drop_choices,  # before constants, which removes what it leaves; mask and positions start at the inputs
    constants.fold_constants,  # shape arithmetic is readable to the passes below only when folded
    token_types.drop_token_types,  # families without token types still add row 0 of a one-row table
    positions.slice_positions,
    positions.count_positions,
    gelu.fuse_tanh_gelu,
    mask.expand_mask_once,
    reshapes.fix_reshapes,  # after mask: both live on the same Shape nodes
    heads.split_heads_inside,  # after reshapes: the heads' Reshapes are recognised by their shapes
    constants.fold_constants,  # what the passes above left dangling
    names.name_layers,  # last: names say where a node ended up
)
"""The order of the canonical passes, and why."""


def run_passes(
    model: ir.Model, passes: Iterable[Pass] = CANONICAL, progress: Callable[[str], None] = lambda name: None
) -> Sequence[PassLog]:
    """Run `passes` over `model` in place, in order, and return what each did. `progress` gets each one's name."""
    logs = []
    for run in passes:
        progress(run.__name__)
        logs.append(run(model))
    return tuple(logs)
