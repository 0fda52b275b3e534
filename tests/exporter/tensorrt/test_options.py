"""What a build may be asked for, and which shapes it is for."""

from __future__ import annotations

import re

import pytest

from bvx.exporter.tensorrt import BuildOptions, choose_profiles
from bvx.runtime.errors import PlanError
from bvx.runtime.manifest import Profile

GOOD = Profile((1, 16), (8, 128), (32, 512))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (BuildOptions("triton", (GOOD,)), "no builder called 'triton'"),
        (BuildOptions("tensorrt-rtx", ()), "No profile"),
        (BuildOptions("tensorrt", (Profile((4, 16), (1, 128), (32, 512)),)), "batch goes 4, 1, 32"),
        (BuildOptions("tensorrt", (Profile((0, 16), (1, 128), (32, 512)),)), "batch goes 0, 1, 32"),
        (BuildOptions("tensorrt", (Profile((1, 16), (1, 128), (32, 64)),)), "length goes 16, 128, 64"),
        (BuildOptions("tensorrt", (GOOD,), optimization_level=6), "level is 6"),
        (BuildOptions("tensorrt", (GOOD,), workspace=0), "workspace is 0"),
        (BuildOptions("tensorrt", (GOOD,), gpus=("sm_89",)), "builds for the GPU that is here"),
        (BuildOptions("tensorrt-rtx", (GOOD,), gpus=("sm_90",)), "does not build for sm_90"),
        (BuildOptions("tensorrt-rtx", (GOOD,), version_compatible=True), "no version- or hardware-compatible"),
        (BuildOptions("tensorrt-rtx", (GOOD,), strip_weights=True), "strips weights only where a GPU is"),
    ],
)
def test_a_contradiction_is_refused_before_anything_is_loaded(options, words):
    with pytest.raises(PlanError, match=re.escape(words)):
        options.check()


def test_all_faults_are_named_at_once():
    with pytest.raises(PlanError, match=r"No profile.*level is 9"):
        BuildOptions("tensorrt", (), optimization_level=9).check()


def test_without_a_word_rtx_builds_for_all_that_share_their_code():
    assert BuildOptions("tensorrt-rtx", (GOOD,)).architectures == ("sm_80", "sm_86", "sm_89", "sm_120")
    assert BuildOptions("tensorrt-rtx", (GOOD,), gpus=("sm_75",)).architectures == ("sm_75",)


def test_profiles_come_from_the_lengths_that_were_seen():
    short, long = choose_profiles({20: 90, 100: 9, 400: 1}, 512)
    assert (short.opt[1], short.max[1]) == (32, 112)
    assert (long.opt[1], long.max[1]) == (512, 512)


def test_texts_that_are_long_anyway_need_one_profile():
    (only,) = choose_profiles({500: 10}, 512)
    assert only.opt[1] == only.max[1] == 512


@pytest.mark.parametrize("most", [16, 130, 512])
def test_without_lengths_every_length_is_covered(most):
    (only,) = choose_profiles({}, most)
    assert only.covers(1, 1) and only.covers(32, most)
    BuildOptions("tensorrt-rtx", (only,)).check()
