"""What an export is told of a checkpoint, from its folder, its name, or a model in memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers

from bvx.exporter.checkpoint import Checkpoint, checkpoint_from_model, load_checkpoint
from bvx.exporter.plan import ExportPlan
from bvx.exporter.progress import Silent
from bvx.runtime.errors import CheckpointError, PlanError, UnknownFamily, UnsupportedModel

Make = Callable[..., Path]


def load(model: object, progress: Silent | None = None, **asked: object) -> Checkpoint:
    return load_checkpoint(ExportPlan(str(model), Path("out"), **asked), progress)


def change(folder: Path, **changes: object) -> Path:
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def remove(folder: Path, *keys: str) -> Path:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({key: config[key] for key in config if key not in keys}))
    return folder


def write_modules(folder: Path) -> None:
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    entries = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds]
    (folder / "modules.json").write_text(json.dumps(entries))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')


@pytest.mark.parametrize(
    ("family", "task"),
    [
        *(("bert", task) for task in ("feature-extraction", "text-classification", "fill-mask", "multiple-choice")),
        *(("roberta", task) for task in ("token-classification", "question-answering")),
        ("albert", "pretraining-heads"),
        ("bert", "pretraining-heads"),
        ("bert", "next-sentence-prediction"),
        ("electra", "replaced-token-detection"),
    ],
)
def test_the_task_is_recognised_by_the_architecture(family: str, task: str, tiny_checkpoint: Make, tmp_path: Path):
    assert load(tiny_checkpoint(family, task, tmp_path)).task.name == task


def test_modules_make_a_sentence_encoder(tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint("bert", "feature-extraction", tmp_path)
    write_modules(folder)
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 16, "do_lower_case": false}')
    loaded = load(folder)
    assert (loaded.task.name, loaded.head) == ("sentence-similarity", {"pooling": ["mean"], "normalize": True})
    assert set(loaded.extra_files) == {
        "config.json",
        "modules.json",
        "1_Pooling/config.json",
        "sentence_bert_config.json",
    }
    assert loaded.max_length == 16  # of 64 positions: sentence-transformers cuts there
    assert loaded.unexpected_weights == ("pooler.dense.bias", "pooler.dense.weight")


def test_an_encoder_may_lie_in_a_folder_of_its_own(tiny_checkpoint: Make, tmp_path: Path):
    tiny_checkpoint("bert", "feature-extraction", tmp_path / "0_Transformer")
    write_modules(tmp_path)
    content = (tmp_path / "modules.json").read_text().replace('"path": ""', '"path": "0_Transformer"')
    (tmp_path / "modules.json").write_text(content)
    loaded = load(tmp_path)
    assert loaded.task.name == "sentence-similarity"
    assert json.loads(loaded.extra_files["modules.json"])[0]["path"] == ""


def test_an_encoder_without_modules_is_pooled_by_the_mean_and_says_so(tiny_checkpoint: Make, tmp_path: Path):
    progress = Silent()
    loaded = load(tiny_checkpoint("albert", "feature-extraction", tmp_path), progress, task="sentence-similarity")
    assert loaded.head == {"pooling": ["mean"], "normalize": False}
    assert "modules.json" in loaded.extra_files
    assert any("mean over tokens" in warning for warning in progress.warnings)


def test_what_follows_the_encoder_matters_to_no_other_task(tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint("bert", "feature-extraction", tmp_path)
    write_modules(folder)
    chain = json.loads((folder / "modules.json").read_text())
    chain.append({"path": "3_Dense", "type": "sentence_transformers.models.Dense"})
    (folder / "modules.json").write_text(json.dumps(chain))
    with pytest.raises(UnsupportedModel, match=r"Transformer > Pooling > Normalize > Dense.*--task feature-extraction"):
        load(folder)
    loaded = load(folder, task="feature-extraction")
    assert loaded.outputs == ("last_hidden_state", "pooler_output")
    assert set(loaded.extra_files) == {"config.json"}


def test_labels_come_in_the_order_of_the_logits(tiny_checkpoint: Make, tmp_path: Path):
    labels = {"2": "good", "0": "bad", "1": "so-so"}
    folder = tiny_checkpoint("roberta", "text-classification", tmp_path, num_labels=3, id2label=labels)
    head = {"labels": ["bad", "so-so", "good"], "problem_type": "single_label_classification"}
    assert load(folder).head == head
    assert load(change(folder, problem_type="regression")).head["problem_type"] == "regression"


def test_one_label_means_a_sigmoid(tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint("bert", "text-classification", tmp_path, id2label={"0": "score"})
    assert load(folder).head == {"labels": ["score"], "problem_type": "multi_label_classification"}


def test_fill_mask_knows_its_mask(tiny_checkpoint: Make, tmp_path: Path):
    head = load(tiny_checkpoint("roberta", "fill-mask", tmp_path)).head
    assert head == {"mask_token": "<mask>", "mask_token_id": 4, "clean_up_tokenization_spaces": False}


def test_spaces_before_punctuation_are_cleaned_up_where_the_tokenizer_says_so(tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint("albert", "fill-mask", tmp_path)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "clean_up_tokenization_spaces": True}))
    assert load(folder).head["clean_up_tokenization_spaces"] is True


def test_spanbert_needs_no_model_type_but_gets_one(tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint("spanbert", "feature-extraction", tmp_path)
    assert "model_type" not in json.loads((folder / "config.json").read_text())
    loaded = load(folder)
    written = json.loads(loaded.extra_files["config.json"])
    assert (loaded.family.name, written["model_type"], written["architectures"]) == ("spanbert", "bert", ["BertModel"])


def test_spanbert_may_be_asked_for_where_the_config_says_bert(tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint("bert", "feature-extraction", tmp_path)
    assert load(folder).family.name == "bert"
    assert load(folder, family="spanbert").family.name == "spanbert"


def test_a_family_that_contradicts_the_config_is_refused(tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint("bert", "feature-extraction", tmp_path)
    for family in ("roberta", "albert", "electra"):
        with pytest.raises(UnknownFamily, match=f"{family}.*'bert'"):
            load(folder, family=family)


def test_an_unknown_model_type_lists_the_families(tiny_checkpoint: Make, tmp_path: Path):
    folder = change(tiny_checkpoint("bert", "feature-extraction", tmp_path), model_type="gpt2")
    with pytest.raises(UnknownFamily, match=r"'gpt2'.*albert, bert, electra, roberta, spanbert"):
        load(folder)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"auto_map": {"AutoModel": "modeling.Mine"}}, "never runs such code"),
        ({"quantization_config": {"quant_method": "gptq"}}, "already quantised .gptq."),
        ({"is_decoder": True}, "decoder"),
        ({"add_cross_attention": True}, "decoder"),
        ({"position_embedding_type": "relative_key"}, "relative_key"),
        ({"hidden_size": "many"}, "no configuration of bert"),
    ],
)
def test_shapes_that_cannot_be_exported_are_refused(
    changes: dict, sentence: str, tiny_checkpoint: Make, tmp_path: Path
):
    folder = change(tiny_checkpoint("bert", "feature-extraction", tmp_path), **changes)
    with pytest.raises(UnsupportedModel, match=sentence):
        load(folder)


def test_how_a_model_was_once_run_does_not_matter(tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint("bert", "feature-extraction", tmp_path)
    change(folder, output_hidden_states=True, output_attentions=True, return_dict=False, chunk_size_feed_forward=2)
    change(folder, position_embedding_type="absolute", torch_dtype="float16", _attn_implementation="eager")
    loaded = load(folder)
    ids = torch.tensor([[2, 7, 3]])
    assert list(loaded.model(input_ids=ids)) == ["last_hidden_state", "pooler_output"]
    assert loaded.config["chunk_size_feed_forward"] == 0
    assert loaded.model.config._attn_implementation == "sdpa"


def test_defaults_are_filled_in(tiny_checkpoint: Make, tmp_path: Path):
    folder = remove(tiny_checkpoint("albert", "feature-extraction", tmp_path), "inner_group_num", "layer_norm_eps")
    config = load(folder).config
    assert (config["inner_group_num"], config["layer_norm_eps"]) == (1, 1e-12)


@pytest.mark.parametrize("content", [None, "[]", "{", b"\xff\xfe"])
def test_a_folder_without_a_readable_config_is_refused(content: str | bytes | None, tmp_path: Path):
    if content is not None:
        (tmp_path / "config.json").write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load(tmp_path)


def test_an_unknown_task_is_refused(tiny_checkpoint: Make, tmp_path: Path):
    with pytest.raises(PlanError, match="no task 'poetry'"):
        load(tiny_checkpoint("bert", "feature-extraction", tmp_path), task="poetry")


def test_the_model_is_called_by_its_folder_and_counted(tiny_checkpoint: Make, tmp_path: Path):
    loaded = load(tiny_checkpoint("albert", "feature-extraction", tmp_path / "my-albert"))
    assert (loaded.model_info.id, loaded.model_info.revision, loaded.model_info.random) == ("my-albert", None, False)
    assert loaded.model_info.parameters == sum(each.numel() for each in loaded.model.parameters())


def test_a_model_in_memory_is_a_checkpoint_too(tiny_checkpoint: Make, tmp_path: Path):
    folder = tiny_checkpoint("electra", "fill-mask", tmp_path)
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder).train().half()
    made, loaded = checkpoint_from_model(model, folder, task="fill-mask"), load(folder)
    assert made.model is model and not model.training and model.dtype == torch.float32
    assert (made.family, made.task, made.head, made.outputs) == (
        loaded.family,
        loaded.task,
        loaded.head,
        loaded.outputs,
    )
    assert made.max_length == loaded.max_length
    assert checkpoint_from_model(model, task="fill-mask").tokenizer is None


def test_a_model_in_memory_without_a_pooler_has_no_pooler_output():
    config = transformers.BertConfig(hidden_size=32, num_attention_heads=4, num_hidden_layers=1, intermediate_size=8)
    model = transformers.BertModel(config, add_pooling_layer=False)
    assert checkpoint_from_model(model, task="feature-extraction").outputs == ("last_hidden_state",)
