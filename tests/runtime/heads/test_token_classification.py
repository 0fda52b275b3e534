"""token-classification: labels, entities and windows, equal to transformers' pipeline for every kind of vocabulary.

There both sides run the same PyTorch model, whose classifier is sharpened until labels vary from token to token.
"""

import json
import random
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, get_args

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from bvx.runtime.bundle import Bundle
from bvx.runtime.errors import BundleError, InputError
from bvx.runtime.heads import open_head
from bvx.runtime.heads.entities import Strategy
from bvx.runtime.heads.token_classification import TokenClassifier
from bvx.runtime.loading import load
from bvx.runtime.manifest import FORMAT, Manifest, ModelInfo, TensorSpec, Variant
from bvx.runtime.tokenizer import Tokenizer

VOCABULARIES = {
    "albert": "albert-base-v2",
    "bert": "electra-small-discriminator",
    "electra": "electra-small-discriminator",
    "roberta": "roberta-base",
    "spanbert": "spanbert-base-cased",
}
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "MISC", "B-ORG-SUB", "X-PER", "per"]
STRATEGIES = get_args(Strategy)
MAX_LENGTH = 40

TEXTS = [
    "Ada Lovelace lived in London, near St. James's Square.",
    "",
    " ",
    "unbelievably antidisestablishmentarian Thessaloniki's isn't",
    "  two  spaces\tand a tab\n\nand lines ",
    "Stra\u00dfe caf\u00e9 cafe\u0301 na\u00efve \u0301\u0301 O\u0308sterreich",
    "\u6771\u4eac\u90fd and \u5317\u4eac\u3002\u4f60\u597d \uff11\uff12",
    "\U0001f642\U0001f468\u200d\U0001f469\u200d\U0001f467 ok \U0001f1e9\U0001f1ea!\u200b\u00ad\ufeff",
    "special [UNK] <unk> [SEP] </s> [CLS] <pad> [MASK] tokens",
    "สวัสดี مرحبا שלום हिन्दी",
    "$3,000.50 (U.S.) e-mail@example.com https://a.b/c?d=e -- \u201cquoted\u201d \u2026",
    "\ufb01ne \u210c \u2460 \u00bd \ufdfa",
]  # fmt: skip

SNIPPETS = [
    *("Ada", "lovelace", "St", "un", "believ", "ably", "x", "3", "McDonald's", "ing", "qz", "#", "##s", "[UNK]"),
    *("<unk>", "\u2581", "\u00e9", "e\u0301", "\u0301", "\u6771\u4eac", "\U0001f642", "\u200d", "\ufb01", "สวั"),
    *(" ", " ", " ", " ", "  ", "\n", "\t", "\u00a0", "\u3000", ",", ".", "-", "'"),
]  # fmt: skip


def random_texts(seed, count=30, most=16):
    chance = random.Random(seed)
    return ["".join(chance.choices(SNIPPETS, k=chance.randint(0, most))) for _ in range(count)]


LABELS = ["O", "B-PET", "I-PET", "B-PLACE"]
BY_WORD = {"cat": 1, "dog": 1, "##s": 2, "mat": 3}
"""The label of each word, in the bundle whose graph is a table of words; the others are O."""


@pytest.fixture
def model(make_bundle):
    """A bundle, loaded, whose logits are 5 for the label of a token and 0 for the others."""
    bundle = make_bundle()
    vocabulary = bundle.tokenizer().get_vocab()
    table = np.zeros((len(vocabulary), len(LABELS)), np.float32)
    for word, number in vocabulary.items():
        table[number, BY_WORD.get(word, 0)] = 5
    shape = ("batch", "sequence", len(LABELS))
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["logits"])],
        "table",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "sequence"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(table, "table")],
    )
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    manifest = replace(
        bundle.manifest,
        task="token-classification",
        head={"labels": LABELS, "unk_token": "[UNK]"},
        inputs=bundle.manifest.inputs[:1],
        outputs=(TensorSpec("logits", "float32", shape),),
    )
    replace(bundle, manifest=manifest).replace_file("onnx/cpu/fp32.onnx", content.SerializeToString())
    with load(bundle.path, threads=1) as model:
        yield model


SCORE = pytest.approx(np.exp(5) / (np.exp(5) + 3), abs=1e-6)


def test_tokens_come_with_their_labels_and_places(model):
    assert isinstance(model, TokenClassifier)
    assert model("The cats sat, a mat") == [
        {"entity": "B-PET", "score": SCORE, "index": 2, "word": "cat", "start": 4, "end": 7},
        {"entity": "I-PET", "score": SCORE, "index": 3, "word": "##s", "start": 7, "end": 8},
        {"entity": "B-PLACE", "score": SCORE, "index": 7, "word": "mat", "start": 16, "end": 19},
    ]
    assert model("") == model("sat on") == []
    json.dumps(model("a cat"))


@pytest.mark.parametrize("strategy", STRATEGIES[1:])
def test_entities_are_joined_tokens_or_words(model, strategy):
    # "average": the first token says B-PET and the second I-PET, so that either has about half.
    score = pytest.approx((np.exp(5) + 1) / (np.exp(5) + 3) / 2, abs=1e-6) if strategy == "average" else SCORE
    assert model("The cats sat, a mat", aggregation_strategy=strategy) == [
        {"entity_group": "PET", "score": score, "word": "cats", "start": 4, "end": 8},
        {"entity_group": "PLACE", "score": SCORE, "word": "mat", "start": 16, "end": 19},
    ]


def test_an_unknown_word_reads_as_it_was_written(model):
    first, second = model("Zebra cat", ignore_labels=[])
    assert (first["word"], first["entity"], second["word"]) == ("Zebra", "O", "cat")


def test_a_batch_answers_as_each_text_alone(model):
    texts = ["cats and dogs", "", "the mat", "a dog, a cat and a mat", "dogs"]
    options = {"aggregation_strategy": "simple"}
    together = model(texts, batch_size=2, **options)
    assert together == [model(text, **options) for text in texts]
    assert model(iter(texts), **options) == together


def test_a_long_text_is_refused_cut_or_read_in_windows(model):
    text = "cat " * 60 + "mat"
    with pytest.raises(InputError, match=r"63 tokens long.*at most 24"):
        model(text)
    assert len(model(text, truncate=True)) == 22
    with pytest.raises(InputError, match="63 tokens long"):
        model(text, aggregation_strategy="first")
    found = model(["mat", text], aggregation_strategy="first", stride=7)[1]
    assert [entity["start"] for entity in found] == list(range(0, 244, 4))
    assert {text[entity["start"] : entity["end"]] for entity in found} == {"cat", "mat"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"aggregation_strategy": "mean"}, "none, simple, first, average, max"),
        ({"aggregation_strategy": None}, "none, simple, first, average, max"),
        ({"ignore_labels": "O"}, "ignore_labels is 'O'"),
        ({"ignore_labels": 3}, "ignore_labels is 3"),
        ({"ignore_labels": ["O", 0]}, "ignore_labels has 0"),
        ({"stride": 3}, "other than 'none'"),
        ({"stride": -1, "aggregation_strategy": "max"}, "stride is -1"),
        ({"stride": True, "aggregation_strategy": "max"}, "stride is True"),
        ({"stride": 22, "aggregation_strategy": "max"}, "stride below 22"),
        ({"stride": 3, "aggregation_strategy": "max", "truncate": True}, "Give one of them"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_options_that_cannot_be_used_are_refused(model, options, says):
    with pytest.raises(InputError, match=says):
        model("cat " * 60, **options)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"labels": []},
        {"labels": ["a", 3]},
        {"labels": ["a"], "unk_token": 3},
        {"labels": ["a"], "unk_token": "cow"},
    ],
)
def test_settings_that_do_not_fit_are_a_bundle_error(make_bundle, settings):
    tokenizer = Tokenizer(make_bundle().path / "tokenizer.json", MAX_LENGTH)
    with pytest.raises(BundleError):
        open_head("token-classification", settings, tokenizer)


@pytest.mark.parametrize("shape", [("batch", 2), ("batch", "sequence", 3)])
def test_an_output_that_does_not_fit_is_a_bundle_error(shape):
    head = open_head("token-classification", {"labels": ["a", "b"]}, None)
    assert head.seconds == "none"
    head.check_output(TensorSpec("logits", "float32", ("batch", "sequence", 2)))
    with pytest.raises(BundleError):
        head.check_output(TensorSpec("logits", "float32", shape))


@dataclass(frozen=True)
class TorchEngine:
    model: Any
    name: str = "torch"
    version: str = "0"
    threads: int = 1

    def run(self, feeds, outputs=None):
        torch = pytest.importorskip("torch")
        with torch.no_grad():
            found = self.model(**{name: torch.from_numpy(array) for name, array in feeds.items()})
        return {name: value.numpy() for name, value in found.items() if outputs is None or name in outputs}


@pytest.fixture(scope="module")
def both(shared, tmp_path_factory):
    """Our class and transformers' pipeline, on one model and one real vocabulary: both("albert")."""
    transformers = pytest.importorskip("transformers")

    from bvx.exporter.checkpoint.config import complete_config
    from bvx.exporter.checkpoint.tokenizer import freeze_folder
    from bvx.exporter.families import known_families

    @cache
    def make(name):
        family, folder = known_families()[name], tmp_path_factory.mktemp(name)
        vocabulary = shared("tokenizers") / VOCABULARIES[name]
        raw = {**family.tiny, "num_hidden_layers": 1, "vocab_size": 51000, "id2label": dict(enumerate(TAGS))}
        config = complete_config(raw, family)
        frozen = freeze_folder(vocabulary, raw, family, max_length=MAX_LENGTH)
        for file, content in frozen.files.items():
            (folder / file).write_bytes(content)
        transformers.set_seed(1)
        model = transformers.AutoModelForTokenClassification.from_config(config).eval()
        model.classifier.weight.data *= 30
        model.get_input_embeddings().weight.data *= 5
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        pipeline = transformers.pipeline("token-classification", model=model, tokenizer=tokenizer)
        head = {"labels": TAGS, "unk_token": tokenizer.unk_token}
        return open_model(folder, head, frozen.info, family, TorchEngine(model)), pipeline

    return make


def open_model(folder, head, info, family, engine):
    manifest = Manifest(
        format=FORMAT,
        bvx_version="0",
        model=ModelInfo("tiny", None, True, 0),
        family=family.name,
        task="token-classification",
        head=head,
        inputs=tuple(TensorSpec(name, "int64", ("batch", "sequence")) for name in family.inputs),
        outputs=(TensorSpec("logits", "float32", ("batch", "sequence", len(TAGS))),),
        max_length=MAX_LENGTH,
        tokenizer=info,
        variants=(Variant("fp32", "cpu", "none.onnx", "verified"),),
        files=(),
        tolerances={},
    )
    tokenizer = Tokenizer(folder / "tokenizer.json", MAX_LENGTH)
    opened = open_head(manifest.task, head, tokenizer)
    return TokenClassifier(Bundle(folder, manifest), manifest.variants[0], engine, tokenizer, opened)


def assert_equal(found, expected, texts):
    assert len(found) == len(expected) == len(texts)
    for text, ours, theirs in zip(texts, found, expected, strict=True):
        assert [without_score(one) for one in ours] == [without_score(one) for one in theirs], text
        scores = [[one["score"] for one in answer] for answer in (ours, theirs)]
        np.testing.assert_allclose(*scores, atol=1e-4, err_msg=text)


def without_score(entity):
    return {name: value for name, value in entity.items() if name != "score"}


@pytest.mark.filterwarnings("ignore:Tokenizer does not support real words")
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("family", VOCABULARIES)
def test_answers_are_those_of_the_pipeline(both, family, strategy):
    model, pipeline = both(family)
    texts = TEXTS + random_texts(STRATEGIES.index(strategy))
    options = {"aggregation_strategy": strategy}
    expected = pipeline(texts, **options)
    assert_equal(model(texts, truncate=True, **options), expected, texts)
    assert model(texts[0], **options) == model(texts[:1], **options)[0]
    key = "entity" if strategy == "none" else "entity_group"
    assert len({entity[key] for answer in expected for entity in answer}) > 3, "labels vary"


@pytest.mark.filterwarnings("ignore:Tokenizer does not support real words")
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_labels_are_left_out_as_in_the_pipeline(both, strategy):
    model, pipeline = both("spanbert")
    for ignored in ([], ["PER", "B-PER", "per"], TAGS):
        options = {"aggregation_strategy": strategy, "ignore_labels": ignored}
        assert_equal(model(TEXTS, truncate=True, **options), pipeline(TEXTS, **options), TEXTS)


@pytest.mark.filterwarnings("ignore:Tokenizer does not support real words")
@pytest.mark.parametrize("strategy", STRATEGIES[1:])
@pytest.mark.parametrize("family", VOCABULARIES)
def test_the_windows_of_a_long_text_are_joined_as_in_the_pipeline(both, family, strategy):
    model, pipeline = both(family)
    texts = [" ".join(TEXTS), "", TEXTS[0], *random_texts(7, count=4, most=160)]
    for stride in (0, 5, 30):
        options = {"aggregation_strategy": strategy, "stride": stride}
        assert_equal(model(texts, **options), pipeline(texts, **options), texts)
