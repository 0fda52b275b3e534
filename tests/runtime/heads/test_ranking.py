"""text-ranking: scores as sentence-transformers' CrossEncoder makes them, and documents in their order."""

import numpy as np
import pytest

import bvx
from bvx.runtime.errors import BundleError, InputError
from bvx.runtime.loading import load

QUERY = "the cat sat on a mat"
DOCUMENTS = ["a dog ran", "the cat", "", "cats and dogs ran far, a cat sat.", "mat"]


@pytest.fixture
def model(make_bundle):
    with bvx.Reranker.load(make_bundle("text-ranking").path, threads=1) as model:
        yield model


@pytest.mark.parametrize("function", ["sigmoid", "none"])
def test_scores_are_those_of_a_cross_encoder(on_torch, function):
    """Its formula: the activation of the only logit of `model(**tokenizer(queries, documents, padding=True))`."""
    torch = pytest.importorskip("torch")
    one = on_torch("text-ranking", "BertForSequenceClassification", {"function": function}, num_labels=1)
    logits = one.logits([QUERY] * len(DOCUMENTS), DOCUMENTS).logits[:, 0]
    expected = torch.sigmoid(logits) if function == "sigmoid" else logits
    assert expected.max() - expected.min() > 0.05
    np.testing.assert_allclose(one.encoder([QUERY] * len(DOCUMENTS), DOCUMENTS), expected, atol=1e-5)
    single = one.encoder(QUERY, DOCUMENTS[3])
    assert type(single) is float and single == pytest.approx(float(expected[3]), abs=1e-5)


def test_documents_come_best_first(model):
    scores = model([QUERY] * len(DOCUMENTS), DOCUMENTS)
    found = model.rank(QUERY, DOCUMENTS)
    assert [one["score"] for one in found] == sorted((one["score"] for one in found), reverse=True)
    assert sorted(one["index"] for one in found) == list(range(len(DOCUMENTS)))
    for one in found:
        assert one["text"] == DOCUMENTS[one["index"]]
        assert one["score"] == pytest.approx(scores[one["index"]], abs=1e-6)
    assert model.rank(QUERY, DOCUMENTS, top_k=2) == found[:2]
    assert model.rank(QUERY, DOCUMENTS, top_k=99) == found
    assert model.rank(QUERY, (text for text in DOCUMENTS), batch_size=2)[0]["index"] == found[0]["index"]
    assert model.rank(QUERY, []) == []


def test_of_equals_the_first_given_comes_first(model):
    found = model.rank(QUERY, ["dog", "the cat", "dog", "the cat", "dog"])
    places = {text: [one["index"] for one in found if one["text"] == text] for text in ("dog", "the cat")}
    assert places == {"dog": [0, 2, 4], "the cat": [1, 3]}


def test_query_and_document_are_not_exchanged(model):
    assert model("the cat", "a dog ran far") != pytest.approx(model("a dog ran far", "the cat"), abs=1e-4)


def test_a_long_document_is_cut_when_asked(model):
    with pytest.raises(InputError, match=r"texts\[1\] is 36 tokens long; .* at most 24"):
        model.rank("the cat", ["dog", "dog " * 31])
    assert len(model.rank("the cat", ["dog", "dog " * 31], truncate=True)) == 2


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda model: model.rank(QUERY, DOCUMENTS, top_k=0), "top_k is 0.*None for all documents"),
        (lambda model: model.rank(QUERY, "a document"), "documents is a single text"),
        (lambda model: model.rank([QUERY], DOCUMENTS), "The query is list"),
        (lambda model: model.rank(QUERY, 3), "documents is int"),
        (lambda model: model(QUERY, None), "text-ranking takes two texts at a time"),
        (lambda model: model([QUERY], "cat"), "One of texts and pairs is a single text"),
        (lambda model: model([QUERY, "cat"], ["cat"]), "2 texts and 1 pairs"),
    ],
)
def test_what_cannot_be_ranked_is_refused(model, call, says):
    with pytest.raises(InputError, match=says):
        call(model)


def test_a_graph_of_several_labels_ranks_nothing(make_bundle):
    bundle = make_bundle("text-classification")
    bundle.change(task="text-ranking", head={"function": "sigmoid"})
    with pytest.raises(BundleError, match=r"gives 3 logits for a pair.*--task text-classification"):
        load(bundle.path, threads=1)
