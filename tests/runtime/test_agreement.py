"""bvx.json, the graph and config.json say the same of a bundle, or loading it says in which they differ."""

import json
from dataclasses import replace

import onnx
import pytest

from bvx.runtime.errors import BundleError
from bvx.runtime.loading import load
from bvx.runtime.manifest import TensorSpec, TokenizerInfo

IDS, MASK, TYPES = (TensorSpec(name, "int64", ("batch", "sequence")) for name in
                    ("input_ids", "attention_mask", "token_type_ids"))  # fmt: skip
STATES = TensorSpec("last_hidden_state", "float32", ("batch", "sequence", 8))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"inputs": (replace(IDS, dtype="banana"), MASK, TYPES)}, "has input_ids, int64 of .* says input_ids, banana"),
        ({"inputs": (replace(IDS, dtype="int32"), MASK, TYPES)}, "has input_ids, int64 of .* says input_ids, int32"),
        ({"inputs": (replace(IDS, shape=("batch",)), MASK, TYPES)}, r"says input_ids, int64 of \[batch\]"),
        ({"inputs": (IDS, MASK)}, "has the inputs input_ids, attention_mask, token_type_ids; bvx.json says"),
        ({"inputs": (IDS, MASK, TYPES, TYPES)}, "has the inputs .*; bvx.json says"),
        ({"outputs": (replace(STATES, dtype="float16"),)}, "has last_hidden_state, float32 .* float16"),
        ({"outputs": (replace(STATES, shape=("batch", "sequence", 9)),)}, r"sequence, 8\]; .* sequence, 9\]"),
        ({"outputs": (replace(STATES, shape=("batch", 8)),)}, r"sequence, 8\]; .* \[batch, 8\]"),
        ({"task": "text-classification", "head": {"labels": ["a"]}}, "reads logits; the graph gives last_hidden_state"),
        (
            {"task": "fill-mask", "head": {"mask_token": "[MASK]", "mask_token_id": 4}},
            "task is fill-mask, which reads logits; the graph gives last_hidden_state",
        ),
        ({"tokenizer": TokenizerInfo("[PAD]", 21, 0, "right")}, "tokenizer.pad_id is 21; input_ids takes 0 to 20"),
        ({"tokenizer": TokenizerInfo("[PAD]", 0, 2, "right")}, "pad_type_id is 2; token_type_ids takes 0 to 1"),
        ({"tokenizer": TokenizerInfo("[PAD]", 2**70, 0, "right"), "input_limits": {}}, "pad_id is a huge number"),
        ({"tokenizer": TokenizerInfo("[PAD]", 0, 2**63, "right"), "input_limits": {}}, "pad_type_id is a huge number"),
    ],
)
def test_a_manifest_that_does_not_fit_the_graph_is_refused(make_bundle, fields, says):
    bundle = make_bundle()
    bundle.change(**fields)
    with pytest.raises(BundleError, match=says):
        load(bundle.path, threads=1)


def test_as_many_labels_as_logits(make_bundle):
    bundle = make_bundle("text-classification")
    assert load(bundle.path, threads=1)("the cat")["label"]
    bundle.change(head={"labels": ["bad", "good"]})
    with pytest.raises(BundleError, match="has 2 labels; its graph gives 3 logits"):
        load(bundle.path, threads=1)
    bundle.change(head={"labels": ["bad", "good"]}, outputs=(TensorSpec("logits", "float32", ("batch", "labels")),))
    with pytest.raises(BundleError, match="has 2 labels; its graph gives 3 logits"):
        load(bundle.path, threads=1)


def test_logits_of_another_task_are_refused(make_bundle):
    bundle = make_bundle("fill-mask")
    bundle.change(task="text-classification", head={"labels": ["a"]})
    with pytest.raises(BundleError, match=r"logits is \[batch, sequence, 21\]; its task reads \[batch, labels\]"):
        load(bundle.path, threads=1)
    bundle = make_bundle("text-classification")
    bundle.change(task="fill-mask", head={"mask_token": "[MASK]", "mask_token_id": 4})
    with pytest.raises(BundleError, match=r"its task reads \[batch, sequence, vocabulary\]"):
        load(bundle.path, threads=1)


def test_a_mask_outside_the_table_is_refused(make_bundle):
    with pytest.raises(BundleError, match=r"head\.mask_token_id is 21; input_ids takes 0 to 20"):
        load(make_bundle("fill-mask", head={"mask_token": "[MASK]", "mask_token_id": 21}).path, threads=1)


def write_config(bundle, content):
    bundle.replace_file("config.json", content if isinstance(content, bytes) else json.dumps(content).encode())


def test_config_json_says_what_the_manifest_leaves_out(make_bundle):
    bundle = make_bundle(max_length=100_000)
    write_config(bundle, {"max_position_embeddings": 26})
    with pytest.raises(BundleError, match=r"max_length is 100000; the model has 26 positions"):
        load(bundle.path, threads=1)
    bundle = make_bundle(tokenizer=TokenizerInfo("[PAD]", 40_000, 0, "right"), input_limits={})
    write_config(bundle, {"vocab_size": 21})
    with pytest.raises(BundleError, match="pad_id is 40000; input_ids takes 0 to 20"):
        load(bundle.path, threads=1)


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", {"vocab_size": "many", "max_position_embeddings": None}, {}])
def test_a_config_json_that_says_nothing_is_no_hindrance(make_bundle, content):
    bundle = make_bundle()
    write_config(bundle, content)
    with load(bundle.path, threads=1) as model:
        assert len(model("cat")) == 3


def change_graph(bundle, change):
    name = bundle.manifest.variants[0].file
    model = onnx.load(bundle.path / name)
    change(model.graph)
    bundle.replace_file(name, model.SerializeToString())


def test_a_graph_for_one_size_of_batch_is_refused(make_bundle):
    bundle = make_bundle()

    def fix(graph):
        for value in graph.input:
            value.type.tensor_type.shape.dim[0].dim_value = 1

    change_graph(bundle, fix)
    with pytest.raises(BundleError, match=r"has input_ids, int64 of \[1, sequence\]; bvx.json says .*\[batch, sequ"):
        load(bundle.path, threads=1)


def test_a_graph_that_says_no_shapes_is_taken(make_bundle):
    bundle = make_bundle()
    change_graph(bundle, lambda graph: [v.type.tensor_type.ClearField("shape") for v in (*graph.input, *graph.output)])
    with load(bundle.path, threads=1) as model:
        assert model("cat").shape == (3, 8)


def test_inputs_of_other_numbers_than_ids_are_refused_where_both_say_so(make_bundle):
    bundle = make_bundle()

    def narrow(graph):
        graph.input[1].type.tensor_type.elem_type = onnx.TensorProto.FLOAT

    change_graph(bundle, narrow)
    bundle.change(files=bundle_files(bundle), inputs=(IDS, replace(MASK, dtype="float32"), TYPES))
    with pytest.raises(BundleError, match=r"input attention_mask, float32 of .*; wanted int64 or int32"):
        load(bundle.path, threads=1)


def test_an_input_that_no_text_becomes_is_refused_with_a_tokenizer(make_bundle):
    bundle = make_bundle()

    def rename(graph):
        graph.input[2].name = "kinds"
        next(node for node in graph.node if "token_type_ids" in node.input).input[1] = "kinds"

    change_graph(bundle, rename)
    changed = {"files": bundle_files(bundle), "inputs": (IDS, MASK, replace(TYPES, name="kinds"))}
    bundle.change(**changed)
    with pytest.raises(BundleError, match="inputs are input_ids, attention_mask, kinds; a text becomes input_ids"):
        load(bundle.path, threads=1)
    bundle.change(**changed, tokenizer=None)
    load(bundle.path, threads=1).close()


def bundle_files(bundle):
    return type(bundle.manifest).from_json((bundle.path / "bvx.json").read_text()).files


def test_an_engine_is_closed_when_the_bundle_is_refused(make_bundle, monkeypatch):
    from bvx.runtime.engines.ort import OrtEngine

    closed = []
    monkeypatch.setattr(OrtEngine, "close", lambda engine: closed.append(engine))
    with pytest.raises(BundleError):
        load(make_bundle(inputs=(IDS,)).path, threads=1)
    assert len(closed) == 1
