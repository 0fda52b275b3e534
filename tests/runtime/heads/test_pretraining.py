"""pretraining-heads: both answers of one run, each as its own task gives it."""

import numpy as np
import pytest

import bvx
from bvx.runtime.errors import BundleError, InputError
from bvx.runtime.loading import load

MASKS = {"mask_token": "[MASK]", "mask_token_id": 4}
TEXTS = ["the [MASK] sat", "dogs", "[MASK] cat and a [MASK] ran far."]
PAIRS = ["a cat [MASK]", "ran", "mat"]


@pytest.fixture
def model(make_bundle):
    with bvx.PretrainingModel.load(make_bundle("pretraining-heads").path, threads=1) as model:
        yield model


@pytest.mark.parametrize(
    ("class_name", "output", "labels"),
    [
        ("AlbertForPreTraining", "sop_logits", ("in_order", "swapped")),
        ("BertForPreTraining", "seq_relationship_logits", ("next", "not_next")),
    ],
)
def test_both_answers_are_transformers_own(on_torch, class_name, output, labels):
    one = on_torch("pretraining-heads", class_name, {**MASKS, "pair_output": output})
    for text, pair, found in zip(TEXTS, PAIRS, one.encoder(TEXTS, PAIRS, top_k=3), strict=True):
        raw = one.logits(text, pair)
        scores = raw[output].softmax(dim=1)[0].tolist()
        assert abs(scores[0] - scores[1]) > 0.02, "swapped labels would pass"
        assert {item["label"]: item["score"] for item in found["pair"]} == pytest.approx(
            dict(zip(labels, scores, strict=True)), abs=1e-5
        )
        ids = one.tokenizer(text, pair)["input_ids"]
        places = [place for place, number in enumerate(ids) if number == 4]
        assert len(found["fillings"]) == len(places)
        for fillings, place in zip(found["fillings"], places, strict=True):
            expected = raw["prediction_logits"][0, place].softmax(dim=0)
            assert [item["token"] for item in fillings] == expected.topk(3).indices.tolist()
            np.testing.assert_allclose([item["score"] for item in fillings], expected.topk(3).values, atol=1e-5)


def test_a_text_without_masks_has_no_fillings_and_one_without_a_pair_no_labels(model):
    assert model("dogs ran") == {"fillings": [], "pair": []}
    alone = model("the [MASK] sat")
    assert len(alone["fillings"]) == 1 and alone["pair"] == []
    both = model("dogs", "ran")
    assert both["fillings"] == [] and {item["label"] for item in both["pair"]} == {"in_order", "swapped"}


def test_a_batch_answers_as_each_pair_alone(model):
    for found, text, pair in zip(model(TEXTS, PAIRS, batch_size=2), TEXTS, PAIRS, strict=True):
        alone = model(text, pair)
        assert [[item["token"] for item in one] for one in found["fillings"]] == [
            [item["token"] for item in one] for one in alone["fillings"]
        ]
        assert [item["label"] for item in found["pair"]] == [item["label"] for item in alone["pair"]]
        assert found["pair"][0]["score"] == pytest.approx(alone["pair"][0]["score"], abs=1e-5)


def test_options_are_those_of_fill_mask(model):
    (found,) = model("the [MASK]", top_k=2)["fillings"]
    assert len(found) == 2 and found[0]["score"] >= found[1]["score"]
    (found,) = model("the [MASK]", targets=["cat", "dog"])["fillings"]
    assert {item["token_str"] for item in found} == {"cat", "dog"}
    for options, says in (({"top_k": 0}, "top_k is 0"), ({"targets": []}, "targets is empty")):
        with pytest.raises(InputError, match=says):
            model("the [MASK]", **options)


@pytest.mark.parametrize("fields", [{"pair_output": "seq_relationship_logits"}, {"mask_token_id": 21}])
def test_settings_that_do_not_fit_the_graph_are_refused(make_bundle, fields):
    bundle = make_bundle("pretraining-heads")
    bundle.change(head={**bundle.manifest.head, **fields})
    with pytest.raises(BundleError, match=r"reads seq_relationship_logits|mask_token_id is 21"):
        load(bundle.path, threads=1)


def test_outputs_of_another_shape_are_refused(make_bundle):
    settings = {**MASKS, "pair_output": "sop_logits"}
    bundle = make_bundle("sentence-order-prediction")
    bundle.change(task="pretraining-heads", head=settings)
    with pytest.raises(BundleError, match="reads prediction_logits; the graph gives sop_logits"):
        load(bundle.path, threads=1)
