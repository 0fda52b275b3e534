"""replaced-token-detection: the sigmoid of every token's logit, without the special ones'."""

from dataclasses import replace

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from bvx.runtime.errors import BundleError, InputError
from bvx.runtime.heads import open_head
from bvx.runtime.heads.replaced_tokens import ReplacedTokenDetector
from bvx.runtime.loading import load
from bvx.runtime.manifest import TensorSpec

LOGITS = {"the": -4.0, "cat": 0.0, "sat": 2.5, "##s": 5.0, "[UNK]": -1.0, "[CLS]": 9.0, "[SEP]": 9.0}
"""The logit of each word, in the bundle whose graph is a table of words; the others' is -9."""


@pytest.fixture
def model(make_bundle):
    bundle = make_bundle()
    vocabulary = bundle.tokenizer().get_vocab()
    table = np.full(len(vocabulary), -9, np.float32)
    for word, logit in LOGITS.items():
        table[vocabulary[word]] = logit
    axes = ("batch", "sequence")
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["logits"])],
        "table",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, axes)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, axes)],
        [numpy_helper.from_array(table, "table")],
    )
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    manifest = replace(
        bundle.manifest,
        task="replaced-token-detection",
        head={"unk_token": "[UNK]"},
        inputs=bundle.manifest.inputs[:1],
        outputs=(TensorSpec("logits", "float32", axes),),
    )
    replace(bundle, manifest=manifest).replace_file("onnx/cpu/fp32.onnx", content.SerializeToString())
    with load(bundle.path, threads=1) as model:
        yield model


def score(word):
    return pytest.approx(1 / (1 + np.exp(-LOGITS[word])), abs=1e-6)


def test_every_token_of_the_text_has_its_probability(model):
    assert isinstance(model, ReplacedTokenDetector)
    assert model("The cats sat Zebra") == [
        {"index": 1, "score": score("the"), "word": "the", "start": 0, "end": 3},
        {"index": 2, "score": score("cat"), "word": "cat", "start": 4, "end": 7},
        {"index": 3, "score": score("##s"), "word": "##s", "start": 7, "end": 8},
        {"index": 4, "score": score("sat"), "word": "sat", "start": 9, "end": 12},
        {"index": 5, "score": score("[UNK]"), "word": "Zebra", "start": 13, "end": 18},
    ]
    assert model("") == []


def test_a_threshold_keeps_what_reaches_it(model):
    def words(threshold):
        return [token["word"] for token in model("the cats sat", threshold=threshold)]

    assert words(None) == words(0) == ["the", "cat", "##s", "sat"]
    assert words(0.5) == ["cat", "##s", "sat"]
    assert words(np.float32(0.6)) == ["##s", "sat"]
    assert words(1) == []


def test_a_batch_answers_as_each_text_alone(model):
    texts = ["cats", "", "the cats sat on the mat", "sat"]
    assert model(texts, batch_size=2) == model(iter(texts)) == [model(text) for text in texts]


def test_a_long_text_is_refused_or_cut(model):
    with pytest.raises(InputError, match=r"32 tokens long.*at most 24"):
        model("cat " * 30)
    assert len(model("cat " * 30, truncate=True)) == 22


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan"), "0.5", True, [0.5]])
def test_a_threshold_that_is_no_probability_is_refused(model, threshold):
    with pytest.raises(InputError, match="threshold is"):
        model("cat", threshold=threshold)


def test_a_bundle_that_does_not_fit_is_refused():
    head = open_head("replaced-token-detection", {}, None)
    assert head.seconds == "none"
    head.check_output(TensorSpec("logits", "float32", ("batch", "sequence")))
    with pytest.raises(BundleError, match="sequence"):
        head.check_output(TensorSpec("logits", "float32", ("batch", "sequence", 2)))
    with pytest.raises(BundleError, match="unk_token"):
        open_head("replaced-token-detection", {"unk_token": 3}, None)


def test_probabilities_are_the_sigmoids_of_transformers_logits(on_torch):
    made = on_torch("replaced-token-detection", "ElectraForPreTraining", {"unk_token": "[UNK]"}, embedding_size=16)
    texts = ["the cat sat on a mat", "dogs", "a dog, a cat and a zebra"]
    logits = made.logits(texts).logits.numpy()
    for row, answer in zip(logits, made.encoder(texts), strict=True):
        expected = 1 / (1 + np.exp(-row[1 : len(answer) + 1]))
        np.testing.assert_allclose([token["score"] for token in answer], expected, atol=1e-5)
        assert np.ptp(expected) > 0.05 or len(answer) < 3
