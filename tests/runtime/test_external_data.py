"""What an ONNX model would make a runtime open is found, wherever the model hides it, and nothing else is read."""

import onnx
import pytest
from onnx import TensorProto, helper

from bvx.runtime import external_data
from bvx.runtime.errors import BundleError
from bvx.runtime.external_data import _FIELDS, external_locations


def tensor(location, name="w", located=TensorProto.EXTERNAL, key="location"):
    """A tensor whose data is said to be in the file `location`."""
    made = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2])
    made.data_location = located
    for key_, value in (("offset", "0"), (key, location), ("length", "8")):
        made.external_data.add(key=key_, value=value)
    return made


def model(*nodes, initializers=(), sparse=(), functions=()):
    graph = helper.make_graph(list(nodes), "g", [], [], initializer=list(initializers))
    graph.sparse_initializer.extend(sparse)
    return helper.make_model(graph, functions=list(functions))


def in_constant(location):
    return helper.make_node("Constant", [], ["c"], value=tensor(location))


def in_subgraph(*nodes, initializers=()):
    graph = helper.make_graph(list(nodes), "inner", [], [], initializer=list(initializers))
    return helper.make_node("If", ["x"], ["y"], then_branch=graph, else_branch=graph)


def sparse(location):
    made = onnx.SparseTensorProto(dims=[4])
    made.values.CopyFrom(tensor(location))
    return made


def function(*nodes):
    return helper.make_function("local", "f", [], [], list(nodes), [helper.make_opsetid("", 18)])


def training(location):
    made = model()
    made.training_info.add().algorithm.initializer.append(tensor(location))
    return made


def tensors_attribute(location):
    return helper.make_node("Odd", [], ["c"], domain="odd", values=[tensor(location)])


HIDING_PLACES = {
    "initializer": lambda: model(initializers=[tensor("x")]),
    "said to be inside": lambda: model(initializers=[tensor("x", located=TensorProto.DEFAULT)]),
    "constant": lambda: model(in_constant("x")),
    "list of tensors": lambda: model(tensors_attribute("x")),
    "subgraph": lambda: model(in_subgraph(in_subgraph(in_constant("x")))),
    "subgraph's initializer": lambda: model(in_subgraph(initializers=[tensor("x")])),
    "sparse": lambda: model(sparse=[sparse("x")]),
    "function": lambda: model(functions=[function(in_constant("x"))]),
    "training": lambda: training("x"),
}


def save(path, made):
    path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
    return path


@pytest.mark.parametrize("place", HIDING_PLACES)
def test_a_location_is_found_wherever_it_hides(tmp_path, place):
    assert external_locations(save(tmp_path / "m.onnx", HIDING_PLACES[place]())) == ("x",)


def test_every_way_to_a_tensor_in_onnx_is_known():
    """Compares with onnx's own schema, so that a new field of a later ONNX release does not go unseen."""
    ways = {}
    reaches = {"TensorProto"}
    while True:
        before = len(reaches)
        for name in ("ModelProto", *_FIELDS, "TypeProto", "ValueInfoProto", "TensorAnnotation"):
            fields = getattr(onnx, name).DESCRIPTOR.fields if hasattr(onnx, name) else ()
            ways[name] = {f.number: f.message_type.name for f in fields if f.message_type}
            if set(ways[name].values()) & reaches:
                reaches.add(name)
        if len(reaches) == before:
            break
    for name in reaches - {"TensorProto"}:
        assert _FIELDS[name] == {number: kind for number, kind in ways[name].items() if kind in reaches}
    assert _FIELDS["TensorProto"] == {13: "StringStringEntryProto"}
    assert onnx.TensorProto.DESCRIPTOR.fields_by_name["external_data"].number == 13


def test_several_locations_are_listed_once_each_in_order(tmp_path):
    made = model(initializers=[tensor("b"), tensor("a"), tensor("b")])
    assert external_locations(save(tmp_path / "m.onnx", made)) == ("b", "a")


def test_a_location_given_twice_is_listed_both_times(tmp_path):
    twice = tensor("harmless")
    twice.external_data.add(key="location", value="../secret")
    found = external_locations(save(tmp_path / "m.onnx", model(initializers=[twice])))
    assert found == ("harmless", "../secret")


def test_the_last_of_two_keys_in_one_entry_counts_as_it_does_elsewhere(tmp_path):
    entry = b"\x0a\x01x" + b"\x0a\x08location" + b"\x12\x03one" + b"\x12\x03two"
    external = b"\x6a" + bytes([len(entry)]) + entry
    initializer = b"\x2a" + bytes([len(external)]) + external
    graph = b"\x3a" + bytes([len(initializer)]) + initializer
    parsed = onnx.ModelProto.FromString(graph).graph.initializer[0].external_data[0]
    assert (parsed.key, parsed.value) == ("location", "two")
    assert external_locations(save(tmp_path / "m.onnx", graph)) == ("two",)


def test_other_entries_and_inner_data_are_no_location(tmp_path):
    inside = helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0])
    named = tensor("x", key="checksum", name="location")
    made = model(initializers=[inside, named])
    made.metadata_props.add(key="location", value="y")
    assert external_locations(save(tmp_path / "m.onnx", made)) == ()


def test_large_inner_data_is_skipped_whole(tmp_path):
    data = b"\xff" * 5_000_000
    inside = helper.make_tensor("w", TensorProto.UINT8, [len(data)], data, raw=True)
    assert external_locations(save(tmp_path / "m.onnx", model(initializers=[inside, tensor("x")]))) == ("x",)


def test_every_truncation_is_refused_or_finds_no_more_than_the_whole(tmp_path):
    whole = model(in_constant("x"), initializers=[tensor("y")]).SerializeToString()
    refused = 0
    for keep in range(len(whole)):
        path = save(tmp_path / "m.onnx", whole[:keep])
        try:
            assert set(external_locations(path)) <= {"x", "y"}
        except BundleError:
            refused += 1
    assert refused > 0.9 * len(whole)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello, I am not a model",
        b"\x3a\xff\xff\xff\xff\x7f",  # a graph longer than the file
        b"\x3a" + b"\xff" * 20,  # a length without end
        b"\x0b\x0c",  # a group
        b"\x00\x00",  # field number 0
        b"\x08" + b"\x80" * 5,  # a number cut off
        b"\x09\x00\x00",  # a fixed number cut off
        b"\xba\x80\x80\x80\x20\x00",  # field 7 for parsers that cut the tag to 32 bits
        b"PK\x03\x04" + b"\x00" * 100,
    ],
    ids=range(10),
)
def test_what_is_no_model_is_refused(tmp_path, content):
    with pytest.raises(BundleError, match="not a readable ONNX model"):
        external_locations(save(tmp_path / "m.onnx", content))


def test_nesting_without_end_is_refused(tmp_path):
    content = b""
    for _ in range(1000):
        # GraphProto.node = 1, NodeProto.attribute = 5, AttributeProto.g = 6
        content = field(1, field(5, field(6, content)))
    with pytest.raises(BundleError, match="nested too deeply"):
        external_locations(save(tmp_path / "m.onnx", field(7, content)))


def field(number, content):
    length, left = b"", len(content)
    while left >= 0x80:
        length, left = length + bytes([left & 0x7F | 0x80]), left >> 7
    return bytes([number << 3 | 2]) + length + bytes([left]) + content


def test_a_file_of_more_fields_than_any_model_has_is_not_walked_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(external_data, "_MOST_FIELDS", 1000)
    many = helper.make_graph([in_constant("x")] * 100, "g", [], [])
    with pytest.raises(BundleError, match="more than 1,000 fields"):
        external_locations(save(tmp_path / "m.onnx", helper.make_model(many)))
    with pytest.raises(BundleError, match="more than 1,000 fields"):
        external_locations(save(tmp_path / "m.onnx", b"\x08\x00" * 1001))
    assert external_locations(save(tmp_path / "m.onnx", b"\x08\x00" * 1000)) == ()


def test_a_location_that_is_no_text_is_refused(tmp_path):
    made = model(initializers=[tensor("abcd")]).SerializeToString().replace(b"abcd", b"\xff\xfe\xfd\xfc")
    with pytest.raises(BundleError, match="not a readable ONNX model"):
        external_locations(save(tmp_path / "m.onnx", made))
