"""The engine that was measured to be the fastest here: found again, and forgotten where anything has changed."""

from __future__ import annotations

import pytest

import bvx
import bvx.runtime.choices
from bvx.runtime.bundle import Bundle
from bvx.runtime.choices import (
    Choice,
    choose_measured,
    engines_here,
    find_choices,
    list_choices,
    name_processor,
    store_choices,
)
from bvx.runtime.engines import ENGINES


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("BVX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def bundle(make_bundle):
    return Bundle.open(make_bundle().path)


def choice(bundle, engine="openvino", threads=1, **fields):
    values = {"bundle": str(bundle.root), "variant": "fp32/cpu", "threads": threads, "engine": engine}
    values |= {"processor": name_processor(), "versions": engines_here(), "milliseconds": {engine: {"1x16": 2.5}}}
    return Choice(**(values | fields))


def test_a_choice_is_found_again_for_its_bundle_variant_and_threads_alone(bundle, make_bundle):
    store_choices(bundle, [choice(bundle)])
    (variant,) = bundle.manifest.variants
    assert choose_measured(bundle, variant, 1) == "openvino"
    assert find_choices(bundle) == list_choices() == (choice(bundle),)
    assert choose_measured(bundle, variant, 2) is None
    assert not find_choices(Bundle.open(make_bundle("fill-mask").path))


def test_measuring_again_replaces_what_is_measured_again(bundle):
    store_choices(bundle, [choice(bundle), choice(bundle, threads=2)])
    store_choices(bundle, [choice(bundle, "onnxruntime")])
    assert [(one.threads, one.engine) for one in find_choices(bundle)] == [(2, "openvino"), (1, "onnxruntime")]


@pytest.mark.parametrize("what", ["versions", "processor"])
def test_a_choice_counts_no_more_on_another_processor_or_with_other_engines(bundle, what):
    other = {"versions": dict.fromkeys(engines_here(), "0.0"), "processor": "Z80 ()"}
    store_choices(bundle, [choice(bundle, **{what: other[what]})])
    assert not find_choices(bundle)
    assert len(list_choices()) == 1
    store_choices(bundle, [choice(bundle, threads=2)])
    assert len(list_choices()) == 1, "what counts no more is not kept"


@pytest.mark.parametrize("content", ["", "[{}]", '[{"variant": 1}]', '{"a": 1}'])
def test_a_damaged_file_is_as_if_nothing_had_been_measured(bundle, content):
    path = store_choices(bundle, [choice(bundle)])
    path.write_text(content)
    assert not find_choices(bundle) and not list_choices()


def test_auto_goes_by_what_was_measured_else_by_the_rule(bundle):
    pytest.importorskip("openvino")
    store_choices(bundle, [choice(bundle)])

    def loaded(**options):
        with bvx.load(bundle.root, **options) as model:
            return model.engine.name

    assert loaded(threads=1) == "openvino"
    assert loaded(threads=2) == "onnxruntime"
    assert loaded(threads=1, engine="onnxruntime") == "onnxruntime"


def test_the_engines_that_are_here_have_versions_without_being_imported(monkeypatch):
    monkeypatch.setattr(bvx.runtime.choices, "ENGINES", {"onnxruntime": ENGINES["onnxruntime"]})
    assert engines_here().keys() == {"onnxruntime"}
    assert engines_here()["onnxruntime"].count(".") >= 2
    assert not engines_here("abacus")
