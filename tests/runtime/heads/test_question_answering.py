"""question-answering: answers as transformers' pipeline gives them, over windows, whole words, and of nothing."""

import gc
import json
import weakref
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import tokenizers
from onnx import TensorProto, helper, numpy_helper

import bvx
from bvx.runtime.errors import BundleError, InputError
from bvx.runtime.heads import open_head
from bvx.runtime.heads.question_answering import QuestionAnsweringOptions
from bvx.runtime.heads.spans import WindowSpans
from bvx.runtime.manifest import TensorSpec

WORDS = ["the", "cat", "dog", "sat", "on", "a", "mat", "and", "ran", "##s", "##ed", "far", ",", ".", "\u00e9", "\u6211"]


def reference(model, question, context, **options):
    """QuestionAnsweringPipeline's answers, found span by span from the graph's own outputs, in float64."""
    top_k, length = options.get("top_k", 1), min(options.get("max_seq_len", 384), model.max_length)
    align, longest = options.get("align_to_words", True), options.get("max_answer_len", 15)
    library = tokenizers.Tokenizer.from_file(str(model.bundle.path("tokenizer.json")))
    stride = options.get("doc_stride", min(length // 2, 128))
    library.enable_truncation(length, stride=stride, strategy="only_second")
    whole = library.encode(question, context)
    answers, null_score = [], 1e6
    for window in [whole, *whole.overflowing]:
        given = {"input_ids": window.ids, "token_type_ids": window.type_ids}
        found = model.run(**{spec.name: [given[spec.name]] for spec in model.manifest.inputs if spec.name in given})
        start, end = (probabilities(found[name][0], window) for name in ("start_logits", "end_logits"))
        null_score = min(null_score, start[0] * end[0])
        inside = [place for place, text in enumerate(window.sequence_ids) if text == 1]
        spans = [(start[i] * end[j], i, j) for i in inside for j in inside if i <= j < i + longest]
        spans.sort(key=lambda span: -span[0])
        for score, i, j in spans[: top_k * 2 + 10 if align else top_k]:
            first, last = window.offsets[i][0], window.offsets[j][1]
            if align:
                first = window.word_to_chars(window.token_to_word(i), 1)[0]
                last = window.word_to_chars(window.token_to_word(j), 1)[1]
            text = context[first:last]
            same = [answer for answer in answers if answer["answer"].lower() == text.lower()]
            if same:
                same[0]["score"] += score
            else:
                answers.append({"score": score, "start": first, "end": last, "answer": text})
    if options.get("handle_impossible_answer"):
        answers.append({"score": null_score, "start": 0, "end": 0, "answer": ""})
    return sorted(answers, key=lambda answer: -answer["score"])[:top_k]


def probabilities(logits, window):
    kept = [text == 1 or one == window.ids[0] for text, one in zip(window.sequence_ids, window.ids, strict=True)]
    powers = np.where(kept, np.exp(logits.astype(np.float64) - logits.max()), 0)
    return powers / powers.sum()


def same(found, expected):
    return found == [{**answer, "score": pytest.approx(answer["score"], rel=1e-3, abs=1e-9)} for answer in expected]


@pytest.fixture
def make_model(make_bundle):
    """Loads a bundle whose logits are a start and an end for each word, 0 where nothing is said."""

    def make(starts, ends):
        bundle = make_bundle()
        vocabulary = bundle.tokenizer().get_vocab()
        names = ("start_logits", "end_logits")
        tables = np.zeros((2, len(vocabulary)), np.float32)
        for table, words in zip(tables, (starts, ends), strict=True):
            for word, value in words.items():
                table[vocabulary[word]] = value
        shape = ("batch", "sequence")
        graph = helper.make_graph(
            [helper.make_node("Gather", [f"{name}.table", "input_ids"], [name]) for name in names],
            "tables",
            [helper.make_tensor_value_info("input_ids", TensorProto.INT64, shape)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in names],
            [numpy_helper.from_array(table, f"{name}.table") for name, table in zip(names, tables, strict=True)],
        )
        content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        manifest = replace(
            bundle.manifest,
            task="question-answering",
            head={},
            inputs=bundle.manifest.inputs[:1],
            outputs=tuple(TensorSpec(name, "float32", shape) for name in names),
        )
        replace(bundle, manifest=manifest).replace_file("onnx/cpu/fp32.onnx", content.SerializeToString())
        return bvx.load(bundle.path, threads=1)

    return make


@pytest.fixture
def model(make_model):
    """Its answers begin with "cat" and end with "mat" or "##s"."""
    with make_model({"cat": 5, "dog": 3}, {"mat": 5, "##s": 4, "[SEP]": 9}) as model:
        yield model


@pytest.fixture
def random_model(make_model):
    random = np.random.default_rng(0)
    with make_model(
        *(dict(zip([*WORDS, "[CLS]", "[UNK]"], random.normal(0, 3, 18), strict=True)) for _ in "se")
    ) as model:
        yield model


def test_the_answer_is_the_likeliest_span(model):
    assert isinstance(model, bvx.QuestionAnswerer)
    found = model("the dog?", "and the cat on a mat, far")
    assert (found["start"], found["end"], found["answer"]) == (8, 20, "cat on a mat")
    assert found["score"] == pytest.approx((np.exp(5) / (np.exp(5) + 8)) ** 2, rel=1e-5)
    json.dumps(found)


def test_top_k_is_a_list_of_the_best(model):
    (only,) = model("the dog?", "and the cat on a mat, far", top_k=1)
    assert only == model("the dog?", "and the cat on a mat, far")
    found = model("the dog?", "and the cat on a mat, far", top_k=4)
    assert found[0] == only
    assert len(found) == 4
    assert [answer["score"] for answer in found] == sorted((answer["score"] for answer in found), reverse=True)


def test_there_are_no_more_answers_than_spans(model):
    found = model("a", "cat dog", top_k=50)
    assert sorted(answer["answer"] for answer in found) == ["cat", "cat dog", "dog"]
    (only,) = model("a", "cat", top_k=50)
    assert only["answer"] == "cat"


def test_words_are_given_whole_unless_asked_otherwise(model):
    context = "a cats sat"
    assert model("a", context)["answer"] == "cats"
    assert model("a", context, align_to_words=False, max_answer_len=1)["answer"] == "cat"
    assert model("a", "the dogs", align_to_words=False, max_answer_len=1)["answer"] in ("dog", "s")


def test_an_answer_is_no_longer_than_asked_for(model):
    context = "cat sat on the mat"
    assert model("a", context)["answer"] == "cat sat on the mat"
    assert model("a", context, max_answer_len=5)["answer"] == "cat sat on the mat"
    assert model("a", context, max_answer_len=4)["answer"] != "cat sat on the mat"


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(
    "options",
    [
        {"top_k": 1},
        {"top_k": 6},
        {"top_k": 3, "handle_impossible_answer": True},
        {"top_k": 4, "align_to_words": False, "max_answer_len": 3},
        {"top_k": 3, "max_seq_len": 18, "doc_stride": 3},
        {"top_k": 2, "max_seq_len": 19, "doc_stride": 0, "max_answer_len": 100, "handle_impossible_answer": True},
    ],
    ids=range(6),
)
def test_answers_are_those_of_the_pipeline(random_model, seed, options):
    random = np.random.default_rng(seed)
    question = " ".join(random.choice(WORDS, 4))
    spelled = [*WORDS, "Cats", "DOGS", "matsed", "[CLS]", "\U0001f600", "e\u0301", "\u6211\u6211"]
    context = "  ".join(random.choice(spelled, int(random.integers(9, 90))))
    found = random_model(question, context, **options)
    assert same(found, reference(random_model, question, context, **options))
    assert all(context[answer["start"] : answer["end"]] == answer["answer"] for answer in found)


@pytest.mark.parametrize("place", [0, 13, 17, 18, 19, 20, 37, 55])
def test_an_answer_is_found_wherever_a_window_begins_or_ends(model, place):
    words = ["the"] * 56
    words[place] = "cats"
    found = model("a", " ".join(words))
    assert (found["answer"], found["start"]) == ("cats", 4 * place)


def test_windows_that_see_the_same_span_say_it_together(model):
    context = " ".join(["the"] * 12 + ["cats"] + ["the"] * 12)
    one = model("a", context, max_seq_len=24, doc_stride=0)
    both = model("a", context, max_seq_len=24, doc_stride=12)
    assert (one["answer"], one["start"]) == (both["answer"], both["start"]) == ("cats", 48)
    assert both["score"] > 1 > one["score"]


def test_several_questions_answer_as_each_alone(model):
    questions = ["the dog", "a", "far", "a dog"]
    contexts = ["cat sat, a mat", "the " * 50 + "cats", "\u6211 cats\u6211", "dog"]
    options = {"top_k": 2, "handle_impossible_answer": True}
    alone = [model(*pair, **options) for pair in zip(questions, contexts, strict=True)]
    assert model(questions, contexts, **options) == alone
    assert model(iter(questions), iter(contexts), batch_size=1, **options) == alone
    assert model([], []) == []


def test_several_questions_may_share_a_context(model):
    context = "the cat sat, a mat"
    assert model(["the dog", "a"], context) == [model("the dog", context), model("a", context)]


def test_no_answer_is_an_answer_only_where_asked_for(make_model):
    with make_model({"[CLS]": 8, "cat": 5}, {"[CLS]": 8, "cat": 5}) as model:
        assert model("a", "the cat")["answer"] == "cat"
        found = model("a", "the cat", handle_impossible_answer=True, top_k=3)
        assert [answer["answer"] for answer in found] == ["", "cat", "the cat"]
        assert (found[0]["start"], found[0]["end"]) == (0, 0)
        assert found[0]["score"] == pytest.approx((np.exp(8) / (np.exp(8) + np.exp(5) + 1)) ** 2, rel=1e-5)
        assert model("a", "the cat", handle_impossible_answer=True) == found[0]


def test_a_threshold_compares_logits_over_all_windows(make_model):
    with make_model({"[CLS]": 4, "cat": 5, "dog": 2}, {"[CLS]": 4, "cat": 2, "dog": 3}) as model:
        # No answer has 8; "cat" alone 7, and "cat dog" 8.
        for context, difference in (("the cat", 1), ("cat dog", 0), ("the " * 30 + "cat dog " + "the " * 30, 0)):
            best = model("a", context, top_k=2)
            assert model("a", context, no_answer_threshold=difference) == best[0]
            found = model("a", context, no_answer_threshold=difference - 0.001, top_k=2)
            assert found[0] == {"score": pytest.approx(found[0]["score"]), "start": 0, "end": 0, "answer": ""}
            assert 0 < found[0]["score"] < 1
            assert found[1:] == best[:1]
        assert model("a", "the cat", no_answer_threshold=float("inf"))["answer"] == "cat"


def test_a_threshold_takes_the_least_of_no_answer_and_the_best_of_the_spans():
    head = open_head("question-answering", {}, None)
    parts = [WindowSpans(((0, 3, 0.5),), 0.25, 9.0, 4.0), WindowSpans(((4, 7, 0.125),), 0.5, 6.0, 5.0)]
    for threshold, answer in ((0.9, ""), (1.0, "cat"), (3.0, "cat")):
        options = QuestionAnsweringOptions(no_answer_threshold=threshold)
        assert head.answer("a", "cat dog", parts, options)["answer"] == answer


NOTHING = {"score": 1.0, "start": 0, "end": 0, "answer": ""}


@pytest.mark.parametrize("context", ["", " \n\t ", "\u200b\ufeff"], ids=ascii)
@pytest.mark.parametrize(
    "options", [{"handle_impossible_answer": True}, {"no_answer_threshold": 3}, {"no_answer_threshold": float("inf")}]
)
def test_a_context_that_holds_nothing_has_no_answer_where_that_is_allowed(model, context, options):
    assert model("a", context, **options) == NOTHING
    assert model("a", context, top_k=3, **options) == [NOTHING]
    with pytest.raises(InputError, match="The context holds nothing that could be an answer"):
        model("a", context)


@pytest.mark.parametrize(
    ("inputs", "options", "says"),
    [
        (("", "cat"), {}, "The question is empty"),
        ((["a", ""], ["cat", "cat"]), {}, r"questions\[1\] is empty"),
        ((["a", "a"], ["cat", ""]), {}, r"contexts\[1\] holds nothing"),
        ((["a", "a"], ["cat", b"cat"]), {}, r"contexts\[1\] is bytes"),
        (("a", ["cat"]), {}, "questions is a single text"),
        ((["a", "a"], ["cat"]), {}, "There are 2 questions and 1 contexts"),
        ((3, "cat"), {}, "questions is int"),
        (("cat " * 21, "cat " * 30), {}, "Nothing of the context has room .* of which 24 are the question and special"),
        (("a", "cat " * 30), {"doc_stride": 20}, "20 cannot be the same in the next"),
        (("a", "cat"), {"top_k": 0}, "top_k is 0"),
        (("a", "cat"), {"top_k": None}, "top_k is None"),
        (("a", "cat"), {"max_answer_len": 0}, "max_answer_len is 0"),
        (("a", "cat"), {"max_answer_len": None}, "max_answer_len is None"),
        (("a", "cat"), {"max_seq_len": 0}, "max_seq_len is 0"),
        (("a", "cat"), {"doc_stride": -1}, "doc_stride is -1"),
        (("a", "cat"), {"max_question_len": 1.5}, "max_question_len is 1.5"),
        (("a", "cat"), {"no_answer_threshold": "0"}, "no_answer_threshold is '0'"),
        (("a", "cat"), {"no_answer_threshold": float("nan")}, "no_answer_threshold is nan"),
        (("a", "cat"), {"no_answer_threshold": 0, "handle_impossible_answer": True}, "one of the two"),
        (("a", "cat"), {"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_what_cannot_be_answered_is_refused(model, inputs, options, says):
    with pytest.raises(InputError, match=says):
        model(*inputs, **options)


def test_a_long_question_is_cut_where_asked_for(model):
    context = "the " * 30 + "cats"
    with pytest.raises(InputError, match="Nothing of the context has room"):
        model("dog " * 40, context)
    assert model("dog " * 40, context, max_question_len=3) == model("dog dog dog", context)
    assert model("dog", context, max_question_len=3) == model("dog", context)


def test_a_graph_without_a_logit_for_each_token_is_refused():
    head = open_head("question-answering", {}, None)
    head.check_output(TensorSpec("end_logits", "float32", ("batch", "sequence")))
    with pytest.raises(BundleError, match="end_logits"):
        head.check_output(TensorSpec("end_logits", "float32", ("batch", "sequence", 2)))


def test_what_is_kept_of_a_window_holds_none_of_its_batch(model):
    head = open_head("question-answering", {}, None)
    options = QuestionAnsweringOptions()
    (windows,) = head.encode(model._read_texts().tokenizer, ["a"], ["the cat sat"], False, options)
    outputs = {name: np.zeros((1, len(windows[0])), np.float32) for name in head.outputs}
    gone = [weakref.ref(array) for array in outputs.values()]
    part = head.decode(outputs, bvx.runtime.feeds.Batch((0,), tuple(windows), {}), options)
    del outputs
    gc.collect()
    assert part and [one() for one in gone] == [None, None]


# Exported checkpoints: the reference reads the same graph, so that only the way from logits to answers is compared.

QUESTION = "What is Machine Learning?"
PARAGRAPH = (
    "Machine Learning is the study of programs that learn from data. A model is trained on examples, and tested on "
    "others that it has not seen: Arthur Samuel named it in 1959, na\u00efve or not \u2014 \u6771\u4eac \U0001f600. "
)
LONG = (PARAGRAPH * 100)[:20_000]


@pytest.fixture(scope="module")
def exported(tiny_checkpoint, tmp_path_factory):
    """Loads the bundle of a family's tiny model with large weights, made once: exported(family)."""
    pytest.importorskip("torch")
    from bvx.exporter.pipeline import export
    from bvx.exporter.plan import ExportPlan

    models = []

    @cache
    def make(family):
        home = tmp_path_factory.mktemp(family)
        folder = tiny_checkpoint(family, "question-answering", home / "checkpoint", initializer_range=0.2)
        export(ExportPlan(str(folder), home / "bundle", task="question-answering", family=family))
        models.append(bvx.load(home / "bundle", threads=1))
        return models[-1]

    yield make
    for model in models:
        model.close()


@pytest.mark.parametrize("family", ["albert", "roberta", "spanbert"])
@pytest.mark.parametrize("options", [{"top_k": 1}, {"top_k": 3, "handle_impossible_answer": True, "doc_stride": 9}])
def test_every_kind_of_vocabulary_answers_as_the_pipeline_does(exported, family, options):
    model = exported(family)
    for question in (QUESTION, "\u00bfQui\u00e9n? \u6771\u4eac"):
        for context in (PARAGRAPH, "  Hi\n\n", "cat CAT Cat", PARAGRAPH * 4):
            # One at a time, as the reference reads them: rounding is not to decide between equally good spans.
            found = model(question, context, batch_size=1, **options)
            assert same(found, reference(model, question, context, **options))


def test_spanbert_answers_out_of_twenty_thousand_characters(exported):
    model = exported("spanbert")
    found = model(QUESTION, LONG, top_k=5, batch_size=1)
    assert len(found) == 5
    assert all(answer["answer"] and LONG[answer["start"] : answer["end"]] == answer["answer"] for answer in found)
    assert same(found, reference(model, QUESTION, LONG, top_k=5))


def test_spanbert_may_say_that_there_is_no_answer(exported):
    model = exported("spanbert")
    options = {"top_k": 60, "handle_impossible_answer": True}
    question, context = "Who wrote it?", "Rain fell all day."
    found = model(question, context, batch_size=1, **options)
    assert same(found, reference(model, question, context, **options))
    assert [answer for answer in found if not answer["answer"]] == [
        {"score": pytest.approx(0.5, abs=0.5), "start": 0, "end": 0, "answer": ""}
    ]
    assert model(question, context, no_answer_threshold=-1e9)["answer"] == ""
    assert model(question, context, no_answer_threshold=1e9)["answer"]
    assert model(question, "", handle_impossible_answer=True) == NOTHING
    with pytest.raises(InputError, match="The context holds nothing"):
        model(question, "")
