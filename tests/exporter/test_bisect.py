"""The first operator that diverges is found by its name, against PyTorch and against another ONNX file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from bvx.exporter.bisect import Divergence, first_divergence
from bvx.exporter.families import FP32
from bvx.exporter.parity import record_modules
from bvx.runtime.errors import UnsupportedModel

FEATURES = "feature-extraction"


def feeds_for(checkpoint: object) -> dict[str, NDArray[np.int64]]:
    random = np.random.default_rng(0)
    mask = np.ones((2, 7), np.int64)
    mask[1, 4:] = 0
    arrays = {
        "input_ids": random.integers(5, 400, (2, 7)),
        "attention_mask": mask,
        "token_type_ids": random.integers(0, 2, (2, 7)),
    }
    return {name: arrays[name] for name in checkpoint.family.inputs}


def write(original: Path, target: Path, change: Callable[[ir.Graph], None], external: str | None = None) -> Path:
    model = ir.load(original)
    change(model.graph)
    ir.save(model, target, external_data=external, size_threshold_bytes=64)
    return target


def add_to_weight(node_name: str) -> Callable[[ir.Graph], None]:
    """A change of what one operator reads: 1 % is added, for it alone."""

    def change(graph: ir.Graph) -> None:
        node = next(each for each in graph if each.name == node_name)
        old = node.inputs[1]
        assert old is not None and old.const_value is not None
        new = ir.Value(name="changed", shape=old.shape, type=old.type)
        new.const_value = ir.tensor(old.const_value.numpy() * np.float32(1.01), name="changed")
        graph.register_initializer(new)
        node.replace_input_with(1, new)

    return change


def swap_gelu(node_name: str) -> Callable[[ir.Graph], None]:
    def change(graph: ir.Graph) -> None:
        node = next(each for each in graph if each.name == node_name)
        node.attributes["approximate"] = ir.AttrString("approximate", "tanh")

    return change


@pytest.fixture
def bisect(exported: Callable, tmp_path: Path) -> Callable[..., Divergence | None]:
    """Plants an error in a graph and looks for it against PyTorch."""

    def run(family: str, task: str, change: Callable[[ir.Graph], None], external: str | None = None) -> object:
        original = exported(family, task)
        feeds = feeds_for(original.checkpoint)
        graph = write(original.graph, tmp_path / "planted.onnx", change, external)
        return first_divergence(graph, record_modules(original.checkpoint.model, feeds), feeds, FP32)

    return run


@pytest.mark.parametrize(
    ("family", "task"),
    [
        ("roberta", FEATURES),
        ("bert", FEATURES),
        ("albert", FEATURES),
        ("albert", "fill-mask"),
        ("electra", "fill-mask"),
    ],
)
def test_an_unchanged_graph_diverges_nowhere(bisect: Callable, family: str, task: str) -> None:
    assert bisect(family, task, lambda graph: None) is None


@pytest.mark.parametrize(
    ("family", "task", "plant", "named", "layer"),
    [
        ("roberta", FEATURES, add_to_weight, "layer.2.attention.self.value.MatMul", "layer.2"),
        ("roberta", FEATURES, add_to_weight, "layer.1.output.dense.Add", "layer.1"),
        ("bert", FEATURES, swap_gelu, "layer.1.intermediate.intermediate_act_fn.Gelu", "layer.1"),
        ("bert", FEATURES, add_to_weight, "embeddings.LayerNorm.LayerNormalization", "embeddings.LayerNorm"),
        ("bert", FEATURES, add_to_weight, "pooler.dense.Gemm", "pooler.dense"),
        ("albert", FEATURES, add_to_weight, "layer.3.attention.key.MatMul", "layer.3"),
        ("albert", "fill-mask", add_to_weight, "layer.1.full_layer_layer_norm.LayerNormalization", "layer.1"),
        ("albert", "fill-mask", add_to_weight, "predictions.dense.MatMul", "predictions.dense"),
    ],
)
def test_a_planted_error_is_found_by_name(
    bisect: Callable, family: str, task: str, plant: Callable, named: str, layer: str
) -> None:
    divergence = bisect(family, task, plant(named))
    assert divergence is not None
    assert divergence.node == named
    assert divergence.layer == layer
    assert divergence.suspects[-1] == named
    assert divergence.max_abs > FP32.max_abs or divergence.mean_abs > FP32.mean_abs
    assert named in divergence.summary()


def test_operators_that_no_module_ends_with_are_suspects(bisect: Callable) -> None:
    def drop_mask(graph: ir.Graph) -> None:
        next(node for node in graph if node.op_type == "Attention").replace_input_with(3, None)

    divergence = bisect("bert", FEATURES, drop_mask)
    assert divergence is not None and divergence.layer == "layer.0"
    assert "layer.0.attention.self.Attention" in divergence.suspects
    # What agreed is out of suspicion.
    assert "layer.0.attention.self.value.MatMul" not in divergence.suspects
    assert "layer.0.attention.self.value.Add" in divergence.before


def test_weights_beside_the_graph_are_found(bisect: Callable) -> None:
    named = "layer.2.attention.self.value.MatMul"
    divergence = bisect("roberta", FEATURES, add_to_weight(named), external="planted.onnx_data")
    assert divergence is not None and divergence.node == named


def test_two_files_are_compared_by_the_names_of_their_operators(exported: Callable, tmp_path: Path) -> None:
    original = exported("bert", FEATURES)
    feeds = feeds_for(original.checkpoint)
    named = "layer.2.output.Add"

    def plant(graph: ir.Graph) -> None:
        """Add one input twice."""
        node = next(each for each in graph if each.name == named)
        node.replace_input_with(1, node.inputs[0])

    planted = write(original.graph, tmp_path / "planted.onnx", plant)
    same = write(original.graph, tmp_path / "same.onnx", lambda graph: None)
    divergence = first_divergence(planted, original.graph, feeds, FP32)
    assert divergence is not None and divergence.node == named
    assert divergence.suspects == (named,)
    assert divergence.after == ("layer.2.output.LayerNorm.LayerNormalization",)
    assert first_divergence(same, original.graph, feeds, FP32) is None


def test_graphs_without_common_names_cannot_be_compared(exported: Callable, tmp_path: Path) -> None:
    original = exported("bert", FEATURES)

    def rename(graph: ir.Graph) -> None:
        for index, node in enumerate(graph):
            node.name = f"n{index}"

    renamed = write(original.graph, tmp_path / "renamed.onnx", rename)
    feeds = feeds_for(original.checkpoint)
    for reference in (original.graph, record_modules(original.checkpoint.model, feeds)):
        with pytest.raises(UnsupportedModel, match="no operator in common"):
            first_divergence(renamed, reference, feeds, FP32)


def test_every_use_of_a_shared_layer_is_recorded_as_a_layer_of_its_own(exported: Callable) -> None:
    checkpoint = exported("albert", FEATURES).checkpoint
    calls = record_modules(checkpoint.model, feeds_for(checkpoint))
    values = {call.place: call.value for call in calls}
    layers = [f"layer.{index}.attention.query" for index in range(4)]
    assert [call.place for call in calls if call.place.endswith("attention.query")] == layers
    assert not np.array_equal(values[layers[0]], values[layers[1]])
