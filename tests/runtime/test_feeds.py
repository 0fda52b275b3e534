"""Arrays that a caller made: what is missing is filled, what cannot be meant is refused with what was wanted."""

from itertools import combinations

import numpy as np
import pytest

from bvx.runtime.errors import InputError
from bvx.runtime.feeds import _cut
from bvx.runtime.loading import load

IDS = np.array([[2, 6, 7, 3], [2, 6, 3, 0]])
MASK = np.array([[1, 1, 1, 1], [1, 1, 1, 0]])


@pytest.fixture
def bundle(make_bundle):
    return make_bundle()


@pytest.fixture
def model(bundle):
    with load(bundle.path, threads=1) as model:
        yield model


def states(model, **arrays):
    return model.run(**arrays)["last_hidden_state"]


def test_missing_mask_and_types_are_filled(bundle, model):
    full = {"input_ids": IDS, "attention_mask": np.ones_like(IDS), "token_type_ids": np.zeros_like(IDS)}
    np.testing.assert_allclose(states(model, input_ids=IDS), bundle.reference(full)["last_hidden_state"], atol=1e-5)
    assert not np.allclose(states(model, input_ids=IDS), states(model, input_ids=IDS, attention_mask=MASK))


@pytest.mark.parametrize("dtype", ["int32", "int16", "uint8", "uint64"])
def test_other_integers_are_widened(model, dtype):
    expected = states(model, input_ids=IDS, attention_mask=MASK)
    found = states(model, input_ids=IDS.astype(dtype), attention_mask=MASK.astype(dtype))
    np.testing.assert_array_equal(found, expected)


def test_lists_and_a_comparison_as_mask_are_taken(model):
    expected = states(model, input_ids=IDS, attention_mask=MASK)
    np.testing.assert_array_equal(states(model, input_ids=IDS.tolist(), attention_mask=IDS != 0), expected)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"input_ids": IDS, "inputs_embeds": IDS}, "no input 'inputs_embeds'. It has: input_ids, attention_mask"),
        ({"attention_mask": MASK}, "Input input_ids is missing"),
        ({}, "Input input_ids is missing"),
        ({"input_ids": IDS.astype("float32")}, r"input_ids is float32; wanted int64 of \[batch, sequence\]"),
        ({"input_ids": IDS > 0}, "input_ids is bool"),
        ({"input_ids": IDS, "attention_mask": MASK / 1}, "attention_mask is float64; wanted int64"),
        ({"input_ids": "the cat"}, "input_ids is <U7; wanted int64"),
        ({"input_ids": None}, "input_ids is object"),
        ({"input_ids": IDS[0]}, r"input_ids has 1 dimensions; wanted .*array\[None\]"),
        ({"input_ids": IDS[None]}, "input_ids has 3 dimensions"),
        ({"input_ids": [[2, 3], [2]]}, "input_ids is no array .*one length"),
        ({"input_ids": IDS[:0]}, r"shape \[0, 4\] is empty"),
        ({"input_ids": IDS[:, :0]}, r"shape \[2, 0\] is empty"),
        ({"input_ids": IDS, "attention_mask": MASK[:1]}, r"attention_mask has shape \[1, 4\] and input_ids .*\[2, 4\]"),
        ({"input_ids": np.full((1, 25), 6)}, "25 tokens long; this model takes at most 24"),
        ({"input_ids": IDS + 21 - 2}, "input_ids has the value 26; this model takes 0 to 20"),
        ({"input_ids": IDS - 1}, "input_ids has the value -1"),
        ({"input_ids": IDS, "token_type_ids": IDS}, "token_type_ids has the value 7; this model takes 0 to 1"),
        ({"input_ids": np.full((1, 2), 2**64 - 1, np.uint64)}, "has the value -1"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_was_wanted(model, arrays, says):
    with pytest.raises(InputError, match=says):
        model.run(**arrays)


def test_an_id_beyond_the_table_is_an_input_error_even_where_the_limit_is_unknown(bundle):
    bundle.change(input_limits={})
    with load(bundle.path, threads=1) as model:
        with pytest.raises(InputError, match="outside the model's table"):
            model.run(input_ids=[[2, 99, 3]])
        with pytest.raises(InputError, match="-2; this model takes not negative"):
            model.run(input_ids=[[2, -2, 3]])


def test_a_tokenizer_with_more_tokens_than_the_model_is_caught(bundle):
    bundle.change(input_limits={"input_ids": 6})
    with load(bundle.path, threads=1) as model:
        assert model("the").shape == (3, 8)
        with pytest.raises(InputError, match="input_ids has the value 6"):
            model("cat")


def cost_of(lengths, ends, most, run_cost):
    """What groups that end at `ends` take, each in batches of at most `most`: tokens with their padding, and runs."""
    cost, start = 0, 0
    for end in ends:
        for first in range(start, end, most):
            cost += (min(end, first + most) - first) * lengths[first] + run_cost
        start = end
    return cost


@pytest.mark.parametrize("seed", range(40))
def test_batches_are_cut_where_the_whole_takes_least(seed):
    random = np.random.default_rng(seed)
    lengths = sorted(random.integers(1, 12, random.integers(1, 10)).tolist(), reverse=True)
    most, run_cost = int(random.integers(1, 5)), int(random.integers(0, 10))
    places = [place for place in range(1, len(lengths)) if lengths[place] < lengths[place - 1]]
    ways = [[*way, len(lengths)] for count in range(len(places) + 1) for way in combinations(places, count)]
    ends = _cut(lengths, most, run_cost)
    assert ends in ways
    assert cost_of(lengths, ends, most, run_cost) == min(cost_of(lengths, way, most, run_cost) for way in ways)


def test_no_texts_make_no_batches():
    assert _cut([], 4, 2) == []
