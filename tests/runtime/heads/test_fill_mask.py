"""fill-mask: the likeliest tokens for every mask, and only for masks."""

import logging

import numpy as np
import pytest

from bvx.runtime.errors import InputError
from bvx.runtime.heads import open_head
from bvx.runtime.loading import load

WORDS = ["the", "cat", "dog", "sat", "on", "a", "mat", "and", "ran", "##s", "##ed", "far", ",", ".", "\u00e9", "\u6211"]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]


@pytest.fixture
def bundle(make_bundle):
    return make_bundle("fill-mask")


@pytest.fixture
def model(bundle):
    with load(bundle.path, threads=1) as model:
        yield model


def expected_scores(bundle, model, text, place):
    logits = bundle.reference(model.tokenize(text))["logits"][0, place]
    return np.exp(logits) / np.exp(logits).sum()


def test_one_mask_gives_the_best_tokens_best_first(bundle, model):
    found = model("the [MASK] sat")
    scores = expected_scores(bundle, model, "the [MASK] sat", 2)
    best = np.argsort(-scores)[:5]
    assert [item["token"] for item in found] == best.tolist()
    assert [item["score"] for item in found] == pytest.approx(scores[best].tolist(), abs=1e-5)
    for item in found:
        token = VOCABULARY[item["token"]]
        assert item["token_str"] == token.replace("##", "") or item["token_str"] == token
        if token in WORDS and not token.startswith("##") and token not in ",.":
            assert item["sequence"] == f"the {token} sat"


def test_several_masks_give_a_list_for_each(bundle, model):
    first, second = model("[MASK] cat [MASK]", top_k=2)
    assert len(first) == len(second) == 2
    assert first[0]["score"] == pytest.approx(expected_scores(bundle, model, "[MASK] cat [MASK]", 1).max(), abs=1e-5)
    assert second[0]["score"] == pytest.approx(expected_scores(bundle, model, "[MASK] cat [MASK]", 3).max(), abs=1e-5)
    assert first[0]["sequence"].endswith("cat [MASK] [SEP]"), "the other mask stays to be seen"


def test_a_batch_answers_as_each_text_alone(model):
    texts = ["the [MASK]", "[MASK]", "a dog and a [MASK] ran [MASK]", "the [MASK]"]
    for together, alone in zip(model(texts), map(model, texts), strict=True):
        assert flatten(together) == pytest.approx(flatten(alone), abs=1e-5)


def flatten(answer):
    lists = answer if isinstance(answer[0], list) else [answer]
    return [number for items in lists for item in items for number in (item["score"], item["token"])]


def test_targets_restrict_the_tokens_and_keep_their_scores(bundle, model):
    scores = expected_scores(bundle, model, "the [MASK]", 2)
    found = model("the [MASK]", targets=["cat", "dog", "cat"])
    assert {item["token"]: item["score"] for item in found} == pytest.approx({6: scores[6], 7: scores[7]}, abs=1e-5)
    assert found[0]["score"] >= found[1]["score"]
    assert [item["token_str"] for item in model("the [MASK]", targets="cat")] == ["cat"]
    assert len(model("the [MASK]", targets=["cat", "dog"], top_k=1)) == 1


def test_a_target_that_is_no_token_is_stood_for_by_its_first_piece_and_says_so(model, caplog):
    with caplog.at_level(logging.WARNING):
        (found,) = model("the [MASK]", targets="cats")
    assert found["token_str"] == "cat" and "'cats' is no token" in caplog.text


def test_more_than_the_vocabulary_is_all_of_it(model):
    assert len(model("[MASK]", top_k=1000)) == len(VOCABULARY)


@pytest.mark.parametrize(
    ("texts", "options", "says"),
    [
        ("the cat", {}, r"The text has no \[MASK\]"),
        (["[MASK]", "cat"], {}, r"texts\[1\] has no \[MASK\]"),
        ("cat " * 30 + "[MASK]", {"truncate": True}, "cut off"),
        ("[MASK]", {"top_k": 0}, "top_k is 0"),
        ("[MASK]", {"top_k": None}, "top_k is None"),
        ("[MASK]", {"targets": []}, "targets is empty"),
        ("[MASK]", {"targets": [3]}, "A target is int"),
        ("[MASK]", {"targets": 5}, "targets is int"),
        ("[MASK]", {"targets": "a" * 1_000_001}, "has 1,000,001 characters"),
        ("[MASK]", {"targets": "cat \ud83d"}, "half a surrogate pair"),
        ("[MASK]", {"targets": ""}, "has no token"),
    ],
)
def test_what_cannot_be_answered_is_refused(model, texts, options, says):
    with pytest.raises(InputError, match=says):
        model(texts, **options)


def test_spaces_before_punctuation_go_only_where_the_checkpoint_says_so():
    class Words:
        def decode(self, ids, *, skip_special_tokens):
            return "do n't , he ' s said ."

    settings = {"mask_token": "[MASK]", "mask_token_id": 4}
    assert open_head("fill-mask", settings, Words())._read([1]) == "do n't , he ' s said ."
    cleaned = open_head("fill-mask", settings | {"clean_up_tokenization_spaces": True}, Words())
    assert cleaned._read([1]) == "don't, he's said."
