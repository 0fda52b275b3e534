"""What to type next fits the task, and can be pasted."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

from bvx.exporter.next_steps import list_next_steps
from bvx.runtime.tasks import TASKS


def next_words(task, head=None, tokenizer=True, out="b.bvx", targets=("cpu", "tensorrt"), engines=()):
    variants = [SimpleNamespace(target=target) for target in targets]
    manifest = SimpleNamespace(task=task, head=head or {}, tokenizer=tokenizer, variants=variants, engines=engines)
    return [shlex.split(command) for command in list_next_steps(manifest, Path(out))]


@pytest.mark.parametrize("task", [task.name for task in TASKS])
@pytest.mark.parametrize("out", ["b.bvx", "with space/é.bvx", "it's $HOME; rm -rf", "-dash"])
def test_the_folder_survives_the_shell_and_is_no_option(task, out):
    commands = next_words(task, out=out)
    assert [words[1] for words in commands] in (["run", "verify"], ["verify"])
    assert all(Path(words[2]) == Path(out) and not words[2].startswith("-") for words in commands)


def test_fill_mask_shows_the_models_own_mask_token():
    run, _ = next_words("fill-mask", {"mask_token": "<mask>"})
    assert run[3:] == ["Paris is the <mask> of France."]


@pytest.mark.parametrize(
    "labels",
    [["entailment", "neutral", "contradiction"], ["ENTAILMENT", "NOT_ENTAILMENT"], ["not_duplicate", "duplicate"]],
)
def test_a_model_of_pairs_gets_a_pair(labels):
    run, _ = next_words("text-classification", {"labels": labels})
    assert run[-2] == "--pair"


@pytest.mark.parametrize("labels", [["NEGATIVE", "POSITIVE"], ["LABEL_0"], []])
def test_other_classifiers_get_a_text(labels):
    run, _ = next_words("text-classification", {"labels": labels})
    assert "--pair" not in run


@pytest.mark.parametrize("task", ["question-answering", "text-ranking", "next-sentence-prediction"])
def test_a_task_that_needs_two_texts_gets_two(task):
    assert "--pair" in next_words(task)[0]


def test_sentences_come_in_twos_so_that_there_is_a_similarity():
    assert len(next_words("sentence-similarity")[0]) == 5


def test_without_a_tokenizer_there_is_only_verify():
    assert next_words("feature-extraction", tokenizer=None) == [["bvx", "verify", "b.bvx"]]


def test_what_only_a_gpu_serves_is_inspected_here_and_built_for():
    build = ["bvx", "build", "b.bvx", "--engine", "tensorrt-rtx"]
    assert next_words("fill-mask", targets=["tensorrt"]) == [["bvx", "inspect", "b.bvx"], build]
    assert next_words("fill-mask", targets=["tensorrt"], engines=["one"]) == [["bvx", "inspect", "b.bvx"]]
    assert next_words("fill-mask", targets=["cuda"]) == [["bvx", "inspect", "b.bvx"]]
