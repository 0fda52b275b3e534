"""A tiny bundle of large weights, whose canonical graph is calibrated."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from bvx.exporter.pipeline import export
from bvx.exporter.plan import ExportPlan


@pytest.fixture(scope="session")
def tiny_bundle(
    tiny_checkpoint: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], Path]:
    """Exports a tiny checkpoint, once for each family and task: tiny_bundle(family, task)."""

    @cache
    def make(family: str, task: str) -> Path:
        home = tmp_path_factory.mktemp(f"{family}-{task}")
        folder = tiny_checkpoint(family, task, home / "checkpoint", initializer_range=0.4)
        return export(ExportPlan(str(folder), home / "bundle", task=task, family=family)).path

    return make
