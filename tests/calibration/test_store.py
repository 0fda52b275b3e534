"""Ranges come back from their file as they went in, and nothing else comes back from a damaged one."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from bvx.calibration.ranges import Corpus, Ranges
from bvx.calibration.store import check_ranges, read_ranges, write_ranges
from bvx.runtime.errors import BundleError, CalibrationError

RANGES = Ranges(
    observer="mse",
    corpus=Corpus("mail.txt", 900, 2, 12, 0, "ab" * 32),
    bounds={"a": (-1.5, 2.0), "b": (0.0, 1.0)},
    peaks={"a": 2.0, "b": 1.0, "c": 70000.0},
    channels={"a": np.array([1.0, 2.0], np.float32)},
    lengths={5: 1, 7: 1},
    losses={"a": 0.25, "c": 0.5},
)


def same(a: Ranges, b: Ranges) -> bool:
    one, other = ({**vars(ranges), "channels": None} for ranges in (a, b))
    return one == other and all((a.channels[name] == b.channels[name]).all() for name in (*a.channels, *b.channels))


def test_ranges_come_back_as_they_were_written(tmp_path) -> None:
    write_ranges(tmp_path / "ranges.safetensors", RANGES)
    assert same(read_ranges(tmp_path / "ranges.safetensors"), RANGES)
    assert same(read_ranges(tmp_path), RANGES)
    assert [path.name for path in tmp_path.iterdir()] == ["ranges.safetensors"]
    empty = replace(RANGES, channels={}, lengths={}, losses={})
    write_ranges(tmp_path / "empty", empty)
    assert same(read_ranges(tmp_path / "empty"), empty)


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch) -> None:
    path = tmp_path / "ranges.safetensors"
    write_ranges(path, RANGES)
    before = path.read_bytes()

    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("bvx.calibration.store.os.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_ranges(path, replace(RANGES, observer="minmax"))
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def change(path, tensors=None, **fields):
    """Write the file again with other tensors or metadata; a field of None is left out."""
    with safe_open(path, "numpy") as file:
        document = json.loads(file.metadata()["bvx.ranges"])
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    document = {name: value for name, value in {**document, **fields}.items() if value is not None}
    found = {name: array for name, array in {**found, **(tensors or {})}.items() if array is not None}
    save_file(found, path, {"bvx.ranges": json.dumps(document)})


@pytest.mark.parametrize(
    ("tensors", "fields", "said"),
    [
        ({"bounds": None}, {}, "the tensor bounds is missing"),
        ({"bounds": np.zeros((2, 2), np.int64)}, {}, "the tensor bounds is missing or has another type"),
        ({"bounds": np.ones((1, 2), np.float32)}, {}, r"shape \[1, 2\], not \[2, 2\]"),
        ({"bounds": np.array([[0, 1], [1, 2]], np.float32)}, {}, "a range does not hold zero"),
        ({"bounds": np.zeros((2, 2), np.float32)}, {}, "or is empty"),
        ({"bounds": np.full((2, 2), np.nan, np.float32)}, {}, "not finite"),
        ({"peaks": -np.ones(3, np.float32)}, {}, "negative magnitude"),
        ({"channels/0": None}, {}, "channels/0 is missing"),
        ({"channels/0": np.ones((2, 1), np.float32)}, {}, "channels/0 has shape"),
        ({}, {"bounds": ["a", "a"]}, "stands twice among its bounds"),
        ({}, {"bounds": "ab"}, "wanted a list"),
        ({}, {"observer": None}, "no field 'observer'"),
        ({}, {"corpus": {}}, "no field 'source'"),
        ({}, {"format": 2}, "format 2; this bvx reads 1"),
    ],
)
def test_a_damaged_file_is_refused_with_what_is_wrong(tmp_path, tensors, fields, said) -> None:
    path = tmp_path / "ranges.safetensors"
    write_ranges(path, RANGES)
    change(path, tensors, **fields)
    with pytest.raises(BundleError, match=said):
        read_ranges(path)


def test_what_is_no_such_file_is_refused(tmp_path) -> None:
    with pytest.raises(BundleError, match="There are no ranges"):
        read_ranges(tmp_path)
    other = tmp_path / "other"
    other.write_bytes(b"text")
    with pytest.raises(BundleError, match="holds no readable ranges"):
        read_ranges(other)
    save_file({"a": np.zeros(1, np.float32)}, other)
    with pytest.raises(BundleError, match="something else"):
        read_ranges(other)


def graph(width: int, source: str = "a") -> ir.Graph:
    value = ir.Value(name=source, type=ir.TensorType(ir.DataType.FLOAT))
    weight = ir.Value(name="w", const_value=ir.tensor(np.ones((width, 3), np.float32), name="w"))
    node = ir.node("MatMul", [value, weight], name="layer.MatMul")
    return ir.Graph([value], node.outputs, nodes=[node], initializers=[weight], opset_imports={"": 23})


def test_ranges_of_another_model_are_refused() -> None:
    check_ranges(RANGES, graph(2))
    with pytest.raises(CalibrationError, match=r"1 of its 1 linear layers read tensors .* such as x"):
        check_ranges(RANGES, graph(2, "x"))
    with pytest.raises(CalibrationError, match="a has 2 channels there, and 5 here"):
        check_ranges(RANGES, graph(5))
