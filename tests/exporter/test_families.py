"""Who recognises which configuration, and what each family says of itself."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

from bvx.exporter import families
from bvx.exporter.families import Family, find_family, known_architectures, known_families, recognise
from bvx.runtime.errors import UnknownFamily, UnsupportedModel
from bvx.runtime.tasks import TASKS, Task

ALL = ["albert", "bert", "electra", "roberta", "spanbert"]


def test_the_families_are_the_files():
    assert list(known_families()) == ALL
    assert all(family.name == name for name, family in known_families().items())


@pytest.mark.parametrize("name", ALL)
def test_every_family_recognises_its_own_configurations_and_no_other_does(name: str):
    family = known_families()[name]
    for config in (family.tiny, *family.architectures.values()):
        assert recognise(config) is family


def test_architectures_without_a_model_type_are_recognised():
    assert recognise({"architectures": ["RobertaForMaskedLM"]}).name == "roberta"
    assert recognise({"architectures": ["BertModel"]}).name == "bert"


def test_a_bare_uncased_bert_is_no_spanbert():
    bare = dict(known_families()["spanbert"].architectures["spanbert-base-cased"])
    assert recognise(bare).name == "spanbert"
    assert recognise({**bare, "vocab_size": 30522}).name == "bert"


@pytest.mark.parametrize("config", [{}, {"model_type": "gpt2"}, {"model_type": "distilbert"}, {"vocab_size": 9}])
def test_strangers_are_refused_with_the_known_names(config: dict):
    with pytest.raises(UnknownFamily, match=", ".join(ALL)):
        recognise(config)


def test_an_unknown_family_lists_the_known_ones():
    with pytest.raises(UnknownFamily, match=r"'xlnet'.*albert"):
        find_family("xlnet")


def test_two_families_that_claim_a_config_are_both_named(monkeypatch: pytest.MonkeyPatch):
    twin = dataclasses.replace(known_families()["bert"], name="twin")
    monkeypatch.setattr(families, "known_families", lambda: {"bert": known_families()["bert"], "twin": twin})
    with pytest.raises(UnknownFamily, match=r"any of: bert, twin.*--family"):
        recognise({"model_type": "bert"})


def test_usable_length_leaves_out_robertas_padding_positions():
    sizes = {name: family.usable_length(config) for name, (family, config) in known_architectures().items()}
    assert set(sizes.values()) == {512}
    roberta, config = known_architectures()["roberta-base"]
    assert config["max_position_embeddings"] == 514 and roberta.usable_length({**config, "pad_token_id": 0}) == 513


def test_shared_layers_count_as_often_as_they_run():
    albert = known_families()["albert"]
    config = {**albert.tiny, "num_hidden_layers": 6, "num_hidden_groups": 2, "inner_group_num": 3}
    assert albert.layers(config) == 18
    assert albert.layer_norms(config, "feature-extraction") == 37
    assert albert.layer_norms(config, "fill-mask") == 38


OBJECTIVES = {
    "albert": {
        "sentence-order-prediction": ("sop_logits",),
        "pretraining-heads": ("prediction_logits", "sop_logits"),
    },
    "bert": {
        "next-sentence-prediction": ("logits",),
        "pretraining-heads": ("prediction_logits", "seq_relationship_logits"),
    },
    "electra": {"replaced-token-detection": ("logits",)},
}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("task", [task for task in TASKS if task.objective], ids=lambda task: task.name)
def test_an_objective_belongs_to_the_families_that_were_trained_for_it(name: str, task: Task):
    family, own = known_families()[name], OBJECTIVES.get(name, {})
    if task.name in own:
        assert family.outputs(task) == own[task.name]
        assert set(own[task.name]) <= set(task.outputs)
        return
    trained = ", ".join(other for other in ALL if task.name in OBJECTIVES.get(other, {}))
    with pytest.raises(UnsupportedModel) as refused:
        family.outputs(task)
    assert f"{name} models were not pre-trained for {task.name}; {trained} models are" in refused.value.cause
    assert refused.value.next_step.endswith(f"{', '.join(own) or 'none but fill-mask'}.")


@pytest.mark.parametrize("name", ALL)
def test_every_family_has_every_other_task(name: str):
    family = known_families()[name]
    for task in TASKS:
        if not task.objective:
            assert family.outputs(task) == tuple(
                output for output in task.outputs if output != "pooler_output" or name != "electra"
            )


@pytest.mark.parametrize("name", ALL)
def test_the_language_models_head_has_a_norm_of_its_own(name: str):
    family = known_families()[name]
    counts = {task.name: family.layer_norms(family.tiny, task.name) for task in TASKS}
    most = {task for task, count in counts.items() if count == max(counts.values())}
    assert most == {"fill-mask", "pretraining-heads"} and max(counts.values()) == min(counts.values()) + 1


def test_a_new_family_is_one_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A BERT under another name, dropped into the folder: found, recognised, and nothing else touched."""
    source = (
        "from bvx.exporter.families import Family, TokenizerRules, known_families, made_by\n"
        "FAMILY = Family(name='newcomer', model_type='bert', recognises=made_by('newcomer', 'Newcomer'),\n"
        "    inputs=('input_ids', 'attention_mask'), tokenizer=TokenizerRules('wordpiece', True), tiny={},\n"
        "    architectures={}, prepare_config=lambda config: {**config, 'model_type': 'bert'})\n"
    )
    (tmp_path / "newcomer.py").write_text(source)
    monkeypatch.setattr(families, "__path__", [*families.__path__, str(tmp_path)])
    known_families.cache_clear()
    try:
        assert list(known_families()) == ["albert", "bert", "electra", "newcomer", "roberta", "spanbert"]
        assert isinstance(recognise({"model_type": "newcomer"}), Family)
    finally:
        sys.modules.pop("bvx.exporter.families.newcomer", None)
        known_families.cache_clear()
