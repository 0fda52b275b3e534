"""multiple-choice: the softmax over the choices of each text, of any number, whatever runs together."""

import numpy as np
import pytest

import bvx
from bvx.runtime.errors import BundleError, InputError
from bvx.runtime.loading import load
from bvx.runtime.manifest import TensorSpec

TEXTS = ["the cat sat", "a dog ran far and far", "", "mats"]
CHOICES = [["on a mat", "far", "a dog and a cat"], ["the cat"], ["dogs", "cats"], ["the", "a", "and", "on", "ran far."]]


@pytest.fixture
def model(make_bundle):
    with bvx.MultipleChoice.load(make_bundle("multiple-choice").path, threads=1) as model:
        yield model


@pytest.mark.parametrize(
    ("family", "class_name"), [("bert", "BertForMultipleChoice"), ("albert", "AlbertForMultipleChoice")]
)
def test_choices_are_those_of_transformers_own_model(on_torch, family, class_name):
    """Its forward reads [texts, choices, length], so that each text is asked alone."""
    torch = pytest.importorskip("torch")
    one = on_torch("multiple-choice", class_name)
    for text, choices, found in zip(TEXTS, CHOICES, one.encoder(TEXTS, CHOICES), strict=True):
        inputs = one.tokenizer([text] * len(choices), choices, padding=True, return_tensors="pt")
        with torch.no_grad():
            logits = one.model(**{name: tensor[None] for name, tensor in inputs.items()}).logits
        assert logits.shape == (1, len(choices))
        expected = logits.softmax(dim=1)[0].numpy()
        best = np.argsort(-expected, kind="stable")
        assert [item["index"] for item in found] == best.tolist()
        assert [item["text"] for item in found] == [choices[index] for index in best]
        np.testing.assert_allclose([item["score"] for item in found], expected[best], atol=1e-5)


def test_one_text_with_its_choices_is_one_answer(model):
    alone = [model(text, choices) for text, choices in zip(TEXTS, CHOICES, strict=True)]
    assert [len(answer) for answer in alone] == [3, 1, 2, 5]
    for answer, choices in zip(alone, CHOICES, strict=True):
        assert sum(item["score"] for item in answer) == pytest.approx(1, abs=1e-5)
        assert sorted(item["index"] for item in answer) == list(range(len(choices)))
    assert model(TEXTS[1], iter(CHOICES[1])) == [{"index": 0, "score": 1.0, "text": "the cat"}]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 32])
def test_choices_of_different_texts_run_together_without_being_mixed(model, batch_size):
    alone = [model(text, choices) for text, choices in zip(TEXTS, CHOICES, strict=True)]
    for found, other in zip(model(TEXTS, CHOICES, batch_size=batch_size), alone, strict=True):
        assert [(item["index"], item["text"]) for item in found] == [(item["index"], item["text"]) for item in other]
        np.testing.assert_allclose([item["score"] for item in found], [item["score"] for item in other], atol=1e-5)


def test_batches_are_of_choices_not_of_texts(model, monkeypatch):
    shapes, run = [], model.engine.run
    monkeypatch.setattr(
        model.engine, "run", lambda feeds, names=None: shapes.append(feeds["input_ids"].shape[0]) or run(feeds, names)
    )
    monkeypatch.setattr("bvx.runtime.encoder._RUN_COST", 10**6)  # no batch ends for its padding's sake
    model(TEXTS, CHOICES, batch_size=4)
    assert sorted(shapes) == [3, 4, 4]


def test_equal_choices_keep_their_order(model):
    found = model("the cat", ["dog", "dog", "dog"])
    assert [item["index"] for item in found] == [0, 1, 2]
    assert [item["score"] for item in found] == pytest.approx([1 / 3] * 3)


def test_generators_are_taken_and_nothing_gives_nothing(model):
    assert model((text for text in TEXTS), (iter(choices) for choices in CHOICES)) == model(TEXTS, CHOICES)
    assert model([], []) == []


LONG = "dog " * 30


@pytest.mark.parametrize(
    ("texts", "choices", "says"),
    [
        ("the cat", "a dog", "choices is a single text.*list of choices"),
        ("the cat", [], "choices is empty"),
        ("the cat", None, "choices is NoneType"),
        ("the cat", ["dog", 3], r"choices\[1\]: The pair is int, not str"),
        ("the cat", ["dog", LONG], r"choices\[1\]: The text is 35 tokens long; .* at most 24.*truncate=True"),
        (["the cat"], ["a dog", "dogs"], "1 texts and 2 lists of choices"),
        (["the cat"], ["a dog"], r"choices\[0\] is a single text"),
        (["the cat", "sat"], [["a dog"], []], r"choices\[1\] is empty"),
        (["the cat", "sat"], [["a"], ["b", LONG]], r"texts\[1\] with choices\[1\]\[1\]: The text is 34 tokens"),
        (["the cat", None], [["a"], ["b"]], r"texts\[1\] with choices\[1\]\[0\]: The text is NoneType"),
        (3, [["a"]], "texts is int"),
    ],
)
def test_what_cannot_be_chosen_from_is_refused_by_name(model, texts, choices, says):
    with pytest.raises(InputError, match=says):
        model(texts, choices)


def test_a_long_choice_is_cut_when_asked(model):
    assert len(model("the cat", ["dog", LONG], truncate=True)) == 2


def test_a_graph_of_several_logits_per_choice_is_refused(make_bundle):
    bundle = make_bundle("text-classification")
    bundle.change(task="multiple-choice", head={})
    with pytest.raises(BundleError, match="gives 3 logits for a choice; wanted 1"):
        load(bundle.path, threads=1)
    bundle.change(outputs=(TensorSpec("logits", "float32", ("batch", "sequence", 3)),), task="multiple-choice", head={})
    with pytest.raises(BundleError, match="logits"):
        load(bundle.path, threads=1)
