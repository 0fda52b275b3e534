"""From words to a plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from bvx.exporter.request import Request, default_out, make_plan, read_profile, read_share
from bvx.runtime.errors import PlanError
from bvx.runtime.manifest import Profile


def test_a_profile_is_three_shapes_of_batch_and_length():
    assert read_profile("1x16:8x128:32x512") == Profile((1, 16), (8, 128), (32, 512))


@pytest.mark.parametrize("text", ["", "1x16", "1x16:8x128", "1x16:8x128:32x512:1x1", "1x16:8:32x512", "ax1:1x1:1x1"])
def test_anything_else_is_no_profile(text):
    with pytest.raises(PlanError, match="1x16:8x128:32x512"):
        read_profile(text)


def test_a_bundle_is_called_as_the_last_part_of_its_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert default_out("google/electra-small-discriminator") == Path("electra-small-discriminator.bvx")
    (tmp_path / "my model").mkdir()
    assert default_out("my model/") == Path("my model.bvx")
    assert default_out(".") == Path(f"{tmp_path.name}.bvx")


def test_words_become_a_plan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = make_plan(
        Request("roberta-base", random_weights=True, seed=3, precision=" fp32 ", profiles=("1x1:2x2:3x3",))
    )
    assert plan.precisions == ("fp32",)
    assert plan.profiles == (Profile((1, 1), (2, 2), (3, 3)),)
    assert (plan.out, plan.random_weights, plan.seed) == (Path("roberta-base.bvx"), True, 3)


def test_faults_in_words_and_in_the_plan_come_together(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PlanError) as caught:
        make_plan(Request("x", precision="int3", profiles=("many", "9x9:1x1:1x1")))
    for word in ("'many'", "9x9:1x1:1x1", "'int3'"):
        assert word in str(caught.value)


def test_a_seed_is_for_random_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert make_plan(Request("x")).seed == 0
    with pytest.raises(PlanError, match="--random-weights or --allow-new-head"):
        make_plan(Request("x", seed=0))
    plan = make_plan(Request("x", seed=3, allow_new_head=True))
    assert (plan.seed, plan.allow_new_head) == (3, True)


@pytest.mark.parametrize(("text", "share"), [("0.5%", 0.005), ("2 %", 0.02), (" 0% ", 0.0), ("100%", 1.0)])
def test_a_share_is_a_percentage(text, share):
    assert read_share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "0.5", "%", "half%", "-1%", "0,5%", "1e-3%", "\N{ARABIC-INDIC DIGIT ONE}%"])
def test_a_share_without_its_sign_is_refused(text):
    with pytest.raises(PlanError, match=r"0\.5%"):
        read_share(text)


def test_a_wrong_share_is_reported_with_the_other_faults(tmp_path):
    with pytest.raises(PlanError, match=r"'a bit'.*'fp3'"):
        make_plan(Request("roberta-base", precision="fp3", max_drop="a bit", out=tmp_path))


def test_auto_stands_alone(tmp_path):
    with pytest.raises(PlanError, match="beside other precisions"):
        make_plan(Request("roberta-base", precision="auto,fp32", out=tmp_path))
