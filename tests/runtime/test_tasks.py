"""The tasks by their names, and by the names that others have for them."""

import pytest

from bvx.runtime.errors import PlanError
from bvx.runtime.tasks import TASKS, find_task

OPTIMUM = {
    "default": "feature-extraction",
    "masked-lm": "fill-mask",
    "pretraining": "feature-extraction",
    "sequence-classification": "text-classification",
    "zero-shot-classification": "text-classification",
}
"""Its TasksManager's synonyms for what an encoder can do; its "sentence-similarity" is a task of its own here."""


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_task_goes_by_its_name_and_its_synonyms(task):
    assert all(find_task(name) is task for name in (task.name, *task.synonyms))


@pytest.mark.parametrize(("synonym", "name"), OPTIMUM.items())
def test_optimums_synonyms_mean_what_they_mean_there(synonym, name):
    assert find_task(synonym).name == name


def test_no_name_means_two_tasks():
    names = [name for task in TASKS for name in (task.name, *task.synonyms)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", ["poetry", "", "Fill-Mask", "ForMaskedLM"])
def test_an_unknown_task_lists_the_known_ones(name):
    with pytest.raises(PlanError) as refused:
        find_task(name)
    assert repr(name) in refused.value.cause
    assert all(task.name in refused.value.next_step for task in TASKS)
