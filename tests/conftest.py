"""What every test may ask for."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure() -> None:
    """A shell's background job starts with Ctrl-C ignored, and so would every process that a test starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """Finds a file or folder of real vocabularies and data: `shared("tokenizers")`.

    They lie in the folder that BVX_SHARED names, by default `shared` beside the checkout. A test that asks for what
    is not there is skipped.
    """
    folder = Path(os.environ.get("BVX_SHARED") or ROOT.parent / "shared")

    def find(name: str) -> Path:
        path = folder / name
        if not path.exists():
            pytest.skip(f"{path} is not there; set BVX_SHARED to the folder that holds {name}")
        return path

    return find


@pytest.fixture(scope="session")
def tiny_checkpoint() -> Callable[..., Path]:
    """Makes a checkpoint folder: tiny_checkpoint(family, task, folder, seed=0, **changes to the configuration)."""
    # Not above: the tests of the runtime do without torch and transformers.
    from bvx.exporter.checkpoint.config import complete_config
    from bvx.exporter.checkpoint.standin import make_random_model, make_tokenizer
    from bvx.exporter.families import known_families
    from bvx.runtime.tasks import find_task

    def make(family_name: str, task_name: str, folder: Path, *, seed: int = 0, **shape: object) -> Path:
        family, task = known_families()[family_name], find_task(task_name)
        raw = {**family.tiny, **shape}
        config = complete_config(raw, family)
        model = make_random_model(config, task, seed)
        model.save_pretrained(folder)
        if "model_type" not in raw:
            (folder / "config.json").write_text(json.dumps(raw))
        facts = config.to_dict()
        tokenizer = make_tokenizer(family, facts, max_length=family.usable_length(facts))
        for name, content in tokenizer.files.items():
            (folder / name).write_bytes(content)
        return folder

    return make


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all the processes of this session of tests share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def captures(session_folder: Path) -> Any:
    """`capture`, which traces what is alike but for its weights only once, in all the processes of this session."""
    from bvx.exporter.capture import capture

    from .captures import Captures

    folder = session_folder / "captures"
    folder.mkdir(exist_ok=True)
    return Captures(folder, capture)


@pytest.fixture(scope="session", autouse=True)
def trace_once(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every export in this process goes by `captures`; where nothing has loaded torch, this does not either."""
    with pytest.MonkeyPatch.context() as patch:
        if "bvx.exporter.pipeline" in sys.modules:
            patch.setattr("bvx.exporter.pipeline.capture", request.getfixturevalue("captures"))
        yield


@pytest.fixture(scope="session")
def wheel(root: Path, session_folder: Path) -> Path:
    """The wheel, built from a copy, so that the checkout stays clean. Tests lie beside the copy's packages."""
    copy, out = session_folder / "checkout", session_folder / "dist"
    with FileLock(session_folder / "wheel.lock"):
        if not out.exists():
            copy.mkdir()
            for path in root.iterdir():
                if path.name in {"calibration", "exporter", "runtime", "tests"}:
                    shutil.copytree(path, copy / path.name, ignore=shutil.ignore_patterns("__pycache__"))
                elif path.is_file():
                    shutil.copy(path, copy)
            command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(copy)]
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="session")
def installed(wheel: Path, session_folder: Path) -> Path:
    """A folder that the wheel is installed into, away from the checkout."""
    folder = session_folder / "installed"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--no-index"]
    with FileLock(session_folder / "wheel.lock"):
        if not folder.exists():
            done = subprocess.run([*pip, "--target", str(folder), str(wheel)], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.fixture
def fake_cuda(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Puts a counting CUDA in place of cuda-bindings: fake_cuda(devices=1, capability=(8, 9)) -> FakeCuda."""
    from .nvidia.fake_cuda import FakeCuda

    def install(**machine: Any) -> FakeCuda:
        cuda = FakeCuda(**machine)
        monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", cuda)
        return cuda

    return install


SURFACES = ("10.16.1.11", "11.0.0.114", "11.4.0.106", "rtx-1.7.1.116")
"""The versions of NVIDIA's bindings whose every name, keyword and type the tests know."""


@pytest.fixture
def fake_trt(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Puts a strict stand-in in place of NVIDIA's bindings: fake_trt("11.4.0.106", behave={…}) -> the module."""
    from .nvidia.strict_fake import load

    def install(surface: str, behave: dict[str, Any] | None = None) -> Any:
        module = load(ROOT / f"tests/nvidia/surface/{surface}.json", behave)
        name = "tensorrt_rtx" if surface.startswith("rtx") else "tensorrt"
        module.__spec__ = ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
        return module

    return install


@pytest.fixture(params=SURFACES)
def surface(request: pytest.FixtureRequest) -> str:
    """Every version of NVIDIA's bindings that the tests know."""
    return str(request.param)
