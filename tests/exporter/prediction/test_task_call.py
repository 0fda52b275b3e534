"""Which options and second texts a task has is what its class takes."""

from __future__ import annotations

import dataclasses

import pytest

from bvx.exporter.prediction.task_call import OPTIONS, AnswerOptions, TaskCall, speak
from bvx.runtime.errors import InputError, PlanError
from bvx.runtime.heads import find_predictor
from bvx.runtime.tasks import TASKS

NAMES = [task.name for task in TASKS]


def call(task):
    return TaskCall.of(find_predictor(task), task)


def test_every_option_is_one_that_some_task_has():
    assert [field.name for field in dataclasses.fields(AnswerOptions)] == list(OPTIONS)
    every = {keyword for name in NAMES for keyword in call(name).keywords | call(name).ranking}
    assert {keyword for keywords in OPTIONS.values() for keyword in keywords} <= every


@pytest.mark.parametrize(
    ("task", "options", "keywords"),
    [
        ("feature-extraction", {}, {}),
        ("text-classification", {}, {"top_k": 5}),
        ("text-classification", {"top_k": 2, "function": "none"}, {"top_k": 2, "function_to_apply": "none"}),
        ("fill-mask", {"target": ("a", "b"), "truncate": True}, {"targets": ("a", "b"), "truncate": True}),
        ("token-classification", {"doc_stride": 0, "aggregation": "max"}, {"stride": 0, "aggregation_strategy": "max"}),
        ("token-classification", {"ignore_label": ("X",)}, {"ignore_labels": ("X",)}),
        ("question-answering", {"no_answer_threshold": 0.0}, {"no_answer_threshold": 0.0}),
        (
            "question-answering",
            {"impossible": True, "doc_stride": 9},
            {"handle_impossible_answer": True, "doc_stride": 9},
        ),
        ("question-answering", {"max_answer_length": 3}, {"max_answer_len": 3}),
        ("replaced-token-detection", {"threshold": 0.0}, {"threshold": 0.0}),
        ("text-ranking", {"top_k": 3}, {"top_k": 3}),
    ],
)
def test_options_have_the_names_of_the_tasks_class_and_a_zero_is_kept(task, options, keywords):
    assert call(task).find_keywords(AnswerOptions(**options)) == {"batch_size": 32, **keywords}


@pytest.mark.parametrize("task", NAMES)
def test_an_option_that_a_task_has_not_is_refused_with_those_that_it_has(task):
    wrong = "threshold" if task != "replaced-token-detection" else "top_k"
    with pytest.raises(PlanError) as refused:
        call(task).find_keywords(AnswerOptions(**{wrong: 1}))
    flag = f"--{wrong.replace('_', '-')}"
    assert refused.value.cause.startswith(f"{task} has no {flag}; it has: --")
    assert refused.value.next_step == f"Leave {flag} out."


def test_what_is_listed_is_what_the_task_has():
    with pytest.raises(
        PlanError, match="it has: --aggregation, --ignore-label, --doc-stride, --truncate, --batch-size"
    ):
        call("token-classification").find_keywords(AnswerOptions(target=("a",)))


@pytest.mark.parametrize("task", NAMES)
def test_a_second_text_is_taken_where_the_task_reads_one_and_asked_for_where_it_needs_one(task):
    takes = call(task)
    refused = []
    for pairs, choices in ((False, False), (True, False), (False, True)):
        try:
            takes.check_second(pairs=pairs, choices=choices)
        except PlanError:
            refused.append((pairs, choices))
    alone = [] if not takes.needed else [(False, False)]
    wrong = {"none": [(True, False), (False, True)], "pair": [(False, True)], "choices": [(True, False)]}
    assert refused == alone + wrong[takes.second]


@pytest.mark.parametrize(
    ("said", "spoken"),
    [
        ("Shorten it, or have it cut with truncate=True.", "Shorten it, or have it cut with --truncate."),
        ("top_k is 0.", "--top-k is 0."),
        ("Choose an aggregation_strategy other than 'none'.", "Choose an --aggregation other than 'none'."),
        ("The target 'stride' has no token.", "The target 'stride' has no token."),
        ("texts[2] has no [MASK].", "Text 3 has no [MASK]."),
        ("texts[0] with choices[9]: no.", "Text 1 with choice 10: no."),
        ("It failed. contexts[1] is empty, as is context[1].", "It failed. Context 2 is empty, as is context[1]."),
    ],
)
def test_an_error_is_told_in_the_words_of_the_command_line(said, spoken):
    assert speak(InputError(said, said)).args == (spoken, spoken)
