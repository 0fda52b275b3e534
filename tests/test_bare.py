"""What a production machine gets: the wheel with one engine in an environment of its own, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.package

INSTALLED = {
    "bvx",
    # what bvx asks for
    *("numpy", "onnxruntime", "safetensors", "tokenizers"),
    # what onnxruntime asks for
    *("flatbuffers", "packaging", "protobuf"),
    # what tokenizers asks for: huggingface_hub, and what that asks for
    *("huggingface_hub", "click", "filelock", "fsspec", "hf-xet", "PyYAML", "tqdm", "typing_extensions"),
    *("httpx2", "httpcore2", "anyio", "h11", "idna", "truststore"),
}

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


@pytest.fixture(scope="module")
def bare(wheel: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds `bvx[cpu]`, at the versions of constraints.txt."""
    constraints = root / "constraints.txt"
    probe = [
        *PIP,
        "install",
        "-q",
        "--dry-run",
        "--ignore-installed",
        "--no-deps",
        "-c",
        str(constraints),
        "flatbuffers",
    ]
    if not os.environ.get("CI") and subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("pip reaches no package index, so nothing can be installed into a bare environment")
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    install = [*PIP, "--python", str(python), "install", "-q", "-c", str(constraints), f"{wheel}[cpu]"]
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return python


def run(python: Path, code: str) -> str:
    """What `code` prints in that environment, away from the checkout."""
    done = subprocess.run([python, "-I", "-c", code], cwd=python.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_cpu_installs_this_short_list_and_nothing_else(bare: Path) -> None:
    listing = [*PIP, "--python", str(bare), "list", "--format", "json"]
    found = json.loads(subprocess.run(listing, capture_output=True, text=True, check=True).stdout)
    assert {entry["name"] for entry in found} == INSTALLED


@pytest.mark.parametrize("package", ["bvx", "bvx.runtime"])
def test_importing_loads_a_few_modules_of_the_standard_library_and_none_of_others(bare: Path, package: str) -> None:
    code = f"import sys; before = set(sys.modules); import {package}; print(*(set(sys.modules) - before))"
    loaded = set(run(bare, code).split())
    assert package in loaded
    assert {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names == {"bvx"}
    assert len(loaded) < 60


def test_every_module_of_the_runtime_imports(bare: Path) -> None:
    code = """
import importlib, pkgutil, sys, bvx.runtime
for module in pkgutil.walk_packages(bvx.runtime.__path__, "bvx.runtime."):
    importlib.import_module(module.name)
print(*(name for name in sys.modules if name.startswith("bvx.")))
"""
    assert {"bvx.runtime.errors", "bvx.runtime.engines.ort", "bvx.runtime.manifest"} <= set(run(bare, code).split())


def test_every_public_name_can_be_had(bare: Path) -> None:
    assert run(bare, "import bvx; print(all(getattr(bvx, name) for name in bvx.__all__))") == "True\n"


def test_the_command_without_its_libraries_says_what_to_install(bare: Path) -> None:
    done = subprocess.run([bare.with_name("bvx"), "--help"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "pip install" in done.stderr
    assert "bvx[cli]" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
