"""`bvx export`: what is made, what is said of it, and what to type next."""

from __future__ import annotations

import re
import shlex
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from bvx.exporter.cli.shell import Shell
from bvx.runtime.errors import ParityFailed


def test_a_checkpoint_becomes_a_bundle_that_is_inspected_verified_and_run(bvx, tiny_checkpoint, tmp_path):
    folder = tiny_checkpoint("albert", "fill-mask", tmp_path / "mein Modell é")
    done = bvx("export", folder)
    assert done.code == 0, done.err
    assert (tmp_path / "mein Modell é.bvx" / "bvx.json").is_file()
    assert "bvx run 'mein Modell é.bvx' 'Paris is the [MASK] of France.'" in done.out
    assert "bvx verify 'mein Modell é.bvx'" in done.out
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
        name: value for name, value in made.document.items() if name not in ("warnings", "next", "engines")
    }
    again = bvx("export", folder, *words)
    assert again.code == 1
    assert "--overwrite" in again.document["error"]["next_step"]
    assert bvx("export", folder, *words, "--overwrite").code == 0


def test_all_faults_of_an_export_are_told_at_once(bvx):
    done = bvx("export", "x", "--precision", "fp32,int3", "--target", "abacus", "--profile", "8", "--task", "poetry")
    assert done.code == 2
    for word in ("'8' is no profile", "'poetry'", "'int3'", "'abacus'", "fp32", "cpu"):
        assert word in done.err
    assert done.err.count("\n") == 1
    assert not list(Path().iterdir())


def test_a_hub_id_without_a_network_is_refused_with_the_ways_out(bvx, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    done = bvx("export", "someone/no-such-model")
    assert done.code == 1
    assert "someone/no-such-model" in done.err
    assert done.err.count("\n") == 1


def test_a_failed_parity_gate_is_exit_code_3(bvx, monkeypatch):
    def export(plan, progress, stdin):
        raise ParityFailed("It differs.", "Look.")

    monkeypatch.setattr("bvx.exporter.pipeline.export", export)
    assert bvx("export", "x").code == 3


def test_the_end_says_variant_size_worst_difference_and_what_is_allowed(bvx, tiny_checkpoint, tmp_path):
    folder = tiny_checkpoint("bert", "text-classification", tmp_path / "tiny")
    done = bvx("export", folder)
    (columns,) = (line for line in done.out.splitlines() if line.startswith("variant"))
    assert columns.split() == ["variant", "size", "largest", "difference", "allowed", "state"]
    (row,) = (line for line in done.out.splitlines() if line.startswith("fp32/cpu"))
    assert re.fullmatch(r"fp32/cpu +\S+ kB +\S+e-\d+ of scale +0\.0001 +verified", row)


def test_what_it_says_to_type_next_works(bvx, tiny_checkpoint, tmp_path):
    folder = tiny_checkpoint("roberta", "fill-mask", tmp_path / "it's $HOME")
    for command in bvx("export", folder, "--json").document["next"]:
        program, *words = shlex.split(command)
        assert program == "bvx"
        assert bvx(*words).code == 0


def test_a_folder_that_is_no_bundle_is_kept_and_overwrite_is_not_suggested(bvx, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    for more in ([], ["--overwrite"]):
        done = bvx("export", "albert-base-v2", "--random-weights", "--out", "out", *more)
        assert done.code == 1
        assert "not a bundle" in done.err
        assert "Pass --overwrite" not in done.err
    assert (tmp_path / "out" / "thesis.tex").read_text() == "years of work"


def test_a_folder_that_nobody_may_write_to_is_named(bvx, tiny_checkpoint, tmp_path):
    folder = tiny_checkpoint("bert", "feature-extraction", tmp_path / "tiny")
    done = bvx("export", folder, "--out", "/proc/bundle.bvx")
    assert done.code == 1
    assert "/proc" in done.err
    assert "--out" in done.err


def test_interrupted_it_says_that_nothing_was_written(bvx, monkeypatch):
    def interrupt(plan, progress, stdin):
        raise KeyboardInterrupt

    monkeypatch.setattr("bvx.exporter.pipeline.export", interrupt)
    done = bvx("export", "x")
    assert (done.code, done.err) == (130, "Error: Interrupted; nothing was written.\n")


def test_ctrl_c_at_each_stage_leaves_nothing(bvx, monkeypatch, tiny_checkpoint, tmp_path):
    folder = tiny_checkpoint("bert", "feature-extraction", tmp_path / "tiny", num_hidden_layers=1)
    stages, begin = [], Shell.stage

    def note(shell, name, total=None):
        stages.append(name)
        begin(shell, name, total)

    monkeypatch.setattr(Shell, "stage", note)
    assert bvx("export", folder, "--out", "whole.bvx").code == 0
    assert len(stages) >= 5
    for stage in list(stages):

        def interrupt(shell, name, total=None, stage=stage):
            begin(shell, name, total)
            if name == stage:
                signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr(Shell, "stage", interrupt)
        done = bvx("export", folder, "--out", "out/b.bvx")
        assert (done.code, done.out) == (130, "")
        assert done.err.splitlines()[-1] == "Error: Interrupted; nothing was written."
        assert sorted(path.name for path in tmp_path.iterdir()) in (["tiny", "whole.bvx"], ["out", "tiny", "whole.bvx"])
        assert not list(tmp_path.glob("out/*"))


def test_verbose_adds_times_passes_and_files_and_quiet_takes_the_stages_away(bvx, tiny_checkpoint, tmp_path):
    folder = tiny_checkpoint("bert", "feature-extraction", tmp_path / "tiny")
    words = ("export", folder, "--overwrite", "--out", "out")
    plain, loud, still = bvx(*words), bvx(*words, "-v"), bvx(*words, "-q")
    assert plain.out == loud.out == still.out
    assert plain.err.splitlines() == ["load …", "capture …", "passes …", "lower …", "parity fp32/cpu …", "seal …"]
    assert still.err == ""
    for word in ("fold_constants", "onnx/model.onnx", "Took "):
        assert word in loud.err
        assert word not in plain.err
    assert re.search(r"^capture: \d+\.\d s$", loud.err, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("export", "x"), "load …\nWarning: Careful.\n"),
        (("export", "x", "-q"), "Warning: Careful.\n"),
        (("--quiet", "export", "x"), "Warning: Careful.\n"),
        (("-q", "export", "x", "-q"), "Warning: Careful.\n"),
        (("-v", "export", "x"), "load …\n  detail\nWarning: Careful.\nload: "),
        (("export", "--verbose", "x"), "load …\n  detail\nWarning: Careful.\nload: "),
    ],
)
def test_the_voice_is_chosen_before_or_after_the_command(bvx, watched, words, said):
    done = bvx(*words)
    assert done.code == 0
    assert done.err == said or (said.endswith(": ") and done.err.startswith(said))


@pytest.fixture
def watched(monkeypatch, features):
    """An export that says a stage, a detail and a warning, and hands back what is there already."""

    def export(plan, progress, stdin):
        progress.stage("load")
        progress.advance(detail="detail")
        progress.warn("Careful.")
        return SimpleNamespace(path=features)

    monkeypatch.setattr("bvx.exporter.pipeline.export", export)


@pytest.mark.usefixtures("watched")
def test_warnings_stand_in_json_too(bvx):
    done = bvx("export", "x", "-q", "--json")
    assert done.err == "Warning: Careful.\n"
    assert done.document["warnings"] == ["Careful."]


def test_a_head_that_the_checkpoint_has_not_is_drawn_where_that_is_allowed(bvx, tiny_checkpoint, tmp_path):
    folder = tiny_checkpoint("bert", "fill-mask", tmp_path / "tiny", num_hidden_layers=1)
    words = ("export", folder, "--task", "token-classification", "--json")
    refused = bvx(*words)
    assert refused.code == 1
    assert "--allow-new-head" in refused.document["error"]["next_step"]
    made = bvx(*words, "--allow-new-head", "--seed", 3)
    assert made.code == 0, made.err
    assert made.document["model"]["new_weights"] == ["classifier.bias", "classifier.weight"]
    assert made.document["model"]["seed"] == 3
    assert any("never trained" in warning for warning in made.document["warnings"])
