"""The command line in this process: what is printed where, and which exit code comes back."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path

import onnx_ir as ir
import pytest
from typer.testing import CliRunner

from bvx.exporter import cli, doctor
from bvx.exporter.cli import main
from bvx.runtime.errors import ParityFailed

COMMANDS = ("export", "verify", "run", "inspect", "doctor")


class Finished:
    def __init__(self, code, captured):
        self.code, self.out, self.err = code, captured.out, captured.err

    @property
    def document(self):
        return json.loads(self.out)


@pytest.fixture
def bvx(capsys, monkeypatch, tmp_path):
    """Runs the command line in an empty folder, nothing piped in: bvx("run", bundle, "text", stdin=b"…")."""
    monkeypatch.chdir(tmp_path)

    def run(*words, stdin=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        capsys.readouterr()
        code = main([str(word) for word in words])
        return Finished(code, capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def features(exported):
    return exported("bert", "feature-extraction").bundle


@pytest.fixture(scope="session")
def classifier(exported):
    return exported("electra", "text-classification").bundle


def test_help_lists_the_commands_of_this_release_and_no_others():
    shown = CliRunner().invoke(cli.app, ["--help"])
    assert shown.exit_code == 0
    listed = [line.split()[0] for line in shown.output.partition("Commands:")[2].splitlines() if line.strip()]
    assert tuple(listed) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_and_offers_json(command):
    shown = CliRunner().invoke(cli.app, [command, "--help"])
    assert shown.exit_code == 0
    assert "--json" in shown.output


def test_without_words_the_help_is_shown(bvx):
    done = bvx()
    assert done.code == 0
    assert "Commands:" in done.out


def test_the_version_is_one_line(bvx):
    import bvx as package

    assert bvx("--version").out == f"bvx {package.__version__}\n"


def test_a_checkpoint_becomes_a_bundle_that_is_inspected_verified_and_run(bvx, tiny_checkpoint, tmp_path):
    folder = tiny_checkpoint("albert", "fill-mask", tmp_path / "mein Modell é")
    done = bvx("export", folder)
    assert done.code == 0, done.err
    assert (tmp_path / "mein Modell é.bvx" / "bvx.json").is_file()
    assert "bvx run 'mein Modell é.bvx' 'Paris is the [MASK] of France.'" in done.out
    assert done.err == ""
    assert bvx("inspect", "mein Modell é.bvx").code == 0
    assert bvx("verify", "mein Modell é.bvx").code == 0
    answered = bvx("run", "mein Modell é.bvx", "a [MASK] b", "--top-k", 3, "--json").document
    assert len(answered["answers"][0]["answer"]) == 3


def test_export_says_in_json_what_inspect_says(bvx, tiny_checkpoint, tmp_path):
    folder = tiny_checkpoint("bert", "text-classification", tmp_path / "tiny")
    words = ("--out", tmp_path / "b", "--profile", "1x2:2x4:4x8", "--profile", "1x1:1x1:1x1", "--json")
    made = bvx("export", folder, *words)
    assert made.code == 0, made.err
    assert {**bvx("inspect", tmp_path / "b", "--json").document} == {
        name: value for name, value in made.document.items() if name not in ("warnings", "next")
    }
    again = bvx("export", folder, *words)
    assert again.code == 2
    assert "--overwrite" in again.document["error"]["next_step"]
    assert bvx("export", folder, *words, "--overwrite").code == 0


def test_all_faults_of_an_export_are_told_at_once(bvx):
    done = bvx("export", "x", "--precision", "fp32,int8", "--target", "tensorrt", "--profile", "8", "--task", "poetry")
    assert done.code == 2
    for word in ("'8' is no profile", "'poetry'", "'int8'", "'tensorrt'", "fp32", "cpu"):
        assert word in done.err
    assert done.err.count("\n") == 1
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("words", "code", "kind", "said"),
    [
        (("export",), 2, "PlanError", "Missing argument 'MODEL'"),
        (("export", ""), 2, "PlanError", "No model"),
        (("export", "x", "--nonsense"), 2, "PlanError", "--nonsense"),
        (("export", "x", "--seed", "many"), 2, "PlanError", "--seed"),
        (("bench", "x"), 2, "PlanError", "bench"),
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


def test_a_hub_id_without_a_network_is_refused_with_the_ways_out(bvx, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    done = bvx("export", "someone/no-such-model")
    assert done.code == 1
    assert "someone/no-such-model" in done.err
    assert done.err.count("\n") == 1


def test_a_failed_parity_gate_is_exit_code_3(bvx, monkeypatch):
    def export(plan, progress):
        raise ParityFailed("It differs.", "Look.")

    monkeypatch.setattr("bvx.exporter.pipeline.export", export)
    assert bvx("export", "x").code == 3


def test_verify_fails_with_3_where_the_graph_is_another(bvx, exported, mutated):
    original = exported("bert", "feature-extraction")

    def change(graph):
        weight = next(value for value in graph.initializers.values() if value.const_value.numpy().ndim == 2)
        weight.const_value = ir.tensor(weight.const_value.numpy() * 2, name=weight.name)

    bundle = mutated(original, change)
    shown = bvx("verify", bundle)
    assert shown.code == 3
    assert "FAILED" in shown.out
    as_json = bvx("verify", bundle, "--json")
    assert as_json.code == 3
    assert as_json.document["passed"] is False


def test_an_unknown_precision_is_refused_with_those_there_are(bvx, features):
    done = bvx("verify", features, "--precision", "int4")
    assert done.code == 1
    assert "fp32/cpu" in done.err


def test_a_damaged_bundle_is_refused(bvx, features, tmp_path):
    copy = shutil.copytree(features, tmp_path / "copy")
    (copy / "config.json").write_text("{}")
    assert bvx("inspect", copy).code == 1


def test_a_classifier_shows_its_labels_and_scores(bvx, classifier):
    done = bvx("run", classifier, "one", "")
    assert done.code == 0
    assert "1. one" in done.out
    assert "2. (empty text)" in done.out
    assert "LABEL_0" in done.out
    assert "LABEL_1" in done.out
    best = bvx("run", classifier, "one", "--top-k", "1", "--json").document["answers"][0]["answer"]
    assert set(best) == {"label", "score"}


def test_texts_are_paired_and_the_counts_must_agree(bvx, classifier):
    answered = bvx("run", classifier, "one", "--pair", "two", "--json").document["answers"][0]
    assert answered["pair"] == "two"
    assert answered["answer"] != bvx("run", classifier, "one", "--json").document["answers"][0]["answer"]
    assert bvx("run", classifier, "one", "--pair", "two", "--pair", "three").code == 1


def test_lines_of_standard_input_are_texts(bvx, classifier):
    piped = bvx("run", classifier, "--json", stdin="\ufeffone\r\n\nzwei é\n".encode()).document["answers"]
    assert [each["text"] for each in piped] == ["one", "", "zwei é"]
    refused = bvx("run", classifier, stdin=b"fine\n\xff\n")
    assert refused.code == 1
    assert "Line 2" in refused.err


def test_a_text_too_long_is_refused_until_it_may_be_cut(bvx, classifier):
    refused = bvx("run", classifier, "word " * 9999)
    assert refused.code == 1
    assert "--truncate" in refused.err
    assert bvx("run", classifier, "word " * 9999, "--truncate").code == 0


def test_embeddings_are_shown_in_short_and_given_whole_in_json(bvx, features):
    shown = bvx("run", features, "one")
    assert "norm" in shown.out
    assert "float32 [" in shown.out
    tokens = bvx("run", features, "one", "--json").document["answers"][0]["answer"]
    assert all(isinstance(value, float) for token in tokens for value in token)


def test_several_sentences_are_compared_with_each_other(bvx, exported):
    bundle = exported("bert", "sentence-similarity").bundle
    assert "Cosine similarity" in bvx("run", bundle, "one", "two").out
    cosines = bvx("run", bundle, "one", "two", "--json").document["cosines"]
    assert cosines[0][0] == pytest.approx(1)
    assert cosines[0][1] == pytest.approx(cosines[1][0])
    assert "cosines" not in bvx("run", bundle, "one", "--json").document


def test_json_lines_are_answered_in_order_and_a_bad_one_by_its_number(bvx, classifier):
    long = json.dumps({"text": "word " * 9999, "id": "long"})
    lines = ['"one"', '{"text": "one", "pair": "two", "id": 7}', "", "{bad", '{"txt": 1}', long, "3", '"one"']
    done = bvx("run", classifier, "--jsonl", stdin="\n".join(lines).encode() + b"\n\xff\n")
    answers = [json.loads(line) for line in done.out.splitlines()]
    assert done.code == 1
    assert [each.get("line") for each in answers] == [None, None, 4, 5, 6, 7, None, 9]
    assert answers[0] == answers[6]
    assert answers[1]["id"] == 7
    assert answers[4]["id"] == "long"
    assert done.err.startswith("Error: 5 of 8 lines")
    assert "line 4" in done.err


def test_doctor_fails_where_something_has_to_be_mended(bvx, monkeypatch):
    assert bvx("doctor", "--json").document["python"]["version"] == sys.version.split()[0]
    monkeypatch.setattr(doctor, "_version", lambda name: "1.30.0" if name.startswith("onnxruntime") else None)
    done = bvx("doctor")
    assert done.code == 1
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in done.out


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
    assert (done.code, done.err) == (130, "Error: Interrupted; nothing was written.\n")
