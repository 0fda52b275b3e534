"""The cases that parity is checked on, the reference they are compared with, and the report that comes of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bvx.exporter import parity
from bvx.exporter.cases import Case, make_cases
from bvx.exporter.families import FP32, known_families
from bvx.exporter.progress import Silent
from bvx.runtime.golden import check_golden
from bvx.runtime.loading import load
from bvx.runtime.parity import Tolerance
from bvx.runtime.tasks import TASKS

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def random_cases(max_length: int = 512, pad_id: int = 1) -> dict[str, Case]:
    limits = {"input_ids": 50, "token_type_ids": 2}
    return {case.name: case for case in make_cases(None, (), INPUTS, limits, pad_id, max_length)}


@pytest.fixture(params=["without a tokenizer", "with a tokenizer"])
def cases(request: pytest.FixtureRequest, exported: Callable) -> dict[str, Case]:
    if request.param == "without a tokenizer":
        return random_cases()
    return {case.name: case for case in parity.cases_for(exported("bert", "feature-extraction").checkpoint)}


def test_cases_cover_the_shapes_that_go_wrong(cases: dict[str, Case]) -> None:
    shapes = [case.feeds["input_ids"].shape for case in cases.values()]
    assert {1, 3, 7, 8} <= {batch for batch, _ in shapes}
    lengths = {length for _, length in shapes}
    assert {1, 2, cases["longest"].feeds["input_ids"].shape[1]} <= lengths
    assert any(length % 2 for length in lengths - {1})
    masks = [case.feeds["attention_mask"] for case in cases.values()]
    assert any((mask == 0).all(axis=1).any() for mask in masks)
    padded_left = [mask[:, 0].min() == 0 and mask[:, 0].max() == 1 for mask in masks]
    padded_right = [mask[:, -1].min() == 0 and mask[:, -1].max() == 1 for mask in masks]
    assert any(left and right for left, right in zip(padded_left, padded_right, strict=True))
    types = [case.feeds["token_type_ids"] for case in cases.values()]
    assert sum(set(np.unique(each)) == {0, 1} for each in types) >= 3


def test_cases_stay_few_tokens_so_that_a_large_model_is_checked_in_seconds(cases: dict[str, Case]) -> None:
    tokens = sum(case.feeds["input_ids"].size for case in cases.values())
    assert tokens <= 512 + 1024


def test_real_text_and_pairs_are_read_with_the_models_own_tokenizer(exported: Callable) -> None:
    checkpoint = exported("bert", "feature-extraction").checkpoint
    pairs = {case.name: case for case in parity.cases_for(checkpoint)}["pairs of texts, padded left and right"]
    own = pairs.feeds["attention_mask"] == 1
    assert {0, 1} == set(pairs.feeds["token_type_ids"][own])
    assert not pairs.feeds["token_type_ids"][~own].any()


@pytest.mark.parametrize("pad_id", [0, 1, 49])
def test_padding_ids_stand_only_where_they_are_meant_to(pad_id: int) -> None:
    for case in random_cases(pad_id=pad_id).values():
        ids, own = case.feeds["input_ids"], case.feeds["attention_mask"] == 1
        assert ids.min() >= 0 and ids.max() < 50
        if case.name == "padding ids amid the text":
            assert (ids[own] == pad_id).any()
        else:
            assert not (ids[own] == pad_id).any()


@pytest.mark.parametrize("max_length", [1, 2, 3, 8, 64])
def test_no_case_is_longer_than_the_model_allows(max_length: int) -> None:
    lengths = [case.feeds["input_ids"].shape[1] for case in random_cases(max_length).values()]
    assert max(lengths) == max_length


def test_the_text_in_the_batch_is_the_one_that_runs_alone(cases: dict[str, Case]) -> None:
    together = cases["text in a batch of eight"]
    inside = together.inside
    assert inside is not None and list(cases).index(inside.alone) < list(cases).index(together.name)
    alone = cases[inside.alone].feeds
    batch, length = together.feeds["input_ids"].shape
    assert batch == 8 and length > inside.length
    for name, array in alone.items():
        assert np.array_equal(together.feeds[name][inside.row, : inside.length], array[0])
    assert not together.feeds["attention_mask"][inside.row, inside.length :].any()


def test_the_reference_is_the_model_with_its_own_two_dimensional_mask(exported: Callable) -> None:
    checkpoint = exported("bert", "feature-extraction").checkpoint
    feeds = {case.name: case for case in parity.cases_for(checkpoint)}["fully masked rows"].feeds
    with torch.no_grad():
        expected = checkpoint.model(**{name: torch.tensor(array) for name, array in feeds.items()})
    found = parity.reference(checkpoint.model, feeds, ("pooler_output", "hidden_states.3", "last_hidden_state"))
    assert list(found) == ["pooler_output", "hidden_states.3", "last_hidden_state"]
    assert np.array_equal(found["last_hidden_state"], expected.last_hidden_state.numpy())
    assert np.array_equal(found["hidden_states.3"], found["last_hidden_state"])
    assert np.isfinite(found["last_hidden_state"]).all()


# Every family with every task goes the whole road in tests/test_road.py, parity included; this is the report itself,
# once for each task, in turns through the families that have it.
@pytest.mark.parametrize(
    ("family", "task"),
    [
        *zip(itertools.cycle(known_families()), (task.name for task in TASKS if not task.objective), strict=False),
        ("electra", "replaced-token-detection"),
        ("albert", "sentence-order-prediction"),
        ("bert", "next-sentence-prediction"),
        ("albert", "pretraining-heads"),
        ("bert", "pretraining-heads"),
    ],
)
def test_a_familys_bundle_agrees_with_pytorch_through_the_runtime(exported: Callable, family: str, task: str) -> None:
    original = exported(family, task)
    with load(original.bundle) as encoder:
        report = parity.check(original.checkpoint, encoder, original.checkpoint.family.tolerances["fp32"])
    assert report, report.summary()
    assert {row.output for row in report.rows} == set(original.checkpoint.outputs)
    assert report.diverged_at is None
    assert len({row.case for row in report.rows}) == len(parity.cases_for(original.checkpoint)) + 2


def test_progress_names_every_case(exported: Callable) -> None:
    class Watching(Silent):
        def __init__(self) -> None:
            super().__init__()
            self.total, self.seen = 0, []

        def stage(self, name: str, total: int | None = None) -> None:
            self.total = total

        def advance(self, units: int = 1, detail: str = "") -> None:
            self.seen += [detail] * units

    original, watching = exported("bert", "feature-extraction"), Watching()
    with load(original.bundle) as encoder:
        parity.check(original.checkpoint, encoder, FP32, watching)
    assert watching.seen == [case.name for case in parity.cases_for(original.checkpoint)]
    assert watching.total == len(watching.seen)


class Meddling:
    """An Encoder whose answers are changed before anybody sees them."""

    def __init__(self, encoder: object, change: Callable[[NDArray], NDArray]) -> None:
        self.encoder, self.change = encoder, change

    def __getattr__(self, name: str) -> object:
        return getattr(self.encoder, name)

    def run(self, **arrays: NDArray) -> dict[str, NDArray]:
        return {name: self.change(output) for name, output in self.encoder.run(**arrays).items()}


@pytest.mark.parametrize("task", ["feature-extraction", "text-classification"])
def test_an_answer_that_depends_on_the_rest_of_the_batch_fails(exported: Callable, task: str) -> None:
    original = exported("bert", task)
    # Quantising with a scale of the whole batch does this.
    with load(original.bundle) as encoder:
        meddling = Meddling(encoder, lambda output: output + 0.01 * (len(output) - 1))
        report = parity.check(original.checkpoint, meddling, FP32)
    failed = {row.case for row in report.rows if not row.passed}
    assert "text in a batch of eight, with its own answer to it alone" in failed
    assert "text alone" not in failed
    # No operator of the graph is to blame.
    assert report.diverged_at is None


def test_golden_cases_hold_what_pytorch_said_and_find_a_change(exported: Callable) -> None:
    original = exported("roberta", "feature-extraction")
    golden = parity.golden_cases(original.checkpoint)
    assert {"fully masked rows", "longest"} <= {case.name for case in golden}
    with load(original.bundle) as encoder:
        assert check_golden(lambda feeds: encoder.run(**feeds), golden, FP32, "fp32/cpu", "ort", {})
        changed = Meddling(encoder, lambda output: output + 0.01)
        assert not check_golden(lambda feeds: changed.run(**feeds), golden, FP32, "fp32/cpu", "ort", {})


def test_pytorchs_own_rounding_is_allowed_twice_within_limits(exported: Callable) -> None:
    checkpoint = exported("bert", "feature-extraction").checkpoint
    case = next(case for case in parity.cases_for(checkpoint) if case.name == "text alone")
    expected = parity.reference(checkpoint.model, case.feeds, checkpoint.outputs)
    before = {name: value.clone() for name, value in checkpoint.model.state_dict().items()}

    def allowed(limit: float) -> float:
        base = Tolerance(max_abs=limit, mean_abs=limit, cosine=0.99, argmax=1.0)
        scales = dict.fromkeys(expected, 0.0)
        return parity._with_rounding(checkpoint.model, case, expected, base, scales)["last_hidden_state"].max_abs

    assert allowed(1.0) == 1.0, "a limit far above the rounding stays"
    assert allowed(1e-12) == pytest.approx(1e-11), "no more than ten times the limit"
    own = parity.measure(
        parity.reference(checkpoint.model.double(), case.feeds, checkpoint.outputs)["last_hidden_state"],
        expected["last_hidden_state"],
        parity.scale_of(expected["last_hidden_state"]),
    ).max_abs
    checkpoint.model.float()
    assert allowed(own) == pytest.approx(2 * own, rel=1e-3)
    after = checkpoint.model.state_dict()
    assert all(bool((before[name] == after[name]).all()) and before[name].dtype == after[name].dtype for name in before)


def test_a_few_logits_that_are_near_zero_by_chance_are_held_to_the_scale_of_others(exported: Callable) -> None:
    checkpoint = exported("bert", "text-classification").checkpoint
    (case,) = (case for case in parity.cases_for(checkpoint) if case.name == "text alone")
    scales = parity._typical_scales(checkpoint.model, parity.cases_for(checkpoint), ["logits"])
    near_zero = np.array([[2e-3, -1e-3]], np.float32)
    found = near_zero + np.float32(2e-6)
    allowed = {"logits": FP32}
    (row,) = parity._compare_case(case, {"logits": near_zero}, {"logits": found}, None, allowed, scales)
    assert row.scale == scales["logits"] > 0.1 and row.passed
    (row,) = parity._compare_case(case, {"logits": near_zero}, {"logits": found}, None, allowed, {"logits": 0.0})
    assert not row.passed
    (row,) = parity._compare_case(case, {"logits": near_zero}, {"logits": near_zero + 1e-3}, None, allowed, scales)
    assert not row.passed
