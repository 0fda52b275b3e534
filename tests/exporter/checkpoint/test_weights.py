"""Checkpoints as they come on the hub: other names, other heads, other precisions, shards, damage."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from bvx.exporter.checkpoint import Checkpoint, load_checkpoint
from bvx.exporter.plan import ExportPlan
from bvx.exporter.progress import Silent
from bvx.runtime.errors import CheckpointError, UnsupportedModel

State = dict[str, torch.Tensor]
Make = Callable[..., Path]


def load(folder: Path, progress: Silent | None = None, **asked: object) -> Checkpoint:
    return load_checkpoint(ExportPlan(str(folder), folder / "out", **asked), progress)


def weights_of(folder: Path) -> State:
    return load_file(folder / "model.safetensors")


def rewrite(folder: Path, weights: State) -> None:
    save_file({name: tensor.contiguous().clone() for name, tensor in weights.items()}, folder / "model.safetensors")


IDS = torch.tensor([[2, 7, 9, 11, 3], [2, 8, 3, 0, 0]])


def logits(model: torch.nn.Module, ids: torch.Tensor = IDS) -> torch.Tensor:
    return model(input_ids=ids, attention_mask=(ids != 0).long())[0]


def same(left: Checkpoint, right: Checkpoint) -> bool:
    return torch.equal(logits(left.model), logits(right.model))


def test_every_family_and_task_loads_what_was_saved(cell: tuple[str, str], tiny_checkpoint: Make, tmp_path: Path):
    family, task = cell
    folder = tiny_checkpoint(family, task, tmp_path, **({"num_labels": 1} if task == "text-ranking" else {}))
    loaded = load(folder, task=task)
    auto = getattr(transformers, loaded.task.auto_class)
    config = transformers.AutoConfig.for_model(**loaded.config)
    reference = auto.from_pretrained(folder, config=config, attn_implementation="sdpa").eval()
    # transformers reads the choices of one text as [1, choices, length], and gives [1, choices].
    expected = logits(reference, IDS[None]).T if task == "multiple-choice" else logits(reference)
    assert torch.equal(logits(loaded.model), expected)
    assert (loaded.family.name, loaded.task.name, loaded.max_length) == (family, task, 64)
    assert loaded.unexpected_weights == () or task == "sentence-similarity"
    assert not loaded.model.training
    assert all(each.dtype == torch.float32 and not each.requires_grad for each in loaded.model.parameters())
    assert loaded.model.config._attn_implementation == "sdpa"


def test_pooler_position_ids_and_other_heads_are_unexpected_not_fatal(tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint("roberta", "fill-mask", tmp_path)
    before = load(folder, task="fill-mask")
    weights = weights_of(folder)
    extra = {"roberta.pooler.dense.weight": torch.ones(32, 32), "roberta.pooler.dense.bias": torch.ones(32)}
    rewrite(folder, weights | extra | {"roberta.embeddings.position_ids": torch.arange(66)[None]})
    loaded = load(folder, task="fill-mask")
    assert loaded.unexpected_weights == ("roberta.pooler.dense.bias", "roberta.pooler.dense.weight")
    assert loaded.model_info.unexpected_weights == loaded.unexpected_weights
    assert same(before, loaded)


def test_a_base_model_takes_its_weights_out_of_a_language_model(tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint("roberta", "fill-mask", tmp_path)
    progress = Silent()
    loaded = load(folder, progress, task="feature-extraction")
    assert loaded.outputs == ("last_hidden_state",)
    assert any("no pooler" in warning for warning in progress.warnings)
    assert all(name.startswith("lm_head.") for name in loaded.unexpected_weights) and loaded.unexpected_weights
    assert json.loads(loaded.extra_files["config.json"])["architectures"] == ["RobertaModel"]


def test_half_a_pooler_is_a_missing_weight(tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint("bert", "feature-extraction", tmp_path)
    rewrite(folder, {name: tensor for name, tensor in weights_of(folder).items() if name != "pooler.dense.bias"})
    with pytest.raises(CheckpointError, match=r"misses these weights \(1\): pooler\.dense\.bias"):
        load(folder)


def test_electra_has_no_pooler_and_nothing_is_said_about_it(tiny_checkpoint: Make, tmp_path: Path):
    progress = Silent()
    loaded = load(tiny_checkpoint("electra", "feature-extraction", tmp_path), progress)
    assert loaded.outputs == ("last_hidden_state",)
    assert progress.warnings == []


@pytest.mark.parametrize(
    ("family", "extra"), [("bert", "cls.seq_relationship.weight"), ("albert", "sop_classifier.classifier.weight")]
)
def test_pretraining_checkpoints_serve_fill_mask(family: str, extra: str, tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint(family, "fill-mask", tmp_path)
    config = transformers.AutoConfig.from_pretrained(folder)
    torch.manual_seed(1)
    whole = transformers.AutoModelForPreTraining.from_config(config, attn_implementation="sdpa").eval()
    whole.save_pretrained(folder)
    assert load(folder).task.name == "pretraining-heads"
    loaded = load(folder, task="fill-mask")
    assert extra in loaded.unexpected_weights
    assert torch.equal(logits(loaded.model), logits(whole))


def test_a_discriminator_is_no_language_model(tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint("electra", "feature-extraction", tmp_path)
    config = transformers.AutoConfig.from_pretrained(folder)
    transformers.ElectraForPreTraining(config).save_pretrained(folder)
    assert load(folder).task.name == "replaced-token-detection"
    loaded = load(folder, task="feature-extraction")
    assert all(name.startswith("discriminator_predictions.") for name in loaded.unexpected_weights)
    says = r"ElectraForPreTraining.*no head for fill-mask.*--task replaced-token-detection"
    with pytest.raises(CheckpointError, match=says):
        load(folder, task="fill-mask")


def test_old_layer_norm_names_are_understood(tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint("bert", "fill-mask", tmp_path)
    before = load(folder)
    renamed = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in weights_of(folder).items()
    }
    assert any(name.endswith("gamma") for name in renamed)
    rewrite(folder, renamed)
    assert same(before, load(folder))


@pytest.mark.parametrize("family", ["bert", "spanbert"])
def test_weights_without_the_base_models_prefix_are_understood(family: str, tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint(family, "fill-mask", tmp_path)
    before = load(folder, task="fill-mask")
    rewrite(folder, {name.removeprefix("bert."): tensor for name, tensor in weights_of(folder).items()})
    assert same(before, load(folder, task="fill-mask"))


def test_weights_with_a_prefix_serve_the_base_model(tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint("spanbert", "feature-extraction", tmp_path)
    before = load(folder)
    rewrite(folder, {f"bert.{name}": tensor for name, tensor in weights_of(folder).items()})
    loaded = load(folder)
    assert loaded.outputs == ("last_hidden_state", "pooler_output")
    assert same(before, loaded)


def test_missing_weights_are_refused_all_at_once(tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint("bert", "fill-mask", tmp_path)
    gone = ("bert.encoder.layer.1.attention.self.query.bias", "bert.encoder.layer.2.output.dense.weight")
    rewrite(folder, {name: tensor for name, tensor in weights_of(folder).items() if name not in gone})
    with pytest.raises(CheckpointError) as refused:
        load(folder)
    assert all(name in str(refused.value) for name in gone)


def test_wrong_shapes_are_listed_together(tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint("bert", "feature-extraction", tmp_path)
    weights = weights_of(folder)
    names = ["encoder.layer.0.output.dense.weight", "encoder.layer.1.intermediate.dense.bias"]
    rewrite(folder, weights | {name: weights[name][:5] for name in names})
    with pytest.raises(CheckpointError) as refused:
        load(folder)
    assert all(name in str(refused.value) for name in names)
    assert "(5, 48), wanted (32, 48)" in str(refused.value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype, tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint("bert", "text-classification", tmp_path, dtype=str(dtype).removeprefix("torch."))
    halves = {name: tensor.to(dtype) for name, tensor in weights_of(folder).items()}
    rewrite(folder, halves)
    loaded = load(folder)
    assert {each.dtype for each in loaded.model.parameters()} == {torch.float32}
    assert torch.equal(loaded.model.classifier.weight, halves["classifier.weight"].float())
    assert json.loads(loaded.extra_files["config.json"])["dtype"] == "float32"


def test_shards_make_one_model(tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint("bert", "fill-mask", tmp_path)
    before = load(folder)
    shard(folder)
    assert same(before, load(folder))


def test_missing_shards_are_listed_together(tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint("bert", "fill-mask", tmp_path)
    names = shard(folder)
    for name in names[:2]:
        (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"misses 2 of the 3 files.*{names[0]}, {names[1]}"):
        load(folder)


@pytest.mark.parametrize("name", ["../elsewhere.safetensors", "/etc/passwd", "sub/../../elsewhere.safetensors"])
def test_a_shard_outside_the_folder_is_refused(name: str, tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint("bert", "fill-mask", tmp_path / "inside")
    (folder / "model.safetensors").rename(tmp_path / "elsewhere.safetensors")
    index = {"weight_map": {"bert.embeddings.LayerNorm.weight": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="outside the checkpoint's folder"):
        load(folder)


def test_pickled_weights_are_read_without_running_code(tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint("albert", "fill-mask", tmp_path)
    before = load(folder)
    torch.save(weights_of(folder), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert same(before, load(folder))


def test_safetensors_go_first(tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint("bert", "fill-mask", tmp_path)
    (folder / "pytorch_model.bin").write_bytes(b"never opened")
    assert load(folder).task.name == "fill-mask"


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("with_torch", [True, False])
def test_a_pickle_that_runs_code_is_refused(with_torch: bool, tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint("bert", "fill-mask", tmp_path / "model")
    (folder / "model.safetensors").unlink()
    bomb = {"weight": Bomb(tmp_path / "boom")}
    if with_torch:
        torch.save(bomb, folder / "pytorch_model.bin")
    else:
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(bomb, protocol=2))
    with pytest.raises(CheckpointError, match="would run code"):
        load(folder)
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"), (b"\x00" * 40, "cannot be read")],
)
def test_damaged_weights_are_refused(content: bytes, sentence: str, tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint("bert", "fill-mask", tmp_path)
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=sentence):
        load(folder)


def test_truncated_weights_are_refused(tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint("bert", "fill-mask", tmp_path)
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(folder)


def test_a_folder_without_weights_says_what_it_has(tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint("bert", "fill-mask", tmp_path)
    (folder / "model.safetensors").rename(folder / "tf_model.h5")
    with pytest.raises(CheckpointError, match=r"no weights.*tf_model\.h5.*--random-weights"):
        load(folder)


def test_a_bundle_is_not_a_checkpoint(tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint("bert", "fill-mask", tmp_path)
    (folder / "model.safetensors").unlink()
    (folder / "bvx.json").touch()
    with pytest.raises(CheckpointError, match=r"is a bundle.*bvx inspect"):
        load(folder)


def test_an_adapter_is_not_a_model(tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint("bert", "fill-mask", tmp_path)
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(UnsupportedModel, match="adapter"):
        load(folder)


def test_a_tied_decoder_stays_tied(tiny_checkpoint: Make, tmp_path: Path):
    for family, path in (("roberta", "lm_head.decoder"), ("albert", "predictions.decoder")):
        model = load(tiny_checkpoint(family, "fill-mask", tmp_path / family)).model
        assert model.get_submodule(path).weight is model.get_input_embeddings().weight


def shard(folder: Path) -> list[str]:
    """The folder's weights over three files and an index, as save_pretrained writes large models."""
    weights = weights_of(folder)
    names = [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
    where = {tensor: names[index % 3] for index, tensor in enumerate(sorted(weights))}
    for name in names:
        save_file({tensor: weights[tensor].clone() for tensor in weights if where[tensor] == name}, folder / name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    (folder / "model.safetensors").unlink()
    return names


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_all_at_once(value: float, tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint("electra", "feature-extraction", tmp_path)
    weights = weights_of(folder)
    names = ("embeddings.LayerNorm.bias", "encoder.layer.0.output.dense.weight")
    for full in [key for key in weights if key.endswith(names)]:
        weights[full].view(-1)[0] = value
    rewrite(folder, weights)
    with pytest.raises(CheckpointError) as refused:
        load(folder)
    assert all(name in refused.value.cause for name in names)
    assert "(2)" in refused.value.cause
