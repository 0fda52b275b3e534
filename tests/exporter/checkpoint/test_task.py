"""Which task a checkpoint was made for, and what the answer needs to know of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bvx.exporter.checkpoint import Checkpoint, load_checkpoint
from bvx.exporter.checkpoint.task import choose_task
from bvx.exporter.plan import ExportPlan
from bvx.exporter.progress import Silent
from bvx.runtime.errors import UnsupportedModel

Make = Callable[..., Path]

SIGMOID, IDENTITY = "torch.nn.modules.activation.Sigmoid", "torch.nn.modules.linear.Identity"


def load(folder: Path, progress: Silent | None = None, **asked: object) -> Checkpoint:
    return load_checkpoint(ExportPlan(str(folder), folder / "out", **asked), progress)


@pytest.mark.parametrize(
    ("architecture", "task"),
    [
        ("AlbertForPreTraining", "pretraining-heads"),
        ("BertForPreTraining", "pretraining-heads"),
        ("ElectraForPreTraining", "replaced-token-detection"),
        ("BertForNextSentencePrediction", "next-sentence-prediction"),
        ("RobertaForMaskedLM", "fill-mask"),
        ("AlbertForSequenceClassification", "text-classification"),
        ("ElectraForTokenClassification", "token-classification"),
        ("BertForQuestionAnswering", "question-answering"),
        ("RobertaForMultipleChoice", "multiple-choice"),
        ("BertModel", "feature-extraction"),
        ("BertForSomethingElse", "feature-extraction"),
    ],
)
def test_an_architecture_says_what_it_was_made_for(architecture: str, task: str):
    assert choose_task(None, {"architectures": [architecture]}, None).name == task
    assert choose_task("fill-mask", {"architectures": [architecture]}, None).name == "fill-mask"


def test_without_architectures_there_are_features():
    assert choose_task(None, {}, None).name == "feature-extraction"
    assert choose_task(None, {"architectures": None}, None).name == "feature-extraction"


OLD = {"sbert_ce_default_activation_function": IDENTITY}
NEW = {"sentence_transformers": {"activation_fn": SIGMOID, "version": "4.0.1"}}
ONE = {"id2label": {"0": "LABEL_0"}}


@pytest.mark.parametrize(
    ("config", "task"),
    [
        (OLD | ONE, "text-ranking"),
        (NEW | ONE, "text-ranking"),
        (NEW | {"num_labels": 1}, "text-ranking"),
        (ONE, "text-classification"),
        (NEW, "text-classification"),
        (NEW | {"id2label": {"0": "no", "1": "yes"}}, "text-classification"),
        (NEW | ONE | {"architectures": ["BertForTokenClassification"]}, "token-classification"),
        ({"sentence_transformers": {"activation_fn": None}} | ONE, "text-classification"),
        ({"sentence_transformers": {"version": "4.0.1"}} | ONE, "text-classification"),
    ],
)
def test_a_cross_encoder_is_one_label_and_what_sentence_transformers_writes(config: dict[str, Any], task: str):
    assert choose_task(None, {"architectures": ["BertForSequenceClassification"]} | config, None).name == task


@pytest.mark.parametrize(
    ("config", "function"),
    [
        ({}, "sigmoid"),
        (OLD, "none"),
        (NEW, "sigmoid"),
        ({"sentence_transformers": {"activation_fn": IDENTITY}}, "none"),
        (
            {"sentence_transformers": {"activation_fn": IDENTITY}} | {"sbert_ce_default_activation_function": SIGMOID},
            "none",
        ),
    ],
)
def test_scores_are_made_as_config_json_says(
    config: dict[str, Any], function: str, tiny_checkpoint: Make, tmp_path: Path
):
    folder = tiny_checkpoint("roberta", "text-ranking", tmp_path, num_labels=1, **config)
    loaded = load(folder, task="text-ranking")
    assert loaded.head == {"function": function}
    if config:
        assert load(folder).task.name == "text-ranking"


@pytest.mark.parametrize("activation", ["torch.nn.modules.activation.Tanh", "mine.Identity", "Sigmoid"])
def test_a_function_that_bvx_does_not_know_is_refused(activation: str, tiny_checkpoint: Make, tmp_path: Path):
    config = {"sentence_transformers": {"activation_fn": activation}}
    folder = tiny_checkpoint("bert", "text-ranking", tmp_path, num_labels=1, **config)
    with pytest.raises(UnsupportedModel, match=rf"{activation}.*--task text-classification.*function_to_apply"):
        load(folder)
    assert load(folder, task="text-classification").head["labels"] == ["LABEL_0"]


def test_several_labels_rank_nothing(tiny_checkpoint: Make, tmp_path: Path):
    labels = {"0": "contradiction", "1": "entailment", "2": "neutral"}
    folder = tiny_checkpoint("bert", "text-classification", tmp_path, id2label=labels)
    says = r"gives 3 labels for a pair \(contradiction, entailment, neutral\).*--task text-classification"
    with pytest.raises(UnsupportedModel, match=says):
        load(folder, task="text-ranking")


def write_chain(folder: Path, settings: dict[str, Any]) -> Path:
    """What sentence-transformers 5.7 writes beside a cross-encoder."""
    kind = "sentence_transformers.base.modules.transformer.Transformer"
    (folder / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "", "type": kind}]))
    settings = {"model_type": "CrossEncoder", "default_prompt_name": None, "prompts": {}, **settings}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize(
    ("activation", "function"),
    [({"activation_fn": IDENTITY}, "none"), ({"activation_fn": SIGMOID}, "sigmoid"), ({}, "sigmoid")],
)
def test_a_cross_encoder_of_modules_is_one_too(
    activation: dict[str, str], function: str, tiny_checkpoint: Make, tmp_path: Path
):
    folder = write_chain(tiny_checkpoint("bert", "text-ranking", tmp_path, num_labels=1), activation)
    loaded = load(folder)
    assert (loaded.task.name, loaded.head) == ("text-ranking", {"function": function})
    kept = json.loads(loaded.extra_files["config.json"])["sentence_transformers"]["activation_fn"]
    assert kept == activation.get("activation_fn", SIGMOID), "who opens the bundle as a cross-encoder scores as it did"
    assert load(folder, task="text-classification").head["labels"] == ["LABEL_0"]


def test_a_cross_encoder_of_modules_with_several_labels_classifies(tiny_checkpoint: Make, tmp_path: Path):
    folder = write_chain(tiny_checkpoint("bert", "text-classification", tmp_path), {"activation_fn": IDENTITY})
    assert load(folder).task.name == "text-classification"


def test_a_cross_encoders_prompt_is_refused(tiny_checkpoint: Make, tmp_path: Path):
    prompt = {"default_prompt_name": "query", "prompts": {"query": "query: "}}
    folder = write_chain(tiny_checkpoint("bert", "text-ranking", tmp_path, num_labels=1), prompt)
    with pytest.raises(UnsupportedModel, match="prompt 'query'"):
        load(folder)


def test_a_cross_encoder_can_be_pooled_when_asked(tiny_checkpoint: Make, tmp_path: Path):
    folder = write_chain(tiny_checkpoint("bert", "text-ranking", tmp_path, num_labels=1), {"activation_fn": SIGMOID})
    progress = Silent()
    assert load(folder, progress, task="sentence-similarity").head == {"pooling": ["mean"], "normalize": False}
    assert any("mean over tokens" in warning for warning in progress.warnings)


@pytest.mark.parametrize(("family", "output"), [("albert", "sop_logits"), ("bert", "seq_relationship_logits")])
def test_pretraining_heads_say_which_output_is_of_the_pair(
    family: str, output: str, tiny_checkpoint: Make, tmp_path: Path
):
    loaded = load(tiny_checkpoint(family, "pretraining-heads", tmp_path))
    assert loaded.head["pair_output"] == output and output in loaded.outputs
    assert (loaded.head["mask_token"], loaded.head["mask_token_id"]) == ("[MASK]", 4)


def test_an_objective_of_another_family_is_refused_in_words(tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint("roberta", "fill-mask", tmp_path)
    says = "roberta models were not pre-trained for next-sentence-prediction; bert models are.*none but fill-mask"
    with pytest.raises(UnsupportedModel, match=says):
        load(folder, task="next-sentence-prediction")
    with pytest.raises(UnsupportedModel, match="for pretraining-heads; albert, bert models are"):
        load_checkpoint(ExportPlan("roberta-base", tmp_path / "out", task="for-pretraining", random_weights=True))
