"""The door to torch.onnx: a PyTorch encoder becomes a raw ONNX graph, named as transformers names things."""

from __future__ import annotations

import contextlib
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, cast

import onnx_ir as ir
import torch

from ..runtime.errors import UnsupportedModel

__all__ = ["OPSET", "Named", "capture"]

OPSET = 23
"""The first opset with `Attention`; `Gelu` and `LayerNormalization` are older."""

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Named(torch.nn.Module):
    """A transformers encoder with a fixed signature: input tensors in, the chosen outputs out, in order."""

    def __init__(self, model: torch.nn.Module, outputs: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.outputs = tuple(outputs)
        self.hidden_states = any(name.startswith("hidden_states.") for name in self.outputs)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, ...]:
        """int64 [batch, length] each -> one tensor per name in `outputs`."""
        optional = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        found = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            output_hidden_states=self.hidden_states,
            return_dict=True,
            **optional,
        )
        return tuple(_pick(found, name) for name in self.outputs)


def _expand_mask(module: torch.nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any]:
    """The mask [batch, length] of the base model becomes bool [batch, 1, length, length], in four nodes.

    transformers takes a mask of four dimensions as it is; its own preamble leaves some thirty nodes.
    """
    mask = named["attention_mask"]
    batch, length = mask.shape
    expanded = mask.bool().unsqueeze(1).unsqueeze(1).expand(batch, 1, length, length)
    return inputs, {**named, "attention_mask": expanded}


def _pick(found: Any, name: str) -> torch.Tensor:
    kind, _, index = name.partition(".")
    value = found[kind]
    return cast(torch.Tensor, value[int(index)] if index else value)


def capture(model: torch.nn.Module, inputs: Sequence[str], outputs: Sequence[str]) -> ir.Model:
    """Export `model` with dynamic batch and length, at opset 23, with weights by reference and nothing optimised.

    Args:
        model: in eval mode, float32, SDPA attention.
        inputs: the graph's inputs in order; each is int64 [batch, sequence].
        outputs: names of transformers' output fields; `hidden_states.3` is the fourth of the hidden states.

    Raises UnsupportedModel when PyTorch cannot trace the model; the cause is chained.
    """
    _refuse_decoders(model)
    wrapped = Named(model, outputs).eval()
    # Two rows of three tokens: a dimension of 1 would be specialised to 1.
    example = {name: torch.ones(2, 3, dtype=torch.int64) for name in inputs}
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")}
    base = cast(torch.nn.Module, getattr(model, "base_model", model))
    hook = base.register_forward_pre_hook(_expand_mask, with_kwargs=True)
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                wrapped,
                kwargs=example,
                dynamo=True,
                opset_version=OPSET,
                dynamic_shapes=dict.fromkeys(inputs, axes),
                input_names=list(inputs),
                output_names=list(outputs),
                optimize=False,
                verbose=False,
            )
    except Exception as error:
        raise UnsupportedModel(
            f"PyTorch could not trace {type(model).__name__}: {_root_cause(error)}",
            "Check that this checkpoint runs in transformers with attn_implementation='sdpa'.",
        ) from error
    finally:
        hook.remove()
    assert program is not None
    captured = program.model
    captured.graph.name = type(model).__name__
    _strip_wrapper(captured.graph)
    _separate_outputs(captured.graph, outputs)
    return captured


def _refuse_decoders(model: torch.nn.Module) -> None:
    # A mask of four dimensions replaces transformers' own, so the causal part of a decoder's would be lost.
    if getattr(getattr(model, "config", None), "is_decoder", False):
        raise UnsupportedModel(
            f"The configuration of {type(model).__name__} says is_decoder: its tokens do not see the later ones.",
            "bvx exports encoders only: their configuration has is_decoder false.",
        )


def _root_cause(error: BaseException) -> str:
    """The first line of the innermost error: the outer ones are the exporter's advice, in colours."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in _COLOUR.sub("", str(error)).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _separate_outputs(graph: ir.Graph, names: Sequence[str]) -> None:
    """The last of the hidden states is also `last_hidden_state`: a tensor with two names becomes two tensors."""
    seen: set[ir.Value] = set()
    for index, value in enumerate(list(graph.outputs)):
        if value in seen:
            same = ir.node("Identity", [value])
            producer = value.producer()
            if producer is not None:
                same.metadata_props.update(producer.metadata_props)
            graph.append(same)
            same.outputs[0].shape, same.outputs[0].type = value.shape, value.type
            graph.outputs[index] = same.outputs[0]
        seen.add(value)
    # The exporter has named such a tensor after its last output.
    for value, name in zip(graph.outputs, names, strict=True):
        value.name = name


def _strip_wrapper(graph: ir.Graph) -> None:
    """Weights are called as the checkpoint calls them: without the wrapper's `model.`."""
    for name in list(graph.initializers):
        value = graph.initializers[name]
        value.name = name.removeprefix("model.")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns about packages that are not installed and names that it does not use."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.onnx._internal.exporter")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
