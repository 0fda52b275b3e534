"""The registry of heads."""

import pytest

import bvx
from bvx.runtime.errors import BundleError
from bvx.runtime.heads import HEADS, find_predictor, open_head
from bvx.runtime.tasks import TASKS

SETTINGS = {
    "labels": ["a"],
    "pooling": "mean",
    "mask_token": "[MASK]",
    "mask_token_id": 4,
    "function": "sigmoid",
    "pair_output": "sop_logits",
}


class NoTokenizer:
    def find(self, token):
        return None


def test_every_task_has_its_head_in_its_file(root):
    assert set(HEADS) == {task.name for task in TASKS}
    files = {path.stem: path.read_text() for path in (root / "runtime" / "heads").glob("*.py")}
    assert {name for name, text in files.items() if "\nPREDICTOR = " in text} == set(HEADS.values())


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_head_reads_outputs_that_its_task_has(task):
    head = open_head(task.name, SETTINGS, NoTokenizer())
    assert head.outputs and set(head.outputs) <= set(task.outputs)
    assert head.seconds in ("none", "optional", "needed")


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_the_classes_are_public_and_say_what_they_answer(task):
    predictor = find_predictor(task.name)
    assert issubclass(predictor, bvx.Encoder) and getattr(bvx, predictor.__name__) is predictor
    assert task.name in predictor.__doc__ and predictor.__call__.__doc__ != bvx.Encoder.__call__.__doc__


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        ("sentence-similarity", {}),
        ("sentence-similarity", {"pooling": ["median"]}),
        ("sentence-similarity", {"pooling": []}),
        ("sentence-similarity", {"pooling": [["mean"]]}),
        ("sentence-similarity", {"pooling": 3}),
        ("text-classification", {}),
        ("text-classification", {"labels": []}),
        ("text-classification", {"labels": ["a", 3]}),
        ("text-classification", {"labels": ["a"], "problem_type": "guessing"}),
        ("text-classification", {"labels": ["a"], "problem_type": ["regression"]}),
        ("fill-mask", {}),
        ("fill-mask", {"mask_token": "[MASK]", "mask_token_id": "4"}),
        ("fill-mask", {"mask_token": None, "mask_token_id": 4}),
        ("text-ranking", {}),
        ("text-ranking", {"function": "softmax"}),
        ("text-ranking", {"function": ["none"]}),
        ("pretraining-heads", {"pair_output": "sop_logits"}),
        ("pretraining-heads", {"mask_token": "[MASK]", "mask_token_id": 4}),
        ("pretraining-heads", {"mask_token": "[MASK]", "mask_token_id": 4, "pair_output": "logits"}),
        ("pretraining-heads", {"mask_token": "[MASK]", "mask_token_id": 4, "pair_output": ["sop_logits"]}),
    ],
)
def test_settings_that_do_not_fit_are_a_bundle_error(task, settings):
    with pytest.raises(BundleError):
        open_head(task, settings, None)
