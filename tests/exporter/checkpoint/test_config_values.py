"""A config.json with impossible values is refused in one sentence that names the value."""

from __future__ import annotations

import pytest

from bvx.exporter.checkpoint.config import choose_family, complete_config
from bvx.exporter.families import known_families
from bvx.runtime.errors import BvxError, CheckpointError, UnsupportedModel

FAMILIES = sorted(known_families())


def refused(family_name: str, **changes: object) -> BvxError:
    family = known_families()[family_name]
    with pytest.raises((CheckpointError, UnsupportedModel)) as caught:
        complete_config({**family.tiny, **changes}, family)
    assert caught.value.next_step
    assert str(caught.value).isprintable()
    return caught.value


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_hidden_layers", -1),
        ("num_hidden_layers", 0),
        ("num_attention_heads", 0),
        ("num_attention_heads", 5),
        ("hidden_size", -64),
        ("vocab_size", 0),
        ("intermediate_size", 0),
        ("type_vocab_size", 0),
        ("max_position_embeddings", -5),
        ("max_position_embeddings", 2),
        ("layer_norm_eps", -1.0),
        ("layer_norm_eps", float("nan")),
        ("hidden_act", "swoosh"),
        ("pad_token_id", 10**9),
        ("pad_token_id", -1),
        ("hidden_dropout_prob", 7.0),
        ("num_labels", 0),
        ("num_labels", "two"),
        ("id2label", ["bad", "good"]),
        ("id2label", {"bad": "0"}),
        ("label2id", 3),
    ],
)
def test_a_value_that_no_model_can_have_is_named(family, name, value):
    said = str(refused(family, **{name: value}))
    assert name in said
    assert str(value) in said or repr(value) in said


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("value", ["64", None, 2.5, True, [64]])
def test_a_value_of_another_type_is_named_with_what_was_expected(family, value):
    said = str(refused(family, num_hidden_layers=value))
    assert "num_hidden_layers" in said
    assert "int" in said


@pytest.mark.parametrize("name", ["num_hidden_groups", "inner_group_num", "embedding_size"])
def test_albert_has_sizes_of_its_own(name):
    assert name in str(refused("albert", **{name: 0}))
    family = known_families()["bert"]
    complete_config({**family.tiny, name: 0}, family)


@pytest.mark.parametrize("architectures", ["BertModel", 5, [3]])
def test_architectures_are_a_list_of_names(architectures):
    with pytest.raises(CheckpointError, match="architectures"):
        choose_family({"model_type": "bert", "architectures": architectures}, None)


def test_settings_of_quantisation_may_be_anything():
    assert "quantised" in str(refused("bert", quantization_config=5))


@pytest.mark.parametrize("family", FAMILIES)
def test_what_families_have_is_fine(family):
    known = known_families()[family]
    complete_config(known.tiny, known)
    for config in known.architectures.values():
        complete_config(config, known)
