"""A bundle has what optimum, sentence-transformers and transformers.js look for, under the names that they know.

`make interop` opens one with the tools themselves.
"""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
import transformers

import bvx

FAMILIES = ("albert", "bert", "electra", "roberta", "spanbert")
TEXTS = ["Two words", "and the rest of it, É!"]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_graph_lies_where_the_tools_look_and_speaks_in_transformers_names(exported, family) -> None:
    graph = onnx.load(exported(family, "feature-extraction").bundle / "onnx/model.onnx").graph
    assert {value.name for value in graph.input} <= {"input_ids", "attention_mask", "token_type_ids"}
    assert graph.output[0].name == "last_hidden_state"


def test_the_graph_is_standard_onnx_of_the_release_that_brought_opset_23(exported) -> None:
    model = onnx.load(exported("bert", "feature-extraction").bundle / "onnx/model.onnx")
    assert {(one.domain, one.version) for one in model.opset_import} == {("", 23)}
    assert model.ir_version <= 11


@pytest.mark.parametrize("family", FAMILIES)
def test_transformers_reads_the_configuration_and_finds_the_class(exported, family) -> None:
    made = exported(family, "feature-extraction")
    config = transformers.AutoConfig.from_pretrained(made.bundle)
    assert config.model_type == ("bert" if family == "spanbert" else family)
    assert config.architectures == [type(made.checkpoint.model).__name__]
    assert config.hidden_size == made.checkpoint.config["hidden_size"]


@pytest.mark.parametrize("family", FAMILIES)
def test_transformers_tokenizes_with_the_bundle_as_bvx_does(exported, family) -> None:
    bundle = exported(family, "feature-extraction").bundle
    tokenizer = transformers.AutoTokenizer.from_pretrained(bundle)
    with bvx.load(bundle, threads=1) as model:
        expected = model.tokenize(TEXTS)
        assert tokenizer.model_max_length == model.max_length
    found = tokenizer(TEXTS, padding=True, return_tensors="np")
    assert {name: array.tolist() for name, array in found.items() if name in expected} == {
        name: array.tolist() for name, array in expected.items()
    }


def test_a_classifier_s_labels_are_in_the_configuration(exported) -> None:
    bundle = exported("roberta", "text-classification").bundle
    labels = transformers.AutoConfig.from_pretrained(bundle).id2label
    with bvx.load(bundle, threads=1) as model:
        assert tuple(labels[number] for number in range(len(labels))) == model.labels
    assert [value.name for value in onnx.load(bundle / "onnx/model.onnx").graph.output] == ["logits"]


def test_sentence_transformers_finds_the_pooling_that_bvx_does(exported) -> None:
    bundle = exported("bert", "sentence-similarity").bundle
    modules = json.loads((bundle / "modules.json").read_text())
    assert [(one["type"].rpartition(".")[2], one["path"]) for one in modules[:2]] == [
        ("Transformer", ""),
        ("Pooling", "1_Pooling"),
    ]
    pooling = json.loads((bundle / "1_Pooling/config.json").read_text())
    longest = json.loads((bundle / "sentence_bert_config.json").read_text())["max_seq_length"]
    with bvx.load(bundle, threads=1) as model:
        assert [name for name, asked in pooling.items() if asked is True] == ["pooling_mode_mean_tokens"]
        assert model.manifest.head["pooling"] == ["mean"]
        assert model.manifest.head["normalize"] is any("Normalize" in one["type"] for one in modules)
        assert longest == model.max_length
        assert model("a text").shape == (pooling["word_embedding_dimension"],)
        assert np.isfinite(model("")).all()
