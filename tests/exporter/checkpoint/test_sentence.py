"""modules.json, and the two forms of the pooling's configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bvx.exporter.checkpoint.sentence import plain_modules, read_modules
from bvx.runtime.errors import CheckpointError, UnsupportedModel

OLD = {"word_embedding_dimension": 32, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}


def write(folder: Path, *kinds: str, pooling: dict | None = None, home: str = "sentence_transformers.models") -> Path:
    entries = []
    for index, kind in enumerate(kinds):
        path = f"{index}_{kind}" if index else ""
        entries.append({"idx": index, "name": str(index), "path": path, "type": f"{home}.{kind}"})
    (folder / "modules.json").write_text(json.dumps(entries))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(OLD if pooling is None else pooling))
    return folder


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        (OLD, ["mean"]),
        ({"pooling_mode_cls_token": True}, ["cls"]),
        ({"pooling_mode_max_tokens": True, "pooling_mode_cls_token": True}, ["cls", "max"]),
        ({"embedding_dimension": 32, "pooling_mode": "mean"}, ["mean"]),
        ({"pooling_mode": "lasttoken"}, ["lasttoken"]),
        ({"pooling_mode": ["mean", "max"]}, ["mean", "max"]),
    ],
)
def test_both_forms_of_the_pooling_are_read(pooling: dict, expected: list[str], tmp_path: Path):
    assert read_modules(write(tmp_path, "Transformer", "Pooling", pooling=pooling)).head == {
        "pooling": expected,
        "normalize": False,
    }


@pytest.mark.parametrize("home", ["sentence_transformers.models", "sentence_transformers.base.modules.any"])
def test_normalisation_is_read_wherever_the_modules_live(home: str, tmp_path: Path):
    assert read_modules(write(tmp_path, "Transformer", "Pooling", "Normalize", home=home)).normalize


@pytest.mark.parametrize(
    "kinds", [("Transformer", "Pooling", "Dense"), ("Transformer",), ("Transformer", "CNN", "Pooling")]
)
def test_other_chains_are_refused(kinds: tuple[str, ...], tmp_path: Path):
    with pytest.raises(UnsupportedModel, match=" > ".join(kinds)):
        read_modules(write(tmp_path, *kinds))


@pytest.mark.parametrize("pooling", [{"pooling_mode": "median"}, {}, {"pooling_mode_mean_tokens": False}])
def test_unknown_or_no_pooling_is_refused(pooling: dict, tmp_path: Path):
    with pytest.raises(UnsupportedModel, match="pooling"):
        read_modules(write(tmp_path, "Transformer", "Pooling", pooling=pooling))


def test_a_prompt_before_every_text_is_refused(tmp_path: Path):
    write(tmp_path, "Transformer", "Pooling")
    settings = {"prompts": {"query": "query: "}, "default_prompt_name": None}
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(settings))
    assert "config_sentence_transformers.json" in read_modules(tmp_path).files
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(settings | {"default_prompt_name": "query"}))
    with pytest.raises(UnsupportedModel, match="prompt 'query'"):
        read_modules(tmp_path)


def test_a_module_outside_the_folder_is_refused(tmp_path: Path):
    write(tmp_path, "Transformer", "Pooling")
    content = (tmp_path / "modules.json").read_text().replace("1_Pooling", "../1_Pooling")
    (tmp_path / "modules.json").write_text(content)
    with pytest.raises(CheckpointError, match="outside"):
        read_modules(tmp_path)


@pytest.mark.parametrize("content", ["{", "{}", "[1]", '[{"path": ""}]'])
def test_a_damaged_modules_file_is_refused(content: str, tmp_path: Path):
    (tmp_path / "modules.json").write_text(content)
    with pytest.raises((CheckpointError, UnsupportedModel)):
        read_modules(tmp_path)


def test_made_up_modules_read_back(tmp_path: Path):
    made = plain_modules(32, 64, normalize=True)
    for name, content in made.files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert read_modules(tmp_path).head == made.head == {"pooling": ["mean"], "normalize": True}
