"""`load`: the variant and engine that were asked for, or a sentence that says why not."""

import subprocess
import sys

import pytest

import bvx
import bvx.runtime.loading
from bvx.runtime.errors import BundleError, EngineMismatch, ParityFailed, PlanError
from bvx.runtime.loading import load
from bvx.runtime.machine import allowed_cores
from bvx.runtime.manifest import TensorSpec, Variant
from bvx.runtime.parity import Tolerance

CLASSES = {
    "feature-extraction": bvx.FeatureExtractor,
    "sentence-similarity": bvx.SentenceEmbedder,
    "text-classification": bvx.TextClassifier,
    "token-classification": bvx.TokenClassifier,
    "question-answering": bvx.QuestionAnswerer,
    "multiple-choice": bvx.MultipleChoice,
    "fill-mask": bvx.MaskFiller,
    "text-ranking": bvx.Reranker,
    "replaced-token-detection": bvx.ReplacedTokenDetector,
    "sentence-order-prediction": bvx.SentencePairClassifier,
    "next-sentence-prediction": bvx.SentencePairClassifier,
    "pretraining-heads": bvx.PretrainingModel,
}


def variant(precision="fp32", target="cpu", state="verified", **options):
    return Variant(precision, target, "onnx/cpu/fp32.onnx", state, engine_options=options)


def test_threads_are_what_the_container_may_use_unless_said(make_bundle):
    path = make_bundle().path
    with load(path) as model:
        assert model.engine.threads == allowed_cores()
    with load(path, threads=3, spin=True) as model:
        assert model.engine.threads == 3 and len(model("cat")) == 3


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", True, 1025, 10**9])
def test_a_number_of_threads_that_cannot_be_is_refused(make_bundle, threads):
    with pytest.raises(PlanError, match="threads is"):
        load(make_bundle().path, threads=threads)


def test_threads_reach_the_tokenizer(make_bundle, monkeypatch):
    seen = []
    real = bvx.runtime.loading.Tokenizer
    monkeypatch.setattr(bvx.runtime.loading, "Tokenizer", lambda *given: seen.append(given[2]) or real(*given))
    path = make_bundle().path
    for threads in (1, 3, None):
        load(path, threads=threads).close()
    assert seen == [1, 3, allowed_cores()]


@pytest.mark.parametrize("engine", ["auto", "onnxruntime", "ort"])
def test_engines_go_by_their_names(make_bundle, engine):
    with load(str(make_bundle().path), engine=engine, threads=1) as model:
        assert model.engine.name == "onnxruntime"


@pytest.mark.parametrize(("task", "kind"), CLASSES.items())
def test_what_is_loaded_is_of_the_tasks_own_class(make_bundle, task, kind):
    with load(make_bundle(task).path, threads=1) as model:
        assert type(model) is kind and model.task == task
    with kind.load(make_bundle(task).path, threads=1) as model:
        assert type(model) is kind
    with bvx.Encoder.load(make_bundle(task).path, threads=1) as model:
        assert type(model) is kind


def test_a_class_refuses_a_bundle_of_another_task(make_bundle, monkeypatch):
    closed, close = [], bvx.Encoder.close
    monkeypatch.setattr(bvx.Encoder, "close", lambda model: closed.append(model) or close(model))
    says = r"made for fill-mask, which is MaskFiller's task, not TextClassifier's\. Load it with MaskFiller\.load"
    with pytest.raises(BundleError, match=says):
        bvx.TextClassifier.load(make_bundle("fill-mask").path, threads=1)
    assert [type(model) for model in closed] == [bvx.MaskFiller], "the engine's memory is given back"


def test_options_of_a_class_are_those_of_load(make_bundle):
    path = make_bundle("fill-mask", variants=(variant(), variant("int8"))).path
    with bvx.MaskFiller.load(path, threads=2, precision="int8", engine="onnxruntime") as model:
        assert (model.precision, model.engine.threads) == ("int8", 2)


def test_an_unknown_engine_is_refused_with_the_known_ones(make_bundle):
    with pytest.raises(EngineMismatch, match=r"no engine 'tvm'\. Choose one of: auto, onnxruntime"):
        load(make_bundle().path, engine="tvm")


def test_the_first_precision_is_the_default_and_others_are_asked_for(make_bundle):
    path = make_bundle(variants=(variant(), variant("int8"))).path
    with load(path, threads=1) as model:
        assert model.precision == "fp32"
    with load(path, threads=1, precision="int8") as model:
        assert model.precision == "int8"
    with pytest.raises(BundleError, match="no fp16 variant"):
        load(path, precision="fp16")


def test_the_weights_are_hashed_before_they_are_loaded_unless_that_is_left_out(make_bundle, monkeypatch):
    monkeypatch.setattr("bvx.runtime.bundle._ALWAYS_HASHED", 100)
    made = make_bundle()
    path = made.path / "onnx" / "cpu" / "fp32.onnx"
    content = bytearray(path.read_bytes())
    content[content.index(b"last_hidden_state")] = ord("b")
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"fp32\.onnx was changed: its SHA-256"):
        load(made.path)
    with pytest.raises((BundleError, EngineMismatch), match=r"^onnxruntime .*fp32\.onnx"):
        load(made.path, check_hashes=False)


def test_loading_and_answering_imports_nothing_that_only_other_work_needs(make_bundle):
    code = (
        "import sys, numpy, onnxruntime, tokenizers; before = set(sys.modules); import bvx;"
        "bvx.load(sys.argv[1], threads=1)('cat'); print(*sorted(set(sys.modules) - before))"
    )
    command = [sys.executable, "-c", code, make_bundle().path]
    loaded = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert "bvx.runtime.loading" in loaded
    assert not {"subprocess", "tempfile", "importlib.metadata", "bvx.runtime.golden"} & set(loaded)


def test_variants_for_other_targets_are_passed_over(make_bundle):
    path = make_bundle(variants=(variant("fp16", "abacus"), variant())).path
    with load(path, threads=1) as model:
        assert model.variant.key == "fp32/cpu"
    with pytest.raises(EngineMismatch, match="made for abacus, and onnxruntime serves cpu"):
        load(path, precision="fp16")


def test_a_variant_that_failed_is_not_served(make_bundle):
    with pytest.raises(BundleError, match=r"fp32/cpu \(failed\)"):
        load(make_bundle(variants=(variant(state="failed"),)).path)


def test_a_variant_that_was_never_verified_is_verified_by_the_first_load(make_bundle):
    bundle = make_bundle(variants=(variant(state="not-runnable-here"),))
    with load(bundle.path, threads=1) as model:
        assert len(model("cat")) == 3
    bundle.replace_model(type(bundle.weights)(types=bundle.weights.types * 2))
    with pytest.raises(ParityFailed, match=r"never verified, and on this machine [12] of [12] comparisons"):
        load(bundle.path, threads=1)


@pytest.mark.parametrize(
    ("here", "system", "verified_on", "reduced", "is_verified_again"),
    [
        ("avx2", "Linux x86_64", "avx2 avx512f vnni", False, True),
        ("avx2", "Linux x86_64", "avx2 avx512f vnni", True, False),
        ("avx2", "Linux x86_64", "avx2", False, False),
        ("avx2 avx512f vnni", "Linux x86_64", "avx2 avx512f vnni", False, False),
        ("neon dotprod", "Linux aarch64", "avx2 avx512f vnni", False, False),
    ],
)
def test_int8_of_a_newer_processor_is_verified_again_where_its_products_may_overflow(
    make_bundle, monkeypatch, here, system, verified_on, reduced, is_verified_again
):
    machine = {"cpu": "x", "features": here, "cores": "1", "system": system}
    monkeypatch.setattr(bvx.runtime.loading, "describe", lambda: machine)
    int8 = Variant(
        "int8", "cpu", "onnx/cpu/fp32.onnx", "verified", verified_on={"features": verified_on}, reduced=reduced
    )
    bundle = make_bundle(variants=(int8,), tolerances={"int8": Tolerance(1e-4, 1e-5, 0.999999, 1.0)})
    load(bundle.path, threads=1).close()
    bundle.replace_model(type(bundle.weights)(types=bundle.weights.types * 2))
    if is_verified_again:
        with pytest.raises(ParityFailed, match=r"int8/cpu was verified on a processor with VNNI.*--reduce-range"):
            load(bundle.path, threads=1)
    else:
        load(bundle.path, threads=1).close()


def test_a_graph_with_other_inputs_than_the_manifest_says_is_refused(make_bundle):
    bundle = make_bundle(inputs=(TensorSpec("input_ids", "int64", ("batch", "sequence")),))
    with pytest.raises(BundleError, match=r"has the inputs input_ids, attention_mask.*bvx.json says input_ids"):
        load(bundle.path, threads=1)


def test_a_task_of_a_newer_bvx_is_refused_with_those_that_are_known(make_bundle):
    bundle = make_bundle()
    bundle.change(task="depth-estimation")
    with pytest.raises(BundleError, match="task is 'depth-estimation'; this bvx answers feature-extraction"):
        load(bundle.path)
