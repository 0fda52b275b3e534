"""What the wheel holds and says, and what an installation of it is pinned to."""

from __future__ import annotations

import email
import re
import zipfile
from collections.abc import Iterator
from email.message import Message
from importlib.metadata import entry_points, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import bvx

EXTRAS = {"cli", "cpu", "cuda", "dev", "docs", "export", "openvino", "report", "serve", "tensorrt", "tensorrt-rtx"}
RUNTIMES = {"onnxruntime", "onnxruntime-gpu"}


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def required(metadata: Message, extra: str = "") -> set[str]:
    """The names that bvx, or bvx[extra], requires, with those of the extras that this one refers to."""
    names: set[str] = set()
    for line in metadata.get_all("Requires-Dist") or []:
        requirement = Requirement(line)
        if (requirement.marker is None) != (extra == "") or (
            requirement.marker and not requirement.marker.evaluate({"extra": extra})
        ):
            continue
        if requirement.name == "bvx":
            names = names.union(*(required(metadata, other) for other in requirement.extras))
        else:
            names.add(canonicalize_name(requirement.name))
    return names


@pytest.mark.package
def test_the_wheel_holds_exactly_the_files_of_the_packages(wheel: Path, root: Path) -> None:
    folders = ("calibration", "exporter", "runtime")
    files = [path for folder in folders for path in (root / folder).rglob("*") if path.is_file()]
    wanted = {f"bvx/{path.relative_to(root).as_posix()}" for path in files if "__pycache__" not in path.parts}
    wanted |= {"bvx/__init__.py", "bvx/py.typed"}
    info = f"bvx-{bvx.__version__}.dist-info"
    wanted |= {f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "top_level.txt")}
    wanted |= {f"{info}/licenses/LICENSE"}
    with zipfile.ZipFile(wheel) as archive:
        assert set(archive.namelist()) == wanted


@pytest.mark.package
def test_the_wheel_is_pure_and_says_name_version_licence_and_pythons(wheel: Path, metadata: Message) -> None:
    assert wheel.name == f"bvx-{bvx.__version__}-py3-none-any.whl"
    assert (metadata["Name"], metadata["Version"]) == ("bvx", bvx.__version__)
    assert metadata["License-Expression"] == "Apache-2.0"
    assert set(metadata["Requires-Python"].split(",")) == {">=3.11", "<3.14"}
    assert metadata.get_payload(), "the README is the long description"


@pytest.mark.package
def test_the_base_is_thin(metadata: Message) -> None:
    assert required(metadata) == {"numpy", "safetensors", "tokenizers"}


@pytest.mark.package
def test_every_extra_is_declared_and_brings_one_onnxruntime_at_most(metadata: Message) -> None:
    assert set(metadata.get_all("Provides-Extra") or []) == EXTRAS
    runtimes = {extra: required(metadata, extra) & RUNTIMES for extra in EXTRAS}
    assert {extra: found for extra, found in runtimes.items() if found} == {
        "cpu": {"onnxruntime"},
        "cuda": {"onnxruntime-gpu"},
        "dev": {"onnxruntime"},
    }
    assert {"torch", "transformers", "onnx", "typer"} <= required(metadata, "export") <= required(metadata, "dev")


def test_the_command_is_there() -> None:
    (command,) = (point for point in entry_points(group="console_scripts") if point.name == "bvx")
    assert command.value == "bvx.exporter.cli:main"


def pins(root: Path) -> dict[str, str]:
    lines = (root / "constraints.txt").read_text().splitlines()
    return {str(canonicalize_name(line.split("==")[0])): line for line in lines if line}


def test_constraints_are_exact_versions_without_addresses_and_leave_torch_to_the_makefile(root: Path) -> None:
    odd = [line for line in pins(root).values() if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line)]
    assert not odd
    assert "torch" not in pins(root)
    assert re.search(r"^TORCH \?= torch==[0-9.]+$", (root / "Makefile").read_text(), re.MULTILINE)


def test_everything_that_dev_installs_is_pinned(root: Path) -> None:
    reached = {name for name, _ in walk("bvx", frozenset({"dev"}), set())}
    assert {"onnx", "tokenizers", "pytest", "typer"} <= reached
    assert not reached - set(pins(root)) - {"bvx", "torch"}


def walk(name: str, extras: frozenset[str], seen: set[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Every installed distribution that `name[extras]` needs. What torch needs depends on its build: it is left out."""
    for extra in ("", *sorted(extras)):
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        yield name, extra
        for requirement in map(Requirement, (requires(name) or []) if name != "torch" else []):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                yield from walk(str(canonicalize_name(requirement.name)), frozenset(requirement.extras), seen)
