"""A graph on disk: its stream is what onnx would have written, and weights beside it are found from anywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from bvx.exporter import storage
from bvx.exporter.storage import save_graph, stored_bytes
from bvx.runtime.external_data import external_locations

LARGE = 3 * storage._LARGE // 4
"""Entries: as float32 more than is written with the rest of the graph."""


def make(**arrays: np.ndarray) -> ir.Model:
    """A graph whose outputs are its weights, each through an Identity, and `x + 1` besides."""
    weights = [ir.Value(name=name, const_value=ir.tensor(array, name=name)) for name, array in arrays.items()]
    one = ir.Value(name="one", const_value=ir.tensor(np.ones(1, np.float32), name="one"))
    x = ir.Value(name="x", shape=ir.Shape(["n"]), type=ir.TensorType(ir.DataType.FLOAT))
    nodes = [ir.Node("", "Identity", [weight], name=f"read {weight.name}") for weight in weights]
    nodes.append(ir.Node("", "Add", [x, one], name="add"))
    for node, weight in zip(nodes, [*weights, x], strict=True):
        source = weight.const_value
        node.outputs[0].name = f"{weight.name}.read"
        node.outputs[0].shape = source.shape if source is not None else x.shape
        node.outputs[0].type = ir.TensorType(source.dtype) if source is not None else x.type
    outputs = [node.outputs[0] for node in nodes]
    graph = ir.Graph([x], outputs, nodes=nodes, initializers=[*weights, one], opset_imports={"": 23}, name="weights")
    return ir.Model(graph, ir_version=10, producer_name="bvx", doc_string="a test")


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def saved(model: ir.Model, path: Path, **options: int) -> Path:
    save_graph(model, path, **options)
    return path


def in_order(path: Path) -> onnx.ModelProto:
    """The message in a file, its initializers in the order of their names, and without what says their types again."""
    message = onnx.load(path)
    onnx.checker.check_model(message, full_check=True)
    weights = sorted(message.graph.initializer, key=lambda tensor: tensor.name)
    named = {tensor.name for tensor in weights}
    values = [value for value in message.graph.value_info if value.name not in named]
    for field, entries in (("initializer", weights), ("value_info", values)):
        message.graph.ClearField(field)
        getattr(message.graph, field).extend(entries)
    return message


def run(path: Path | str) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"x": np.zeros(2, np.float32)}), strict=True))


TYPES = (
    np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.int64, np.int32, np.int8, np.uint8, np.bool_,
)  # fmt: skip


@pytest.mark.parametrize("size", [0, 1, 5, LARGE])
def test_the_file_says_what_onnx_would_have_written(tmp_path: Path, size: int) -> None:
    arrays = {f"a {np.dtype(kind).name}/β": (100 * numbers(size)).astype(kind) for kind in TYPES}
    model = make(**arrays, matrix=numbers(3, LARGE), scalar=np.array(2.5, np.float32))
    path = saved(model, tmp_path / "ours.onnx")
    ir.save(model, tmp_path / "theirs.onnx")
    assert in_order(path) == in_order(tmp_path / "theirs.onnx")
    loaded = ir.load(path).graph.initializers
    for name, array in arrays.items():
        tensor = loaded[name].const_value
        assert tensor is not None and tensor.numpy().dtype == array.dtype
        assert np.array_equal(tensor.numpy(), array)


def test_weights_of_four_bits_are_packed(tmp_path: Path) -> None:
    array = np.arange(2 * LARGE * 4).reshape(2, -1).astype(ml_dtypes.int4)
    path = saved(make(four=array), tmp_path / "four.onnx")
    assert path.stat().st_size < LARGE * 4 + 4096
    tensor = ir.load(path).graph.initializers["four"].const_value
    assert tensor is not None and np.array_equal(tensor.numpy(), array)


def test_the_engine_runs_the_file_as_it_runs_onnxs_own(tmp_path: Path) -> None:
    model = make(small=numbers(3), large=numbers(2, LARGE), empty=numbers(0, 4))
    ir.save(model, tmp_path / "theirs.onnx")
    ours, theirs = run(saved(model, tmp_path / "ours.onnx")), run(tmp_path / "theirs.onnx")
    assert list(ours) == list(theirs) == ["small.read", "large.read", "empty.read", "x.read"]
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_a_captured_model_is_written_as_onnx_would(
    captured: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, _ = captured("bert", "fill-mask").canonical()
    monkeypatch.setattr(storage, "_LARGE", 256)
    path = saved(graph, tmp_path / "ours.onnx")
    ir.save(graph, tmp_path / "theirs.onnx")
    assert in_order(path) == in_order(tmp_path / "theirs.onnx")


@pytest.mark.parametrize("external_beyond", [storage.EXTERNAL_BEYOND, 1000])
def test_saving_leaves_the_graph_as_it_was(tmp_path: Path, external_beyond: int) -> None:
    model = make(first=numbers(2), large=numbers(LARGE), second=numbers(2), larger=numbers(2, LARGE), last=numbers(1))
    before = [(name, value, value.const_value) for name, value in model.graph.initializers.items()]
    first = saved(model, tmp_path / "a.onnx", external_beyond=external_beyond)
    after = [(name, value, value.const_value) for name, value in model.graph.initializers.items()]
    assert [name for name, *_ in after] == [name for name, *_ in before]
    assert all(
        one is other for x, y in zip(before, after, strict=True) for one, other in zip(x[1:], y[1:], strict=True)
    )
    assert all(value.is_initializer() for _, value, _ in after)
    again = saved(model, tmp_path / "again" / "a.onnx", external_beyond=external_beyond)
    for one in first.parent.glob("a.onnx*"):
        assert digest(one) == digest(again.parent / one.name), "the same graph makes another file"


def contents(model: ir.Model) -> list[tuple[str, int, int]]:
    """The initializers in their order: which value stands under which name, and which tensor it holds."""
    return [(name, id(value), id(value.const_value)) for name, value in model.graph.initializers.items()]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_failure_leaves_the_graph_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(small=numbers(2), large=numbers(LARGE))
    names = list(model.graph.initializers)
    monkeypatch.setattr(ir, "to_proto", lambda model: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_graph(model, tmp_path / "a.onnx")
    assert list(model.graph.initializers) == names


def test_bytes_are_counted_without_what_is_not_stored() -> None:
    assert stored_bytes(make(a=numbers(3), b=np.zeros(2, np.int64))) == 12 + 16 + 4


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A folder with a graph whose weights lie beside it."""
    folder = tmp_path / "bundle"
    model = make(small=numbers(2), large=numbers(2, LARGE), empty=numbers(0))
    saved(model, folder / "onnx" / "model.onnx", external_beyond=1000)
    return folder


def same_numbers(path: Path | str) -> bool:
    found = run(path)
    return np.array_equal(found["large.read"], numbers(2, LARGE)) and np.array_equal(found["small.read"], numbers(2))


def test_many_weights_go_to_a_file_of_their_own(bundle: Path) -> None:
    graph, weights = bundle / "onnx" / "model.onnx", bundle / "onnx" / "model.onnx_data"
    assert sorted(bundle.rglob("*.*")) == [graph, weights]
    assert external_locations(graph) == ("model.onnx_data",)
    assert graph.stat().st_size < 4096
    assert 2 * 4 * LARGE <= weights.stat().st_size < 2 * 4 * LARGE + 2**17
    onnx.checker.check_model(str(graph), full_check=True)


def test_few_weights_stay_in_the_graph(tmp_path: Path) -> None:
    model = make(large=numbers(LARGE))
    path = saved(model, tmp_path / "model.onnx", external_beyond=stored_bytes(model))
    assert list(tmp_path.iterdir()) == [path]
    assert external_locations(path) == ()


def test_weights_beside_the_graph_are_found_after_a_move(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "else where").mkdir()
    moved = bundle.rename(tmp_path / "else where" / "é")
    assert same_numbers(moved / "onnx" / "model.onnx")


def test_weights_beside_the_graph_are_found_through_a_link(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(bundle, target_is_directory=True)
    assert same_numbers(tmp_path / "link" / "onnx" / "model.onnx")


@pytest.mark.parametrize(
    ("here", "path"), [("onnx", "model.onnx"), (".", "onnx/model.onnx"), ("..", "bundle/onnx/model.onnx")]
)
def test_weights_beside_the_graph_are_found_by_relative_paths(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, here: str, path: str
) -> None:
    monkeypatch.chdir(bundle / here)
    assert same_numbers(path)
