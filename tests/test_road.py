"""The whole road, for every family and task: a saved checkpoint, exported, loaded, and equal to transformers.

What is compared with is transformers on the checkpoint itself: its own loading, tokenizer and pipelines, and nothing of
bvx. A cell of the matrix is exported once. The cells' checkpoints differ in shape and form, so that every shape of a
family and every form of weights comes by somewhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file

import bvx
from bvx.exporter.checkpoint.sentence import _FLAGS as POOLING_FLAGS
from bvx.exporter.pipeline import export
from bvx.exporter.plan import ExportPlan
from bvx.runtime.heads.similarity import POOLINGS

FAMILIES = ("albert", "bert", "electra", "roberta", "spanbert")
FEATURES, SIMILARITY, CLASSES, FILLINGS = (
    "feature-extraction",
    "sentence-similarity",
    "text-classification",
    "fill-mask",
)

TEXTS = [
    "The cat sat on the mat.",
    "A much longer sentence, which goes on and on, so that the others are padded!",
    "Straße, café and naïve — 東京 🙂",
    "",
    "yes",
]
PAIRS = ["Where did the cat sit?", "No.", "Nobody knows.", "and on", "no"]

AUTO = {
    FEATURES: transformers.AutoModel,
    SIMILARITY: transformers.AutoModel,
    CLASSES: transformers.AutoModelForSequenceClassification,
    FILLINGS: transformers.AutoModelForMaskedLM,
    "token-classification": transformers.AutoModelForTokenClassification,
    "question-answering": transformers.AutoModelForQuestionAnswering,
    "multiple-choice": transformers.AutoModelForMultipleChoice,
    "text-ranking": transformers.AutoModelForSequenceClassification,
    "replaced-token-detection": transformers.ElectraForPreTraining,
    "sentence-order-prediction": transformers.AlbertForPreTraining,
    "next-sentence-prediction": transformers.BertForNextSentencePrediction,
    "pretraining-heads": transformers.AutoModelForPreTraining,
}

OUTPUTS = {
    "token-classification": ["logits"],
    "question-answering": ["start_logits", "end_logits"],
    "multiple-choice": ["logits"],
    "text-ranking": ["logits"],
    "replaced-token-detection": ["logits"],
    "sentence-order-prediction": ["sop_logits"],
    "next-sentence-prediction": ["logits"],
    "pretraining-heads": ["prediction_logits", "sop_logits", "seq_relationship_logits"],
}
"""The outputs, by transformers' names, of the heads whose answers are compared with transformers beside their files."""

OTHER_CELLS = [
    *((family, task) for family in FAMILIES for task in list(OUTPUTS)[:4]),
    ("electra", "replaced-token-detection"),
    ("albert", "sentence-order-prediction"),
    ("bert", "next-sentence-prediction"),
    ("albert", "pretraining-heads"),
    ("bert", "pretraining-heads"),
]

CLASS_NAMES = {"id2label": {0: "bad", 1: "so-so", 2: "good"}, "label2id": {"bad": 0, "so-so": 1, "good": 2}}

Form = Callable[[Path], None]


def halve(dtype: torch.dtype) -> Form:
    """Weights in half precision, as config.json says too."""

    def write(folder: Path) -> None:
        model = transformers.AutoModelForMaskedLM.from_pretrained(folder, config=config_of(folder), dtype=dtype)
        model.save_pretrained(folder)
        assert {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()} == {dtype}

    return write


def shard(folder: Path) -> None:
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder, config=config_of(folder))
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="40KB")
    assert (folder / "model.safetensors.index.json").is_file() and len(list(folder.glob("*.safetensors"))) > 1


def pickle(folder: Path) -> None:
    model = transformers.AutoModel.from_pretrained(folder, config=config_of(folder))
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


@dataclass(frozen=True)
class Shape:
    """What is particular about a cell's checkpoint: changes to the configuration, and the form of its weights."""

    changes: Mapping[str, Any] = field(default_factory=dict)
    form: Form | None = None


SHAPES: dict[tuple[str, str], Shape] = {
    ("albert", FILLINGS): Shape({"num_hidden_layers": 4, "num_hidden_groups": 2}),
    ("albert", CLASSES): Shape({"inner_group_num": 2}),
    # A single token type, though its tokenizer knows two.
    ("bert", SIMILARITY): Shape({"type_vocab_size": 1}),
    # As wide as its embedding, so without embeddings_project; elsewhere with it.
    ("electra", SIMILARITY): Shape({"embedding_size": 32}),
    # A generator.
    ("electra", FILLINGS): Shape({"embedding_size": 32, "hidden_size": 16, "tie_word_embeddings": True}),
    # DistilRoBERTa is a RoBERTa of half the layers.
    ("roberta", CLASSES): Shape({"num_hidden_layers": 1}),
    ("bert", FILLINGS): Shape(form=halve(torch.float16)),
    ("spanbert", FILLINGS): Shape(form=halve(torch.bfloat16)),
    ("roberta", FILLINGS): Shape(form=shard),
    ("roberta", FEATURES): Shape(form=pickle),
}


@dataclass(frozen=True, eq=False)
class Cell:
    """A checkpoint, its bundle, loaded, and what transformers makes of the checkpoint."""

    folder: Path
    task: str
    encoder: bvx.Encoder
    tokenizer: Any

    @property
    def model(self) -> Any:
        config = config_of(self.folder)
        return AUTO[self.task].from_pretrained(self.folder, config=config, dtype=torch.float32).eval()

    def pipeline(self) -> Any:
        return transformers.pipeline(self.task, model=self.model, tokenizer=self.tokenizer, device="cpu")

    def reference(self, *texts: list[str]) -> tuple[dict[str, np.ndarray], Any]:
        """What transformers' tokenizer and model say to texts (and their pairs) in one batch: inputs and outputs."""
        inputs = self.tokenizer(*texts, padding=True, return_tensors="pt")
        with torch.no_grad():
            outputs = self.model(**inputs)
        return {name: tensor.numpy() for name, tensor in inputs.items()}, outputs


def config_of(folder: Path) -> Any:
    raw = json.loads((folder / "config.json").read_text())
    # SpanBERT's says nothing of what it is; its users say BertConfig.
    return (
        transformers.BertConfig(**raw) if "model_type" not in raw else transformers.AutoConfig.from_pretrained(folder)
    )


def write_modules(folder: Path, *flags: str, normalize: bool = True) -> None:
    """What sentence-transformers lays around an encoder."""
    kinds = ["Transformer", "Pooling"] + ["Normalize"] * normalize
    paths = ["", "1_Pooling", "2_Normalize"]
    modules = [
        {"idx": index, "name": str(index), "path": paths[index], "type": f"sentence_transformers.models.{kind}"}
        for index, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(dict.fromkeys(flags, True)))


@pytest.fixture(scope="session")
def travel(
    tiny_checkpoint: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Cell]]:
    """Takes a tiny checkpoint down the whole road: travel(family, task, prepare, **changes to the configuration)."""
    opened: list[bvx.Encoder] = []

    def go(family: str, task: str, prepare: Form | None = None, **changes: Any) -> Cell:
        home = tmp_path_factory.mktemp(f"{family}-{task}")
        changes = {"num_hidden_layers": 2, "initializer_range": 0.4, **changes}
        folder = tiny_checkpoint(family, task, home / "checkpoint", **changes)
        if prepare is not None:
            prepare(folder)
        # SpanBERT's config.json is recognised too, but the other families' must be: nobody names those.
        plan = ExportPlan(str(folder), home / "bundle", task=task, family=family if family == "spanbert" else None)
        result = export(plan)
        encoder = bvx.load(result.path, threads=1)
        opened.append(encoder)
        assert encoder.manifest.family == family and encoder.manifest.task == task
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, config=config_of(folder))
        if family == "albert":
            # transformers 5 leaves ALBERT's token types out; the model was trained with them, and version 4 gave them.
            tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
        return Cell(folder, task, encoder, tokenizer)

    yield go
    for encoder in opened:
        encoder.close()


@pytest.fixture(scope="session")
def cell(travel: Callable[..., Cell]) -> Callable[[str, str], Cell]:
    """A cell of the matrix, exported once."""

    def prepare(folder: Path) -> None:
        write_modules(folder, "pooling_mode_mean_tokens")

    @cache
    def find(family: str, task: str) -> Cell:
        shape = SHAPES.get((family, task), Shape())
        names = CLASS_NAMES if task == CLASSES else {}
        return travel(family, task, prepare if task == SIMILARITY else shape.form, **names, **shape.changes)

    return find


every_family = pytest.mark.parametrize("family", FAMILIES)


def assert_close(found: Any, expected: Any) -> None:
    """The same structure, texts and whole numbers; other numbers to 1e-4."""
    if isinstance(expected, dict):
        assert set(found) == set(expected)
        for name in expected:
            assert_close(found[name], expected[name])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_close(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, abs=1e-4)
    else:
        assert found == expected


@every_family
@pytest.mark.parametrize("task", [FEATURES, SIMILARITY, CLASSES, FILLINGS])
def test_parity_is_proven_and_written_down(cell: Callable, family: str, task: str) -> None:
    manifest = cell(family, task).encoder.manifest
    (variant,) = manifest.variants
    rows = manifest.parity[variant.key]
    assert variant.state == "verified"
    assert {row["output"] for row in rows} == {output.name for output in manifest.outputs}
    assert rows and all(row["passed"] for row in rows)
    assert bool(cell(family, task).encoder.verify())


@every_family
def test_features_are_transformers_own(cell: Callable, family: str) -> None:
    one = cell(family, FEATURES)
    for found, expected in zip(one.encoder(TEXTS), one.pipeline()(TEXTS), strict=True):
        np.testing.assert_allclose(found, np.array(expected)[0], atol=1e-4)
    inputs, outputs = one.reference(TEXTS, PAIRS)
    for found, states, mask in zip(
        one.encoder(TEXTS, PAIRS), outputs.last_hidden_state.numpy(), inputs["attention_mask"], strict=True
    ):
        np.testing.assert_allclose(found, states[mask == 1], atol=1e-4)


@every_family
def test_every_output_of_a_batch_is_transformers_own(cell: Callable, family: str) -> None:
    one = cell(family, FEATURES)
    inputs, outputs = one.reference(TEXTS, PAIRS)
    ours = one.encoder.tokenize(TEXTS, PAIRS)
    assert all(np.array_equal(ours[name], inputs[name]) for name in ours)
    found = one.encoder.run(**inputs)
    names = ["last_hidden_state"] + ["pooler_output"] * (family != "electra")
    assert list(found) == names
    for name in names:
        np.testing.assert_allclose(found[name], outputs[name].numpy(), atol=1e-4, err_msg=name)


@every_family
def test_embeddings_are_means_of_unit_length(cell: Callable, family: str) -> None:
    one = cell(family, SIMILARITY)
    inputs, outputs = one.reference(TEXTS)
    mask, states = inputs["attention_mask"][:, :, None], outputs.last_hidden_state.numpy()
    means = (states * mask).sum(axis=1) / mask.sum(axis=1)
    expected = means / np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(np.stack(one.encoder(TEXTS)), expected, atol=1e-4)
    np.testing.assert_allclose(one.encoder.similarity(TEXTS[0], TEXTS)[0], expected[0] @ expected.T, atol=1e-4)
    assert one.encoder.manifest.head == {"pooling": ["mean"], "normalize": True}


def test_every_pooling_that_a_checkpoint_may_ask_for_is_one_that_serves() -> None:
    assert set(POOLING_FLAGS.values()) == set(POOLINGS)


@every_family
def test_labels_and_scores_are_the_pipelines(cell: Callable, family: str) -> None:
    one = cell(family, CLASSES)
    pipeline = one.pipeline()
    assert list(one.encoder.manifest.head["labels"]) == list(CLASS_NAMES["label2id"])
    assert_close(one.encoder(TEXTS), pipeline(TEXTS))
    assert_close(one.encoder(TEXTS, top_k=None), pipeline(TEXTS, top_k=None))
    assert_close(
        one.encoder(TEXTS, PAIRS, top_k=2),
        pipeline([{"text": text, "text_pair": pair} for text, pair in zip(TEXTS, PAIRS, strict=True)], top_k=2),
    )
    assert len({answer["label"] for answer in one.encoder(TEXTS, top_k=None)[0]}) == 3


@pytest.mark.parametrize(
    ("family", "problem", "labels"), [("bert", "multi_label_classification", 3), ("roberta", "regression", 1)]
)
def test_scores_follow_the_problem_type(travel: Callable, family: str, problem: str, labels: int) -> None:
    names = {index: f"aspect {index}" for index in range(labels)}
    one = travel(family, CLASSES, problem_type=problem, id2label=names, label2id={v: k for k, v in names.items()})
    pipeline = one.pipeline()
    found = one.encoder(TEXTS, top_k=None)
    assert_close(found, pipeline(TEXTS, top_k=None))
    assert_close(one.encoder(TEXTS), pipeline(TEXTS))
    sums = [sum(label["score"] for label in answer) for answer in found]
    assert not np.allclose(sums, 1), "these are probabilities of one label among several"


@every_family
def test_fillings_are_the_pipelines(cell: Callable, family: str) -> None:
    one = cell(family, FILLINGS)
    pipeline, mask = one.pipeline(), one.tokenizer.mask_token
    texts = [f"The cat sat on the {mask}.", f"{mask}!", f"A {mask} and a {mask}, naïve {mask}"]
    assert_close(one.encoder(texts), pipeline(texts))
    assert_close(one.encoder(texts[0], top_k=17), pipeline(texts[0], top_k=17))
    targets = ["the", "cat", "a"]
    vocabulary = one.tokenizer.get_vocab()
    known = [target for target in targets if target in vocabulary]
    assert known
    assert_close(one.encoder(texts[0], targets=known), pipeline(texts[0], targets=known))


@every_family
def test_the_logits_of_every_token_are_transformers_own(cell: Callable, family: str) -> None:
    one = cell(family, FILLINGS)
    inputs, outputs = one.reference(TEXTS)
    found, expected = one.encoder.run(**inputs)["logits"], outputs.logits.numpy()
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(("family", "task"), OTHER_CELLS)
def test_the_outputs_of_every_other_head_are_transformers_own(travel: Callable, family: str, task: str) -> None:
    names = {"id2label": {0: "score"}, "label2id": {"score": 0}} if task == "text-ranking" else {}
    one = travel(family, task, **names)
    inputs = dict(one.tokenizer(TEXTS, PAIRS, padding=True, return_tensors="pt"))
    found = one.encoder.run(**{name: tensor.numpy() for name, tensor in inputs.items()})
    if task == "multiple-choice":
        # transformers reads [batch, choices, length]; the bundle a row for each choice.
        inputs = {name: tensor[None] for name, tensor in inputs.items()}
    with torch.no_grad():
        outputs = one.model(**inputs)
    expected = {name: outputs[name].numpy() for name in OUTPUTS[task] if name in outputs}
    if task == "multiple-choice":
        expected = {"logits": expected["logits"].T}
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert np.abs(values - values[::-1]).max() > 1e-3, "every row says the same"
        np.testing.assert_allclose(found[name], values, atol=1e-4 * max(1, np.abs(values).max()), err_msg=name)
    assert bool(one.encoder.verify())


def test_the_cells_have_the_shapes_that_they_are_there_for(cell: Callable) -> None:

    def has(family: str, task: str, part: str) -> bool:
        return any(part in name for name, _ in cell(family, task).model.named_parameters())

    assert has("electra", FEATURES, "embeddings_project.") and not has("electra", SIMILARITY, "embeddings_project.")
    assert has("electra", FILLINGS, "embeddings_project.") and has("electra", FILLINGS, "generator_predictions.")
    assert has("albert", FILLINGS, "albert_layer_groups.1.") and has("albert", CLASSES, "albert_layers.1.")
    assert not has("roberta", CLASSES, "layer.1.") and has("roberta", FILLINGS, "layer.1.")


def test_a_chinese_albert_reads_its_vocab_txt(travel: Callable, tmp_path: Path) -> None:
    """These ALBERTs come with BERT's vocabulary; their users say BertTokenizer."""
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"今天氣很好我們去公園、。abc", "##b", "##c"]

    def prepare(folder: Path) -> None:
        for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
            (folder / name).unlink()
        (folder / "vocab.txt").write_text("\n".join(entries) + "\n", encoding="utf-8")

    one = travel("albert", FILLINGS, prepare)
    tokenizer = transformers.BertTokenizer.from_pretrained(one.folder)
    pipeline = transformers.pipeline(FILLINGS, model=one.model, tokenizer=tokenizer, device="cpu")
    texts = ["今天天氣很[MASK]。", "我們去[MASK][MASK]、abc"]
    assert tokenizer.tokenize("abc今天") == ["a", "##b", "##c", "今", "天"]
    assert_close(one.encoder(texts), pipeline(texts))
