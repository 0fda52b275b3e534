"""Every wrong turn is one paragraph: what is wrong, what to do next, and an exit code."""

from __future__ import annotations

import json
import shutil
import signal

import pytest

from bvx.exporter import doctor, versions


@pytest.mark.parametrize(
    ("words", "code", "kind", "said"),
    [
        (("export",), 2, "PlanError", "Missing argument 'MODEL'"),
        (("verify",), 2, "PlanError", "Missing argument 'BUNDLE'"),
        (("run",), 2, "PlanError", "Missing argument 'BUNDLE'"),
        (("inspect",), 2, "PlanError", "Missing argument 'BUNDLE'"),
        (("doctor", "x"), 2, "PlanError", "unexpected extra argument"),
        (("export", ""), 2, "PlanError", "No model"),
        (("export", "x", "--nonsense"), 2, "PlanError", "--nonsense"),
        (("export", "x", "--seed", "many"), 2, "PlanError", "--seed"),
        (("export", "x", "--seed", "3"), 2, "PlanError", "--random-weights"),
        (("export", "x", "--family", "xlnet"), 2, "PlanError", "xlnet"),
        (("export", "x", "--task", "poetry"), 2, "PlanError", "poetry"),
        (("export", "x", "--precision", "int3"), 2, "PlanError", "int3"),
        (("export", "x", "--target", "abacus"), 2, "PlanError", "abacus"),
        (("export", "x", "--profile", "8"), 2, "PlanError", "MIN:OPT:MAX"),
        (("export", "x", "-v", "-q"), 2, "PlanError", "contradict"),
        (("-q", "export", "x", "--verbose"), 2, "PlanError", "contradict"),
        (("export", "./nothing"), 1, "CheckpointError", "no folder ./nothing"),
        (("export", "nothing/"), 1, "CheckpointError", "no folder nothing/"),
        (("export", "a/b/c"), 1, "CheckpointError", "no folder a/b/c"),
        (("verify", "x", "--bisect"), 2, "PlanError", "--against"),
        (("verify", "x", "--engine", "abacus"), 2, "PlanError", "onnxruntime"),
        (("run", "x", "text", "--engine", "abacus"), 2, "PlanError", "onnxruntime"),
        (("serve", "x"), 2, "PlanError", "serve"),
        (("export", "no-such", "--random-weights"), 2, "PlanError", "no-such"),
        (("inspect", "nothing here"), 1, "BundleError", "nothing here"),
        (("inspect", "."), 1, "BundleError", "bvx.json"),
        (("verify", "nothing"), 1, "BundleError", "nothing"),
        (("run", "nothing", "text"), 1, "BundleError", "nothing"),
        (("run", "nothing"), 2, "PlanError", "no text"),
        (("run", "x", "text", "--jsonl"), 2, "PlanError", "--jsonl"),
        (("run", "x", "--batch-size", "0"), 2, "PlanError", "--batch-size"),
    ],
)
def test_a_refusal_is_one_paragraph_with_a_next_step_and_in_json_one_document(bvx, words, code, kind, said):
    done = bvx(*words)
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith("Error: ")
    assert said in done.err
    assert done.err.count("\n") == 1
    as_json = bvx(*words, "--json")
    assert as_json.code == code
    error = as_json.document["error"]
    assert error["kind"] == kind
    assert error["exit_code"] == code
    assert error["next_step"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("export", "notes.txt"), "a checkpoint is a folder"),
        (("inspect", "notes.txt"), "a bundle is a folder"),
        (("verify", "notes.txt"), "a bundle is a folder"),
        (("run", "notes.txt", "text"), "a bundle is a folder"),
        (("export", "BUNDLE"), "is a bundle, not a checkpoint"),
        (("inspect", "checkpoint"), "Export it first"),
        (("verify", "checkpoint"), "Export it first"),
        (("run", "checkpoint", "text"), "Export it first"),
        (("run", "BUNDLE", "--input", "checkpoint"), "Name a file"),
        (("run", "BUNDLE", "--input", "nothing.txt"), "Check its name"),
        (("run", "BUNDLE", "text", "--pair-file", "checkpoint"), "Name a file"),
        (("run", "BUNDLE", "--jsonl", "--input", "nothing.txt"), "Check its name"),
    ],
)
def test_what_is_named_and_is_something_else_is_told_by_what_is_wanted(bvx, features, tmp_path, words, said):
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "config.json").write_text("{}")
    done = bvx(*(features if word == "BUNDLE" else word for word in words), "-q")
    assert (done.code, done.out) == (1, "")
    assert said in done.err
    assert done.err.count("\n") == 1


def test_a_damaged_bundle_is_refused(bvx, features, tmp_path):
    copy = shutil.copytree(features, tmp_path / "copy")
    (copy / "config.json").write_text("{}")
    assert bvx("inspect", copy).code == 1


def test_what_is_not_expected_is_one_sentence_and_a_traceback_only_when_asked_for(bvx, monkeypatch):
    def fail():
        raise ZeroDivisionError("what?")

    monkeypatch.setattr(doctor, "examine", fail)
    done = bvx("doctor", "--json")
    assert done.code == 1
    assert done.document["error"]["kind"] == "Unexpected"
    assert "ZeroDivisionError: what?" in done.err
    assert "report" in done.err
    assert "Traceback" not in done.err
    monkeypatch.setenv("BVX_DEBUG", "1")
    assert "Traceback" in bvx("doctor").err


def test_a_missing_extra_is_named(bvx, monkeypatch):
    def fail():
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(doctor, "examine", fail)
    done = bvx("doctor")
    assert done.code == 1
    assert "pip install bvx[export]" in done.err


def test_an_interruption_is_said_and_is_exit_code_130(bvx, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "examine", interrupt)
    done = bvx("doctor")
    assert (done.code, done.err) == (130, "Error: Interrupted.\n")


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (("inspect",), "bvx.runtime.bundle.Bundle.open"),
        (("run", "a"), "bvx.runtime.loading.load"),
        (("run", "a"), "bvx.exporter.prediction.predictions.Answerer.answer"),
        (("run", "a"), "bvx.exporter.answer_views.view_answers"),
        (("verify",), "bvx.exporter.verification.verify"),
        (("verify",), "bvx.exporter.inspection.describe_verification"),
    ],
)
def test_ctrl_c_ends_a_command_wherever_it_is(bvx, features, monkeypatch, words, place):
    monkeypatch.setattr(place, lambda *given, **options: signal.raise_signal(signal.SIGINT))
    command, *texts = words
    done = bvx(command, features, *texts)
    assert (done.code, done.out) == (130, "")
    assert done.err.splitlines()[-1] == "Error: Interrupted."


def test_an_interruption_while_words_are_read_is_said_too(bvx, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(versions, "describe_versions", interrupt)
    done = bvx("--version")
    assert (done.code, done.err) == (130, "Error: Interrupted.\n")


def test_a_wrong_word_weighs_more_than_what_lies_on_the_disk(bvx, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "bvx.json").write_text("{}")
    on_disk = bvx("export", "x", "--out", "out")
    assert on_disk.code == 1
    both = bvx("export", "x", "--out", "out", "--task", "poetry")
    assert both.code == 2
    assert "--overwrite" in both.err
    assert "poetry" in both.err


def test_a_broken_config_is_refused_by_the_value_that_is_wrong(bvx, tiny_checkpoint, tmp_path):
    folder = tiny_checkpoint("bert", "feature-extraction", tmp_path / "tiny")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_attention_heads": 5}))
    done = bvx("export", folder)
    assert done.code == 1
    assert "num_attention_heads 5" in done.err
    assert done.err.splitlines()[-1].startswith("Error: config.json")
