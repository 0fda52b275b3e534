"""A tiny bundle, made by hand: real ONNX, a real tokenizer.json, and the same arithmetic in NumPy to compare with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tokenizers
from onnx import TensorProto, helper, numpy_helper

from bvx.runtime.golden import sample_case, write_golden
from bvx.runtime.manifest import FORMAT, FileEntry, Manifest, ModelInfo, TensorSpec, TokenizerInfo, Variant
from bvx.runtime.parity import Tolerance

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["the", "cat", "dog", "sat", "on", "a", "mat", "and", "ran", "##s", "##ed", "far", ",", ".", "é", "我"]
VOCABULARY = [*SPECIAL, *WORDS]
PAD, UNK, CLS, SEP, MASK = range(5)
HIDDEN, MAX_LENGTH = 8, 24
LABELS = ("bad", "so so", "good")

MASKS = {"mask_token": "[MASK]", "mask_token_id": MASK}
HEADS: dict[str, dict[str, Any]] = {
    "sentence-similarity": {"pooling": ["mean"], "normalize": True},
    "text-classification": {"labels": list(LABELS), "problem_type": None},
    "token-classification": {"labels": list(LABELS), "unk_token": "[UNK]"},
    "replaced-token-detection": {"unk_token": "[UNK]"},
    "fill-mask": MASKS,
    "text-ranking": {"function": "sigmoid"},
    "pretraining-heads": {**MASKS, "pair_output": "sop_logits"},
}
"""The manifest's `head`, for tasks that have settings."""

OUTPUTS: dict[str, dict[str, tuple[str, str]]] = {
    "text-classification": {"logits": ("pooled", "labels")},
    "token-classification": {"logits": ("last_hidden_state", "labels")},
    "question-answering": {
        "start_logits": ("last_hidden_state", "first_label"),
        "end_logits": ("last_hidden_state", "second_label"),
    },
    "multiple-choice": {"logits": ("pooled", "one_label")},
    "fill-mask": {"logits": ("last_hidden_state", "vocabulary")},
    "text-ranking": {"logits": ("pooled", "one_label")},
    "replaced-token-detection": {"logits": ("last_hidden_state", "first_label")},
    "sentence-order-prediction": {"sop_logits": ("pooled", "two_labels")},
    "next-sentence-prediction": {"logits": ("pooled", "two_labels")},
    "pretraining-heads": {
        "prediction_logits": ("last_hidden_state", "vocabulary"),
        "sop_logits": ("pooled", "two_labels"),
    },
}
"""Of each task with a head its outputs: what is multiplied, and the table that it is multiplied with."""


def make_tokenizer() -> tokenizers.Tokenizer:
    """WordPiece over VOCABULARY, as BERT has it: [CLS] a [SEP] b [SEP], types 0 and 1."""
    model = tokenizers.models.WordPiece(
        {token: number for number, token in enumerate(VOCABULARY)}, unk_token="[UNK]", max_input_chars_per_word=100
    )
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(strip_accents=False)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)]
    )
    tokenizer.decoder = tokenizers.decoders.WordPiece()
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


@dataclass(frozen=True)
class Weights:
    """Every token's state is its word plus its type, plus the mean over all tokens that the mask keeps."""

    words: np.ndarray = field(default_factory=lambda: _random(0, len(VOCABULARY), HIDDEN))
    types: np.ndarray = field(default_factory=lambda: _random(1, 2, HIDDEN))
    labels: np.ndarray = field(default_factory=lambda: _random(2, HIDDEN, len(LABELS)))

    def tables(self) -> dict[str, np.ndarray]:
        """What a head multiplies with, [HIDDEN, …]."""
        found = {
            "labels": self.labels,
            "one_label": self.labels[:, :1],
            "two_labels": self.labels[:, :2],
            "first_label": self.labels[:, 0],
            "second_label": self.labels[:, 1],
            "vocabulary": self.words.T,
        }
        return {name: np.ascontiguousarray(table) for name, table in found.items()}

    def reference(self, task: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        mask = (arrays["attention_mask"] != 0)[..., None].astype(np.float32)
        states = self.words[arrays["input_ids"]] + self.types[arrays["token_type_ids"]]
        mean = (states * mask).sum(axis=1) / mask.sum(axis=1)
        found, tables = {"last_hidden_state": states + mean[:, None], "pooled": mean}, self.tables()
        if task not in OUTPUTS:
            return {"last_hidden_state": found["last_hidden_state"]}
        return {name: found[source] @ tables[table] for name, (source, table) in OUTPUTS[task].items()}


def make_model(task: str, weights: Weights) -> onnx.ModelProto:
    """Weights.reference as an ONNX graph."""
    node = helper.make_node
    nodes = [
        node("Gather", ["words", "input_ids"], ["word_states"]),
        node("Gather", ["types", "token_type_ids"], ["type_states"]),
        node("Add", ["word_states", "type_states"], ["embedded"]),
        node("Cast", ["attention_mask"], ["float_mask"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["float_mask", "last"], ["mask"]),
        node("Mul", ["embedded", "mask"], ["kept"]),
        node("ReduceSum", ["kept", "tokens"], ["sum"]),
        node("ReduceSum", ["mask", "tokens"], ["count"]),
        node("Div", ["sum", "count"], ["mean"]),
        node("Add", ["embedded", "mean"], ["last_hidden_state"]),
        node("Squeeze", ["mean", "tokens"], ["pooled"]),
    ]
    heads = [node("MatMul", list(factors), [name]) for name, factors in OUTPUTS.get(task, {}).items()]
    constants = {
        **weights.tables(),
        "words": weights.words,
        "types": weights.types,
        "last": np.array([2]),
        "tokens": np.array([1]),
    }
    axes = ["batch", "sequence"]
    graph = helper.make_graph(
        nodes + heads,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.INT64, axes) for name in INPUTS],
        [helper.make_tensor_value_info(spec.name, TensorProto.FLOAT, list(spec.shape)) for spec in outputs_of(task)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def outputs_of(task: str) -> tuple[TensorSpec, ...]:
    if task not in OUTPUTS:
        return (TensorSpec("last_hidden_state", "float32", ("batch", "sequence", HIDDEN)),)
    tables, axes = Weights().tables(), {"pooled": ("batch",), "last_hidden_state": ("batch", "sequence")}
    return tuple(
        TensorSpec(name, "float32", (*axes[source], *tables[table].shape[1:]))
        for name, (source, table) in OUTPUTS[task].items()
    )


@dataclass(frozen=True)
class TinyBundle:
    """A bundle's folder, what its graph computes, and its manifest, which `change` writes again."""

    path: Path
    weights: Weights
    manifest: Manifest

    def reference(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self.weights.reference(self.manifest.task, arrays)

    def change(self, **fields: Any) -> None:
        (self.path / "bvx.json").write_text(replace(self.manifest, **fields).to_json())

    def replace_file(self, name: str, content: bytes) -> None:
        """Write `content` to the file `name`, and its digest to the manifest, as a forger would."""
        (self.path / name).write_bytes(content)
        self.change(files=list_files(self.path))

    def replace_model(self, weights: Weights) -> None:
        self.replace_file(self.manifest.variants[0].file, make_model(self.manifest.task, weights).SerializeToString())

    def replace_tokenizer(self, tokenizer: tokenizers.Tokenizer) -> None:
        self.replace_file("tokenizer.json", tokenizer.to_str().encode())

    def tokenizer(self) -> tokenizers.Tokenizer:
        return make_tokenizer()


def list_files(folder: Path) -> tuple[FileEntry, ...]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "bvx.json"]
    contents = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    return tuple(FileEntry(name, hashlib.sha256(data).hexdigest(), len(data)) for name, data in contents.items())


@pytest.fixture
def make_bundle(tmp_path: Path) -> Callable[..., TinyBundle]:
    """Makes a bundle for a task; other arguments are the manifest's fields."""

    def make(task: str = "feature-extraction", **fields: Any) -> TinyBundle:
        folder = tmp_path / f"{task}-{len(list(tmp_path.iterdir()))}.bvx"
        (folder / "onnx" / "cpu").mkdir(parents=True)
        weights = Weights()
        onnx.save(make_model(task, weights), folder / "onnx" / "cpu" / "fp32.onnx")
        make_tokenizer().save(str(folder / "tokenizer.json"))
        arrays = {
            "input_ids": np.arange(40).reshape(4, 10) % len(VOCABULARY),
            "attention_mask": (np.arange(10) < [[10], [7], [3], [1]]).astype(np.int64),
            "token_type_ids": np.arange(40).reshape(4, 10) % 2,
        }
        write_golden(folder / "golden.safetensors", [sample_case("tiny", arrays, weights.reference(task, arrays))])
        manifest = Manifest(
            format=FORMAT,
            bvx_version="0",
            model=ModelInfo("tiny", None, True, 0),
            family="bert",
            task=task,
            head=HEADS.get(task, {}),
            inputs=tuple(TensorSpec(name, "int64", ("batch", "sequence")) for name in INPUTS),
            outputs=outputs_of(task),
            max_length=MAX_LENGTH,
            tokenizer=TokenizerInfo("[PAD]", PAD, 0, "right"),
            variants=(Variant("fp32", "cpu", "onnx/cpu/fp32.onnx", "verified"),),
            files=list_files(folder),
            tolerances={"fp32": Tolerance(1e-4, 1e-5, 0.999999, 1.0)},
            input_limits={"input_ids": len(VOCABULARY), "token_type_ids": 2},
        )
        bundle = TinyBundle(folder, weights, replace(manifest, **fields))
        bundle.change()
        return bundle

    return make


def _random(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)
