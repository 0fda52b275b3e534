"""What is said without doing anything: help and versions."""

from __future__ import annotations

import platform

import onnxruntime
import pytest
from typer.testing import CliRunner

import bvx as package
from bvx.exporter import cli, doctor, versions

COMMANDS = ("export", "verify", "run", "bench", "build", "inspect", "doctor")


def test_help_lists_the_commands_of_this_release_and_no_others():
    shown = CliRunner().invoke(cli.app, ["--help"])
    assert shown.exit_code == 0
    listed = [line.split()[0] for line in shown.output.partition("Commands:")[2].splitlines() if line.strip()]
    assert tuple(listed) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_and_offers_json(command):
    shown = CliRunner().invoke(cli.app, [command, "--help"])
    assert shown.exit_code == 0
    for option in ("--json", "--verbose", "--quiet", "-v", "-q"):
        assert option in shown.output


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help_is_asked_for_in_two_ways(bvx, word):
    assert "Commands:" in bvx(word).out
    assert "--precision" in bvx("export", word).out


@pytest.mark.parametrize(("typed", "meant"), [("exprot", "export"), ("inspct", "inspect"), ("docter", "doctor")])
def test_a_mistyped_command_is_guessed(bvx, typed, meant):
    done = bvx(typed, "x")
    assert done.code == 2
    assert f"Did you mean '{meant}'? " in done.err


def test_without_words_the_help_is_shown(bvx):
    done = bvx()
    assert done.code == 0
    assert "Commands:" in done.out


@pytest.mark.parametrize("words", [("-v",), ("--json",), ("-q",)])
def test_options_without_a_command_are_refused(bvx, words):
    done = bvx(*words)
    assert done.code == 2
    assert "--help" in done.err


def test_the_versions_are_a_line_for_bvx_for_python_and_for_each_engine(bvx):
    done = bvx("--version")
    assert (done.code, done.err) == (0, "")
    ours, python, *engines = done.out.splitlines()
    assert ours == f"bvx {package.__version__}"
    assert python == f"Python {platform.python_version()}"
    assert f"onnxruntime {onnxruntime.__version__}" in engines[0]
    assert all(provider in engines[0] for provider in onnxruntime.get_available_providers())


def test_the_versions_are_one_document_in_json(bvx):
    document = bvx("--version", "--json").document
    assert (document["bvx"], document["python"]) == (package.__version__, platform.python_version())
    (engine,) = (one for name, one in document["engines"].items() if name.startswith("onnxruntime"))
    assert engine == {"version": onnxruntime.__version__, "providers": onnxruntime.get_available_providers()}


def test_an_engine_that_cannot_be_imported_is_told(bvx, monkeypatch):
    monkeypatch.setattr(versions, "find_providers", lambda: None)
    monkeypatch.setattr(doctor, "find_providers", lambda: None)
    assert "broken" in bvx("--version").out
    done = bvx("doctor")
    assert done.code == 1
    assert "cannot import" in done.out


def test_without_an_engine_the_version_says_what_to_install(bvx, monkeypatch):
    monkeypatch.setattr(versions, "find_version", lambda name: None)
    assert "pip install bvx[cpu]" in bvx("--version").out
    assert bvx("--version", "--json").document["engines"] == {}
