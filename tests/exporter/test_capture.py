"""The door to torch.onnx: what goes in, what comes out, and what is refused."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
import torch

from bvx.exporter.capture import OPSET, Named, _expand_mask, capture
from bvx.exporter.families import known_families
from bvx.runtime.errors import UnsupportedModel
from bvx.runtime.tasks import find_task

FAMILIES = ("albert", "bert", "electra", "roberta", "spanbert")
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


@pytest.fixture
def batch():
    """Five rows: no padding, padding on the right, on the left, in the middle, and nothing but padding."""
    mask = torch.tensor([[1] * 6, [1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1], [1, 1, 0, 0, 1, 1], [0] * 6])
    ids = torch.randint(5, 400, (5, 6), generator=torch.Generator().manual_seed(0))
    return {"input_ids": torch.where(mask == 1, ids, torch.ones_like(ids)), "attention_mask": mask}


@contextmanager
def expanding(model):
    """While it lasts the model's base gets the mask that is captured, of four dimensions."""
    hook = model.base_model.register_forward_pre_hook(_expand_mask, with_kwargs=True)
    try:
        yield model
    finally:
        hook.remove()


def states_of(model, batch):
    with expanding(model), torch.no_grad():
        return Named(model, ["last_hidden_state"])(**batch)[0]


def test_a_mask_of_four_dimensions_means_what_the_one_of_two_means(tiny_model, batch, cell):
    family, task = cell
    model = tiny_model(family, task, num_hidden_layers=1)
    outputs = known_families()[family].outputs(find_task(task))
    with torch.no_grad():
        expected = model(**batch)
        with expanding(model):
            found = Named(model, outputs)(**batch)
    for name, value in zip(outputs, found, strict=True):
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_mask_is_read(tiny_model, batch, family):
    model = tiny_model(family, "feature-extraction")
    masked = states_of(model, batch)
    unmasked = states_of(model, {**batch, "attention_mask": torch.ones_like(batch["attention_mask"])})
    assert (masked[0] - unmasked[0]).abs().max() < 1e-5
    assert all((masked[row] - unmasked[row]).abs().max() > 1e-3 for row in range(1, 5))


def test_a_mask_that_counts_is_taken_for_yes_and_no(tiny_model, batch):
    model = tiny_model("bert", "feature-extraction")
    sevens = states_of(model, {**batch, "attention_mask": 7 * batch["attention_mask"]})
    torch.testing.assert_close(sevens, states_of(model, batch))


def test_the_mask_is_as_it_was_when_the_capture_is_over(tiny_model, batch):
    model = tiny_model("bert", "feature-extraction", num_hidden_layers=1)
    capture(model, INPUTS, ["last_hidden_state"])
    assert not model._forward_pre_hooks and not model.base_model._forward_pre_hooks


@pytest.mark.parametrize(
    ("family", "shape", "states"),
    [
        ("albert", {"num_hidden_layers": 2}, 3),
        ("bert", {"num_hidden_layers": 2}, 3),
        ("electra", {"num_hidden_layers": 2}, 3),
        ("roberta", {"num_hidden_layers": 2}, 3),
        # Every inner layer of a group leaves its own.
        ("albert", {"num_hidden_layers": 1, "inner_group_num": 2}, 3),
    ],
)
def test_hidden_states_are_outputs_when_asked_for(tiny_model, capture_of, run_graph, family, shape, states):
    captured = capture_of(tiny_model(family, "feature-extraction", **shape), family, "feature-extraction", states)
    assert states == captured.family.layers(captured.config) + 1
    graph, _ = captured.canonical()
    names = [value.name for value in graph.graph.outputs]
    assert names == list(captured.outputs) and names[-states:] == [f"hidden_states.{i}" for i in range(states)]
    feeds = captured.feeds(3, 7)
    found, expected = run_graph(graph, feeds), captured.reference(feeds)
    for name in names:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_the_last_hidden_state_and_the_last_of_the_hidden_states_are_two_outputs(tiny_model, capture_of, run_graph):
    model = tiny_model("bert", "feature-extraction", num_hidden_layers=1)
    captured = capture_of(model, "bert", "feature-extraction", hidden_states=2)
    assert len({value.name for value in captured.raw.graph.outputs}) == len(captured.outputs)
    found = run_graph(captured.raw, captured.feeds(2, 3))
    np.testing.assert_array_equal(found["last_hidden_state"], found["hidden_states.1"])


def test_weights_are_called_as_the_checkpoint_calls_them(captured):
    found = captured("bert", "text-classification")
    assert set(dict(found.model.named_parameters())) <= set(found.raw.graph.initializers)
    assert dict(found.raw.graph.opset_imports) == {"": OPSET}


def test_the_captured_weights_are_the_models_own_memory(captured):
    found = captured("bert", "text-classification")
    weight = found.model.get_parameter("bert.embeddings.word_embeddings.weight")
    stored = found.raw.graph.initializers["bert.embeddings.word_embeddings.weight"].const_value
    assert np.shares_memory(stored.numpy(), weight.detach().numpy())


def test_a_configuration_that_wants_tuples_is_captured_all_the_same(tiny_model):
    model = tiny_model("bert", "feature-extraction", num_hidden_layers=1)
    model.config.return_dict = False
    assert capture(model, INPUTS, ["last_hidden_state"]).graph.outputs[0].name == "last_hidden_state"


def test_a_decoder_is_refused(tiny_model):
    model = tiny_model("bert", "feature-extraction", num_hidden_layers=1)
    model.config.is_decoder = True
    with pytest.raises(UnsupportedModel, match="is_decoder"):
        capture(model, INPUTS, ["last_hidden_state"])


class Untraceable(torch.nn.Module):
    """A model whose answer depends on the numbers it reads."""

    def forward(self, input_ids, **_):
        if input_ids.sum() > 3:
            return {"logits": input_ids.float()}
        return {"logits": input_ids.float() + 1}


def test_what_cannot_be_traced_is_refused_in_one_plain_line():
    with pytest.raises(UnsupportedModel) as caught:
        capture(Untraceable(), ("input_ids", "attention_mask"), ["logits"])
    assert "could not trace Untraceable: " in caught.value.cause
    assert "\n" not in caught.value.cause and "\x1b" not in caught.value.cause and "step 1/3" not in caught.value.cause
    assert caught.value.__cause__ is not None
