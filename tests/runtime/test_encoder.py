"""The Encoder: texts become answers in their order, whatever the batches; arrays become the graph's own outputs."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

import bvx.runtime.encoder
from bvx.runtime.errors import BundleError, EngineMismatch, InputError
from bvx.runtime.loading import load
from bvx.runtime.manifest import TokenizerInfo

TEXTS = ["the cat sat on a mat", "dogs", "", "a dog, a cat and a cat ran far.", "é 我 zebra", "the cat sat on a mat"]


@pytest.fixture
def bundle(make_bundle):
    return make_bundle()


@pytest.fixture
def model(bundle):
    with load(bundle.path, threads=1) as model:
        yield model


def test_one_text_gives_one_answer_and_several_give_a_list(model):
    assert model("the cat").shape == (4, 8)
    assert [answer.shape for answer in model(["the cat"])] == [(4, 8)]
    assert model([]) == []
    assert [answer.shape for answer in model(text for text in ("the cat", "dogs"))] == [(4, 8), (4, 8)]


def test_answers_are_those_of_the_graph_on_the_tokens_alone(bundle, model):
    for text, answer in zip(TEXTS, model(TEXTS), strict=True):
        expected = bundle.reference(model.tokenize(text))["last_hidden_state"][0]
        np.testing.assert_allclose(answer, expected, atol=1e-5)
        assert answer.dtype == np.float32


@pytest.mark.parametrize("batch_size", [1, 2, 3, 32])
def test_answers_keep_the_order_of_the_texts_in_any_batch_size(model, batch_size):
    texts = [" ".join(["cat"] * (1 + 7 * i % 20)) for i in range(25)] + TEXTS
    alone = [model(text) for text in texts]
    for one, other in zip(model(texts, batch_size=batch_size), alone, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_batches_hold_texts_of_similar_length(model, monkeypatch):
    shapes = record_shapes(model, monkeypatch)
    model(["cat " * 20, "cat", "dog " * 20, "dog"], batch_size=2)
    assert shapes == [(2, 22), (2, 3)]


def test_a_batch_shrinks_where_its_output_would_be_too_large(model, monkeypatch):
    shapes = record_shapes(model, monkeypatch)
    monkeypatch.setattr(bvx.runtime.encoder, "_BUDGET", 2 * 22 * 8)
    model(["cat " * 20] * 3 + ["cat"] * 4)
    assert shapes == [(2, 22), (1, 22), (4, 3)], "two of 22 tokens fit, and 117 short ones"


def test_a_call_of_one_batch_is_cut_where_padding_would_cost_more_than_another_run(model, monkeypatch):
    shapes = record_shapes(model, monkeypatch)
    texts = ["cat " * 20, "cat", "cat " * 19, "dog", "cat cat"]
    together = model(texts)
    assert shapes == [(2, 22), (3, 4)], "one token of padding is cheaper than a run, eighteen are not"
    for text, found in zip(texts, together, strict=True):
        np.testing.assert_allclose(found, model(text), atol=1e-5)


@pytest.mark.parametrize("target", ["cpu", "tensorrt"])
def test_few_large_batches_are_for_gpus(model, monkeypatch, target):
    shapes = record_shapes(model, monkeypatch)
    monkeypatch.setattr(model, "_variant", replace(model.variant, target=target))
    model(["cat " * 20, "cat"])
    assert len(shapes) == (2 if target == "cpu" else 1)


def test_only_the_output_that_the_task_reads_is_fetched(model, monkeypatch):
    run, fetched = model.engine.run, []
    monkeypatch.setattr(model.engine, "run", lambda feeds, names=None: fetched.append(names) or run(feeds, names))
    model("cat")
    assert fetched == [("last_hidden_state",)]


def record_shapes(model, monkeypatch):
    shapes, run = [], model.engine.run
    monkeypatch.setattr(
        model.engine, "run", lambda feeds, names=None: shapes.append(feeds["input_ids"].shape) or run(feeds, names)
    )
    return shapes


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_is_on_the_right_whatever_the_checkpoint_says(make_bundle, side):
    bundle = make_bundle(tokenizer=TokenizerInfo("[PAD]", 0, 0, side))
    with load(bundle.path, threads=1) as model:
        arrays = model.tokenize(["the cat sat", "dog"])
        assert arrays["attention_mask"][1].tolist() == [1, 1, 1, 0, 0]
        alone = [model("the cat sat"), model("dog")]
        for one, other in zip(model(["the cat sat", "dog"]), alone, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_pairs_are_read_with_their_token_types(bundle, model):
    arrays = model.tokenize("the cat", "a dog")
    assert arrays["token_type_ids"].tolist() == [[0, 0, 0, 0, 1, 1, 1]]
    expected = bundle.reference(arrays)["last_hidden_state"][0]
    np.testing.assert_allclose(model("the cat", "a dog"), expected, atol=1e-5)
    np.testing.assert_allclose(model(["the cat"], pairs=["a dog"])[0], expected, atol=1e-5)


@pytest.mark.parametrize("pairs", ["a dog", ["a dog"], ["a", "b", "c"]])
def test_pairs_that_do_not_fit_the_texts_are_refused(model, pairs):
    with pytest.raises(InputError):
        model(["the cat", "sat"], pairs=pairs)


def test_a_long_text_is_refused_with_both_lengths(model):
    with pytest.raises(InputError, match=r"texts\[1\] is 32 tokens long; .* at most 24.*truncate=True"):
        model(["cat", "cat " * 30])
    with pytest.raises(InputError, match="The text is 32 tokens long"):
        model("cat " * 30)


def test_a_long_text_is_cut_when_asked(model):
    cut = model.tokenize(["cat " * 30, "dog"], truncate=True)["input_ids"]
    assert cut.shape == (2, 24)
    assert cut[0, -1] == model.tokenize("cat")["input_ids"][0, -1], "the last special token stays"
    pair = model.tokenize("cat " * 30, "dog " * 3, truncate=True)
    assert pair["token_type_ids"][0].sum() == 4, "the longer text of a pair is cut"
    with pytest.raises(InputError):
        model("cat " * 30)


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (None, "NoneType"),
        (3, "int"),
        (b"cat", "Decode it first"),
        ({"text": "cat"}, "dict"),
        (["cat", None], r"texts\[1\] is NoneType"),
        (["cat", b"cat"], r"texts\[1\] is bytes.*Decode it first"),
        ([["cat", "dog"]], "The text is list"),
        ("cat \ud83d", r"half a surrogate pair \(U\+D83D\) at position 4"),
    ],
)
def test_what_is_not_text_is_refused_by_name(model, texts, says):
    with pytest.raises(InputError, match=says):
        model(texts)


def test_texts_that_no_vocabulary_foresees_are_read(model):
    assert model.tokenize("x" * 100_000)["input_ids"].tolist() == [[2, 1, 3]]
    assert model.tokenize("\x00\u200b\r\n")["input_ids"][0, 0] == 2
    assert model("\U0001f469\u200d\U0001f52c").shape[0] >= 3


@pytest.mark.parametrize("size", [0, -1, 2.5, True, "2"])
def test_a_batch_size_that_cannot_be_is_refused(model, size):
    with pytest.raises(InputError, match=f"batch_size is {size!r}"):
        model("cat", batch_size=size)


def test_threads_share_one_model(model):
    texts = [" ".join(["cat", "dog"][i % 2] for _ in range(1 + i % 20)) for i in range(60)]
    expected = [model(text) for text in texts]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(model, texts))
        cut = list(threads.map(lambda text: model(f"{text} " * 30, truncate=True), texts))
    assert all(np.allclose(one, other, atol=1e-5) for one, other in zip(found, expected, strict=True))
    assert {len(answer) for answer in cut} == {24}


def test_run_gives_the_graphs_own_outputs(bundle, model):
    arrays = model.tokenize(["the cat", "dogs sat on a mat"])
    outputs = model.run(**arrays)
    assert list(outputs) == ["last_hidden_state"]
    np.testing.assert_allclose(outputs["last_hidden_state"], bundle.reference(arrays)["last_hidden_state"], atol=1e-5)


def test_verify_says_that_the_model_is_what_it_was(model):
    report = model.verify()
    assert report and {row.output for row in report.rows} == {"last_hidden_state"}
    assert report.engine.startswith("onnxruntime ")


def test_verify_says_when_the_graph_is_another(bundle):
    bundle.replace_model(replace(bundle.weights, words=bundle.weights.words * 1.001))
    with load(bundle.path, threads=1) as model:
        assert not model.verify()


def test_verify_needs_a_tolerance(bundle):
    bundle.change(tolerances={})
    with load(bundle.path, threads=1) as model, pytest.raises(BundleError, match="no tolerance for fp32"):
        model.verify()


def test_a_model_says_what_it_is(model):
    assert (model.task, model.family, model.precision, model.max_length) == ("feature-extraction", "bert", "fp32", 24)
    assert model.labels == () and model.engine.name == "onnxruntime" and model.engine.threads == 1
    assert "bert, feature-extraction, fp32/cpu on onnxruntime" in repr(model)


def test_a_closed_model_says_so(model):
    model.close()
    model.close()
    with pytest.raises(EngineMismatch, match="closed"):
        model("cat")


def test_a_bundle_without_a_tokenizer_takes_arrays_only(make_bundle):
    with load(make_bundle(tokenizer=None).path, threads=1) as model:
        assert model.run(input_ids=[[2, 6, 3]])["last_hidden_state"].shape == (1, 3, 8)
        with pytest.raises(InputError, match="no tokenizer"):
            model("cat")


def test_an_empty_text_without_special_tokens_is_refused(make_bundle):
    bundle = make_bundle()
    tokenizer = bundle.tokenizer()
    tokenizer.post_processor = None
    bundle.replace_tokenizer(tokenizer)
    with load(bundle.path, threads=1) as model:
        assert model("cat").shape == (1, 8)
        with pytest.raises(InputError, match=r"texts\[1\] has no tokens"):
            model(["cat", ""])
