"""Answers equal to transformers' pipelines; both run the same PyTorch model, so that only the heads are compared."""

import numpy as np
import pytest

from bvx.runtime.bundle import Bundle
from bvx.runtime.encoder import Encoder
from bvx.runtime.heads import open_head
from bvx.runtime.tokenizer import Tokenizer

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TEXTS = ["the cat sat on a mat", "dogs", "a dog, a cat and a cat ran far.", "\u00e9 \u6211 zebra"]


class TorchEngine:
    name, version, threads = "torch", torch.__version__, 1

    def __init__(self, model):
        self.model = model

    def run(self, feeds, outputs=None):
        with torch.no_grad():
            found = self.model(**{name: torch.from_numpy(array) for name, array in feeds.items()})
        return {name: value.numpy() for name, value in found.items() if outputs is None or name in outputs}


@pytest.fixture
def both(make_bundle):
    """Makes our Encoder and transformers' pipeline for a task, on one random model."""

    def make(task, model_class, head=None, **config):
        bundle = make_bundle(task, **({"head": head} if head else {}))
        torch.manual_seed(0)
        sizes = {"vocab_size": 21, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
        settings = transformers.BertConfig(**sizes, intermediate_size=32, initializer_range=0.5, **config)
        model = getattr(transformers, model_class)(settings).eval()
        special = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
        fast = transformers.PreTrainedTokenizerFast(
            tokenizer_object=bundle.tokenizer(),
            model_input_names=["input_ids", "token_type_ids", "attention_mask"],
            **special,
        )
        opened = Bundle.open(bundle.path)
        tokenizer = Tokenizer(opened.path("tokenizer.json"), 24)
        encoder = Encoder(
            opened, opened.variant(), TorchEngine(model), tokenizer, open_head(task, opened.manifest.head, tokenizer)
        )
        return encoder, transformers.pipeline(task, model=model, tokenizer=fast)

    return make


def close(found, expected):
    if isinstance(expected, dict):
        return set(found) == set(expected) and all(close(found[name], expected[name]) for name in expected)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(close, found, expected))
    return found == (expected if isinstance(expected, (str, int)) else pytest.approx(expected, abs=1e-4))


def test_features_are_those_of_the_pipeline(both):
    encoder, pipeline = both("feature-extraction", "BertModel")
    for found, expected in zip(encoder(TEXTS), pipeline(TEXTS), strict=True):
        np.testing.assert_allclose(found, np.array(expected)[0], atol=1e-4)


@pytest.mark.parametrize(
    ("labels", "problem_type"),
    [
        (1, None),
        (3, None),
        (1, "multi_label_classification"),
        (3, "multi_label_classification"),
        (3, "single_label_classification"),
    ],
)
def test_labels_are_those_of_the_pipeline(both, labels, problem_type):
    head = {"labels": [f"LABEL_{i}" for i in range(labels)], "problem_type": problem_type}
    encoder, pipeline = both(
        "text-classification", "BertForSequenceClassification", head, num_labels=labels, problem_type=problem_type
    )
    assert close(encoder(TEXTS), pipeline(TEXTS))
    assert close(encoder(TEXTS, top_k=None), pipeline(TEXTS, top_k=None))
    assert close(encoder(TEXTS, top_k=2), pipeline(TEXTS, top_k=2))
    assert close(encoder(TEXTS, function_to_apply="none"), pipeline(TEXTS, function_to_apply="none"))
    pairs = [{"text": text, "text_pair": "the dog"} for text in TEXTS]
    assert close(encoder(TEXTS, pairs=["the dog"] * len(TEXTS)), pipeline(pairs))


def test_a_regression_is_that_of_the_pipeline(both):
    head = {"labels": ["LABEL_0"], "problem_type": "regression"}
    encoder, pipeline = both(
        "text-classification", "BertForSequenceClassification", head, num_labels=1, problem_type="regression"
    )
    assert close(encoder(TEXTS), pipeline(TEXTS))


@pytest.mark.parametrize("options", [{}, {"top_k": 3}, {"targets": ["cat", "dog", "mat"]}, {"targets": "dogs"}])
def test_fillings_are_those_of_the_pipeline(both, options):
    encoder, pipeline = both("fill-mask", "BertForMaskedLM")
    texts = ["the [MASK] sat.", "[MASK], a cat and [MASK] ran", "dogs [MASK]"]
    assert close(encoder(texts, **options), pipeline(texts, **options))
