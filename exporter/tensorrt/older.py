"""TensorRT before 10.14, as on Jetson: its parser does not read Attention, so that is taken apart on the way to it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx_ir as ir

from ..checker.operators import ATTENTION_SINCE
from ..storage import EXTERNAL_BEYOND, save_graph
from ..targets.attention import take_apart

__all__ = ["readable"]


@contextmanager
def readable(path: Path, model: ir.Model, version: tuple[int, int]) -> Iterator[Path]:
    """The file that a parser of `version` can read: the one at `path`, or a passing one without Attention.

    `model` is what `path` holds, and is changed too. An Attention that cannot be taken apart stays, for the rules to
    name. The products and the softmax that it becomes are what TensorRT fused before there was an Attention.
    """
    names = [str(node.name) for node in model.graph if node.op_type == "Attention"]
    if version >= ATTENTION_SINCE or not names:
        yield path
        return
    take_apart(model.graph, names)
    with tempfile.TemporaryDirectory(prefix="bvx-build-") as folder:
        passing = Path(folder) / path.name
        save_graph(model, passing, EXTERNAL_BEYOND)
        yield passing
