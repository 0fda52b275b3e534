"""Golden values: they survive the file, stay small, and a runtime that computes something else fails them."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from bvx.runtime.errors import BundleError
from bvx.runtime.golden import check_golden, read_golden, sample_case, write_golden
from bvx.runtime.parity import Tolerance

FP32 = Tolerance(1e-4, 1e-5, 0.999999, 1.0)
VOCABULARY, HIDDEN = 50, 16
TABLES = {name: np.random.default_rng(i).normal(size=(VOCABULARY, HIDDEN)) for i, name in enumerate(["ids", "types"])}


def model(inputs):
    """A stand-in for an encoder: every output depends on ids, types and mask."""
    hidden = TABLES["ids"][inputs["input_ids"]] + TABLES["types"][inputs["token_type_ids"]]
    hidden = hidden * inputs["attention_mask"][..., None] + 0.1
    return {
        "last_hidden_state": hidden.astype(np.float32),
        "pooler_output": np.tanh(hidden.sum(axis=1)).astype(np.float32),
        "logits": (hidden @ TABLES["ids"].T).astype(np.float32),
    }


def inputs(batch=3, length=40, seed=0):
    random = np.random.default_rng(seed)
    return {
        "input_ids": random.integers(0, VOCABULARY, (batch, length)),
        "attention_mask": (np.arange(length) < random.integers(1, length + 1, (batch, 1))).astype(np.int64),
        "token_type_ids": (np.arange(length) >= length // 2).astype(np.int64) * np.ones((batch, 1), np.int64),
    }


def cases(count=2, **sizes):
    made = []
    for seed in range(count):
        asked = inputs(seed=seed)
        case = sample_case(f"case-{seed}", asked, model(asked), seed=seed, **sizes)
        made.append(case.with_found("fp32/cpu", model(asked)))
    return tuple(made)


def check(run, golden=None, variant="fp32/cpu"):
    return check_golden(run, golden or cases(), FP32, variant, "numpy", {"cpu": "here"})


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / "golden.safetensors"
    write_golden(path, cases())
    return path


def test_golden_values_are_read_back_as_they_were_written(stored):
    for before, after in zip(cases(), read_golden(stored), strict=True):
        assert before.name == after.name
        for name, array in before.inputs.items():
            assert after.inputs[name].dtype == np.int64
            np.testing.assert_array_equal(array, after.inputs[name])
        for name, output in before.outputs.items():
            again = after.outputs[name]
            assert (output.shape, output.scale) == (again.shape, again.scale)
            for part in ("at", "reference", "rows", "argmax"):
                np.testing.assert_array_equal(getattr(output, part), getattr(again, part))
            np.testing.assert_array_equal(before.found["fp32/cpu"][name], after.found["fp32/cpu"][name])


def test_the_model_that_gave_them_passes(stored):
    report = check(model, read_golden(stored))
    assert report
    assert {row.against for row in report.rows} == {"pytorch", "export"}
    assert len(report.rows) == 2 * 3 * 2
    assert {(row.batch, row.length) for row in report.rows} == {(3, 40)}


def test_a_variant_without_own_values_is_compared_with_pytorch_alone():
    assert {row.against for row in check(model, variant="int8/cpu").rows} == {"pytorch"}


def test_values_off_by_a_hundredth_of_the_scale_fail():
    def drifted(asked):
        return {name: value + np.float32(0.01 * np.sqrt(np.mean(value**2))) for name, value in model(asked).items()}

    assert not any(row.passed for row in check(drifted).rows)


def swap_types(asked):
    return {**asked, "token_type_ids": 1 - asked["token_type_ids"]}


def drop_mask(asked):
    return {**asked, "attention_mask": np.ones_like(asked["attention_mask"])}


def shift_ids(asked):
    return {**asked, "input_ids": np.roll(asked["input_ids"], 1, axis=1)}


@pytest.mark.parametrize("mutation", [swap_types, drop_mask, shift_ids])
def test_inputs_that_are_read_wrongly_fail(mutation, stored):
    assert not check(lambda asked: model(mutation(asked)), read_golden(stored))


def test_one_wrong_token_in_one_row_is_seen():
    def wrong(asked):
        found = model(asked)
        found["last_hidden_state"][1, 7] += 0.5
        return found

    failed = [row for row in check(wrong).rows if not row.passed]
    assert {row.output for row in failed} == {"last_hidden_state"}


def test_a_decision_that_changed_fails_even_where_the_samples_do_not_show_it():
    asked = inputs()
    case = sample_case("few", asked, model(asked), values=1, rows=120)

    def flipped(given):
        found = model(given)
        flat = found["logits"].reshape(-1)
        keep = flat[case.outputs["logits"].at].copy()
        found["logits"][..., 0] += 1000
        flat[case.outputs["logits"].at] = keep
        return found

    row = next(row for row in check(flipped, (case,)).rows if row.output == "logits")
    assert row.max_abs == 0.0
    assert row.argmax < 1.0
    assert not row.passed


def test_nan_a_missing_output_and_another_shape_fail():
    nan = {name: np.full_like(value, np.nan) for name, value in model(inputs()).items()}
    assert not any(row.passed for row in check(lambda asked: nan).rows)
    missing = check(lambda asked: {}).worst()
    assert missing.note == "the graph did not give it"
    short = check(lambda asked: {name: value[:2] for name, value in model(asked).items()}).worst()
    assert "shape" in short.note


def test_samples_shrink_evenly_until_the_file_fits(tmp_path):
    path = tmp_path / "golden.safetensors"
    write_golden(path, cases(4), limit_bytes=60_000)
    assert path.stat().st_size <= 60_000
    thinned = read_golden(path)
    counts = {len(case.outputs[name].at) for case in thinned for name in ("last_hidden_state", "logits")}
    assert len(counts) <= 2
    assert max(counts) >= 200
    logits = thinned[0].outputs["logits"]
    assert logits.at[-1] > 0.9 * np.prod(logits.shape)
    assert check(model, thinned)
    assert not check(lambda asked: model(swap_types(asked)), thinned)


def test_inputs_that_alone_are_too_large_are_refused(tmp_path):
    with pytest.raises(BundleError, match="smallest sample"):
        write_golden(tmp_path / "golden.safetensors", cases(), limit_bytes=1000)


def test_every_row_is_sampled_while_there_are_fewer_rows_than_values():
    golden = cases(1)[0].outputs["logits"]
    assert set(golden.at // VOCABULARY) == set(range(3 * 40))


def test_the_same_seed_gives_the_same_sample():
    np.testing.assert_array_equal(cases()[0].outputs["logits"].at, cases()[0].outputs["logits"].at)


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_a_truncated_file_is_refused(stored, keep):
    stored.write_bytes(stored.read_bytes()[:keep])
    with pytest.raises(BundleError, match="no readable golden values"):
        read_golden(stored)


def rewrite(path, tensors=None, **metadata):
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        document = json.loads(file.metadata()["bvx.golden"])
    document["cases"][0].update(metadata)
    save_file({**load_file(path), **(tensors or {})}, path, {"bvx.golden": json.dumps(document)})


@pytest.mark.parametrize(
    "tensors",
    [
        {"0/at/logits": np.array([10**6])},
        {"0/at/logits": np.full(4096, -1)},
        {"0/rows/logits": np.full(120, 10**6)},
        {"0/argmax/logits": np.full(120, 50)},
        {"0/argmax/logits": np.zeros(119, np.int64)},
        {"0/reference/logits": np.zeros(3, np.float32)},
        {"0/input/input_ids": np.zeros((3, 40), np.float32)},
    ],
)
def test_positions_and_types_that_cannot_be_are_refused(stored, tensors):
    rewrite(stored, tensors)
    with pytest.raises(BundleError):
        read_golden(stored)


@pytest.mark.parametrize(
    "metadata",
    [
        {"outputs": {"logits": {"shape": [3, 40, 50], "scale": 0}}},
        {"outputs": {"logits": {"shape": [0, 0, 0], "scale": 1}}},
        {"outputs": {"logits": {"shape": "all", "scale": 1}}},
        {"outputs": {"other": {"shape": [1], "scale": 1}}},
        {"found": ["int4/cpu"]},
        {"inputs": ["position_ids"]},
        {"name": 3},
    ],
)
def test_a_description_that_does_not_fit_the_tensors_is_refused(stored, metadata):
    rewrite(stored, **metadata)
    with pytest.raises(BundleError):
        read_golden(stored)


def test_a_file_without_a_description_is_refused(tmp_path):
    save_file({"x": np.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(BundleError):
        read_golden(tmp_path / "other.safetensors")


def test_own_values_of_another_variant_are_not_compared():
    case = cases(1)[0]
    wrong = {name: values + 1 for name, values in case.found["fp32/cpu"].items()}
    assert check(model, (replace(case, found={"int8/cpu": wrong}),))
    assert not check(model, (replace(case, found={"fp32/cpu": wrong}),))
