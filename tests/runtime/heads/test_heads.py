"""The registry of heads."""

import pytest

from bvx.runtime.errors import BundleError
from bvx.runtime.heads import HEADS, open_head
from bvx.runtime.tasks import TASKS


def test_every_task_has_its_head_in_its_file(root):
    assert set(HEADS) == {task.name for task in TASKS}
    assert {path.stem for path in (root / "runtime" / "heads").glob("*.py")} == {*HEADS.values(), "__init__"}


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_head_reads_an_output_that_its_task_has(task):
    settings = {"labels": ["a"], "pooling": "mean", "mask_token": "[MASK]", "mask_token_id": 4}
    assert open_head(task.name, settings, None).output in task.outputs


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
    ],
)
def test_settings_that_do_not_fit_are_a_bundle_error(task, settings):
    with pytest.raises(BundleError):
        open_head(task, settings, None)
