"""sentence-similarity: pooled and normalised over the tokens that are no padding."""

import numpy as np
import pytest

from bvx.runtime.errors import InputError
from bvx.runtime.loading import load

TEXTS = ["the cat sat on a mat", "dog", "a dog and a cat"]

FORMULAS = {
    "cls": lambda states: states[0],
    "max": lambda states: states.max(axis=0),
    "mean": lambda states: states.mean(axis=0),
    "mean_sqrt_len_tokens": lambda states: states.sum(axis=0) / np.sqrt(len(states)),
    "weightedmean": lambda states: np.average(states, axis=0, weights=np.arange(1, len(states) + 1)),
    "lasttoken": lambda states: states[-1],
}


def open_model(make_bundle, pooling, normalize=False, side="right"):
    from bvx.runtime.manifest import TokenizerInfo

    head = {"pooling": pooling, "normalize": normalize}
    bundle = make_bundle("sentence-similarity", head=head, tokenizer=TokenizerInfo("[PAD]", 0, 0, side))
    return load(bundle.path, threads=1)


def states_of(model, text):
    return model.run(**model.tokenize(text))["last_hidden_state"][0]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pooling", FORMULAS)
def test_each_pooling_is_its_formula_over_the_text_alone(make_bundle, pooling, side):
    model = open_model(make_bundle, [pooling], side=side)
    for text, found in zip(TEXTS, model(TEXTS), strict=True):
        assert found.dtype == np.float32 and found.shape == (8,)
        np.testing.assert_allclose(found, FORMULAS[pooling](states_of(model, text)), atol=1e-5)


def test_several_poolings_are_concatenated_in_the_order_in_which_they_are_named(make_bundle):
    model = open_model(make_bundle, ["mean", "cls"])
    states = states_of(model, "the cat")
    np.testing.assert_allclose(model("the cat"), np.concatenate([states.mean(axis=0), states[0]]), atol=1e-5)


def test_normalised_embeddings_have_length_one(make_bundle):
    model = open_model(make_bundle, "mean", normalize=True)
    states = states_of(model, "the cat").mean(axis=0)
    np.testing.assert_allclose(model("the cat"), states / np.linalg.norm(states), atol=1e-6)


def test_similarity_is_the_cosine_of_every_text_with_every_other(make_bundle):
    model = open_model(make_bundle, "mean")
    a, b = np.stack(model(TEXTS)), np.stack(model(TEXTS[:2]))
    expected = (a @ b.T) / np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1))
    np.testing.assert_allclose(model.similarity(TEXTS, TEXTS[:2]), expected, atol=1e-5)
    np.testing.assert_allclose(model.similarity(a, TEXTS[:2]), expected, atol=1e-5)
    assert model.similarity("dog", "dog") == pytest.approx(1.0, abs=1e-5)
    assert model.similarity("dog", TEXTS).shape == (1, 3)
    assert model.similarity(a[0], b).shape == (1, 2)


def test_similarity_takes_the_answers_of_a_call(make_bundle):
    model = open_model(make_bundle, "mean")
    a, b = model(TEXTS), model(TEXTS[:2])
    expected = model.similarity(TEXTS, TEXTS[:2])
    np.testing.assert_allclose(model.similarity(a, b), expected, atol=1e-5)
    np.testing.assert_allclose(model.similarity(tuple(a), iter(b)), expected, atol=1e-5)
    np.testing.assert_allclose(model.similarity(iter(TEXTS), b), expected, atol=1e-5)
    with pytest.raises(InputError, match="embeddings differ"):
        model.similarity([a[0], a[1][:4]], b)
    with pytest.raises(InputError, match=r"have 4 and 8 values.*one model"):
        model.similarity(np.ones((2, 4)), b)


def test_similarity_says_what_it_cannot_compare(make_bundle):
    model = open_model(make_bundle, "mean")
    with pytest.raises(InputError, match="no texts"):
        model.similarity([], "dog")
    with pytest.raises(InputError, match="3 dimensions"):
        model.similarity(np.zeros((1, 2, 3)), "dog")


def test_only_a_sentence_embedder_compares(make_bundle):
    with load(make_bundle().path, threads=1) as other:
        assert not hasattr(other, "similarity")
