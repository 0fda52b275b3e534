"""A head that the checkpoint does not have: refused with the weights' names, or drawn where that is allowed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bvx.exporter.checkpoint import Checkpoint, load_checkpoint
from bvx.exporter.pipeline import export
from bvx.exporter.plan import ExportPlan
from bvx.exporter.progress import Silent
from bvx.runtime.bundle import Bundle
from bvx.runtime.errors import CheckpointError, UnsupportedModel

Make = Callable[..., Path]


def load(folder: Path, progress: Silent | None = None, **asked: object) -> Checkpoint:
    return load_checkpoint(ExportPlan(str(folder), folder / "out", **asked), progress)


def without(folder: Path, *names: str) -> Path:
    """The folder without the weights that begin so."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    kept = {name: weight for name, weight in weights.items() if not name.startswith(names)}
    assert len(kept) < len(weights)
    save_file(kept, path, metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize(
    ("family", "made_for", "task", "weights"),
    [
        (
            "bert",
            "fill-mask",
            "text-classification",
            r"bert\.pooler\.dense\.bias, .*classifier\.bias, classifier\.weight",
        ),
        ("roberta", "fill-mask", "text-classification", r"classifier\.dense\.bias, .*classifier\.out_proj\.weight"),
        ("bert", "feature-extraction", "token-classification", r"classifier\.bias, classifier\.weight"),
        ("albert", "fill-mask", "question-answering", r"qa_outputs\.bias, qa_outputs\.weight"),
        ("albert", "fill-mask", "sentence-order-prediction", r"sop_classifier\.classifier\.bias"),
        ("bert", "feature-extraction", "fill-mask", r"cls\.predictions\.transform\.dense\.weight"),
        ("electra", "fill-mask", "replaced-token-detection", r"discriminator_predictions\.dense\.bias"),
        ("electra", "feature-extraction", "multiple-choice", r"sequence_summary\.summary\.weight"),
    ],
)
def test_a_missing_head_is_named_and_drawn_only_where_that_is_allowed(
    family: str, made_for: str, task: str, weights: str, tiny_checkpoint: Make, tmp_path: Path
):
    folder = tiny_checkpoint(family, made_for, tmp_path)
    says = rf"no head for {task}; these weights are missing: .*{weights}.*--task {made_for}.*--allow-new-head"
    with pytest.raises(CheckpointError, match=says):
        load(folder, task=task)
    progress = Silent()
    loaded = load(folder, progress, task=task, allow_new_head=True)
    assert loaded.model_info.new_weights and loaded.model_info.seed == 0 and not loaded.model_info.random
    assert any(f"no head for {task}" in warning and "never trained" in warning for warning in progress.warnings)


def test_a_head_that_is_there_is_not_drawn(tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint("bert", "text-classification", tmp_path)
    progress = Silent()
    loaded, plain = load(folder, progress, allow_new_head=True, seed=3), load(folder)
    assert (loaded.model_info.new_weights, loaded.model_info.seed, progress.warnings) == ((), None, [])
    weights = plain.model.state_dict()
    assert all(torch.equal(weight, weights[name]) for name, weight in loaded.model.state_dict().items())


def test_a_new_head_is_the_same_for_the_same_seed(tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint("bert", "fill-mask", tmp_path)
    before = torch.random.get_rng_state()
    one, again, other = (
        load(folder, task="text-classification", allow_new_head=True, seed=seed).model.state_dict()
        for seed in (7, 7, 8)
    )
    differing = {name for name in one if not torch.equal(one[name], other[name])}
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert {"classifier.weight", "bert.pooler.dense.weight"} <= differing
    assert all(name.startswith(("classifier.", "bert.pooler.")) for name in differing), "the body is the checkpoint's"
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_new_head_that_ranks_has_one_label(tiny_checkpoint: Make, tmp_path: Path):
    loaded = load(tiny_checkpoint("roberta", "fill-mask", tmp_path), task="text-ranking", allow_new_head=True)
    assert loaded.model.classifier.out_proj.weight.shape == (1, 32)
    assert loaded.head == {"function": "sigmoid"}
    assert list(json.loads(loaded.extra_files["config.json"])["id2label"]) == ["0"]


@pytest.mark.parametrize(
    "lost",
    [
        pytest.param("bert.encoder.layer.1.attention.self.query.bias", id="of a layer"),
        pytest.param("bert.embeddings.word_embeddings", id="the vocabulary"),
        pytest.param("bert.encoder.layer.2", id="a whole layer"),
    ],
)
def test_a_new_head_lets_nothing_of_the_body_be_missing(lost: str, tiny_checkpoint: Make, tmp_path: Path):
    folder = without(tiny_checkpoint("bert", "feature-extraction", tmp_path), lost.removeprefix("bert."))
    with pytest.raises(CheckpointError, match=rf"misses these weights.*{lost}"):
        load(folder, task="text-classification", allow_new_head=True)


@pytest.mark.parametrize("lost", ["classifier.bias", "bert.pooler.dense.bias", "bert.pooler."])
def test_what_a_checkpoint_lost_of_its_own_head_is_not_drawn(lost: str, tiny_checkpoint: Make, tmp_path: Path):
    folder = without(tiny_checkpoint("bert", "text-classification", tmp_path), lost)
    with pytest.raises(CheckpointError, match=rf"misses these weights.*{lost}"):
        load(folder, allow_new_head=True)


def test_half_a_pooler_is_not_drawn_with_a_new_head(tiny_checkpoint: Make, tmp_path: Path):
    folder = without(tiny_checkpoint("bert", "feature-extraction", tmp_path), "pooler.dense.bias")
    with pytest.raises(CheckpointError, match=r"misses these weights.*bert\.pooler\.dense\.bias"):
        load(folder, task="text-classification", allow_new_head=True)


@pytest.mark.parametrize("allowed", [False, True])
@pytest.mark.parametrize("task", ["token-classification", "multiple-choice"])
@pytest.mark.parametrize("labels", [1, 2])
def test_another_tasks_head_is_refused_though_its_weights_have_the_same_names(
    task: str, labels: int, allowed: bool, tiny_checkpoint: Make, tmp_path: Path
):
    folder = tiny_checkpoint("bert", "text-classification", tmp_path, num_labels=labels)
    says = f"head was made for text-classification .BertForSequenceClassification., not for {task}.*mend its archit"
    with pytest.raises(CheckpointError, match=says):
        load(folder, task=task, allow_new_head=allowed)


def test_a_head_of_several_labels_is_not_drawn_anew_to_rank(tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint("bert", "text-classification", tmp_path)
    with pytest.raises(UnsupportedModel, match="gives 2 labels"):
        load(folder, task="text-ranking", allow_new_head=True)


def test_a_bundle_says_that_its_head_was_never_trained(tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint("albert", "fill-mask", tmp_path / "checkpoint", num_hidden_layers=1)
    progress = Silent()
    plan = ExportPlan(str(folder), tmp_path / "out", task="token-classification", allow_new_head=True, seed=5)
    model = Bundle.open(export(plan, progress).path).manifest.model
    assert (model.new_weights, model.seed, model.random) == (("classifier.bias", "classifier.weight"), 5, False)
    assert len(progress.warnings) == 1
