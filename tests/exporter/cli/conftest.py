"""The command line in this process, in an empty folder."""

from __future__ import annotations

import io
import json
import sys

import pytest

from bvx.exporter.cli import main


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
