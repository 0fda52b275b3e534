"""The walls of the house: who may import whom, where the heavy libraries come in, and how the files are kept."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE_FOLDERS = ("calibration", "exporter", "runtime")
OTHER_FOLDERS = ("tests", "examples", "benchmarks", "interop")
LONGEST_FILE = 300
LONGEST_TEST = 450
VAGUE_NAMES = {"common", "helper", "helpers", "manager", "misc", "util", "utils"}

LAYERS = {
    "bvx": ("bvx.runtime",),
    "bvx.runtime": ("bvx.runtime",),
    "bvx.calibration": ("bvx.calibration", "bvx.runtime"),
    "bvx.exporter": ("bvx.exporter", "bvx.calibration", "bvx.runtime"),
    "bvx.exporter.families": ("bvx.exporter.families", "bvx.runtime"),
    "bvx.exporter.calibration_plan": ("bvx.exporter.supported", "bvx.runtime"),
    "bvx.exporter.plan": (
        "bvx.exporter.calibration_plan",
        "bvx.exporter.families",
        "bvx.exporter.supported",
        "bvx.runtime",
    ),
    "bvx.exporter.supported": (),
    "bvx.exporter.checkpoint": (
        "bvx.exporter.checkpoint",
        "bvx.exporter.families",
        "bvx.exporter.plan",
        "bvx.exporter.progress",
        "bvx.calibration",
        "bvx.runtime",
    ),
}
"""What a package or module, and whatever is in it, may import of bvx. The longest name that fits holds."""

TOP_OF_EXPORTER = {"bvx.exporter.cli": ("bvx.exporter.cli",), "bvx.exporter.pipeline": ("bvx.exporter.cli",)}
"""The highest modules of exporter, and the only ones that may import them or what is in them."""

DOORS = {
    "cuda": ("runtime/engines/cuda.py",),
    "google": ("exporter/checkpoint/",),
    "huggingface_hub": ("exporter/checkpoint/",),
    "numpy": ("",),
    "onnx": ("exporter/", "calibration/"),
    "onnx_ir": ("exporter/", "calibration/"),
    "onnxruntime": ("runtime/engines/ort.py", "calibration/"),
    "onnxscript": ("exporter/", "calibration/"),
    "openvino": ("runtime/engines/openvino.py",),
    "rich": ("exporter/cli/",),
    "safetensors": ("",),
    "safetensors.torch": ("exporter/checkpoint/", "exporter/capture.py"),
    "sentencepiece": ("exporter/checkpoint/",),
    "tensorrt": ("exporter/tensorrt/", "runtime/engines/tensorrt.py"),
    "tensorrt_rtx": ("exporter/tensorrt/", "runtime/engines/tensorrt.py"),
    "tokenizers": ("runtime/", "exporter/checkpoint/"),
    "torch": ("exporter/checkpoint/", "exporter/capture.py", "exporter/parity.py"),
    "transformers": ("exporter/checkpoint/",),
    "jinja2": ("exporter/bench/page.py",),
    "typer": ("exporter/cli/",),
    "vl_convert": ("exporter/bench/page.py",),
}
"""Where a library may be imported: beginnings of paths. The longest name that fits holds; others may be nowhere."""

OTHER_TOOLS = "exporter/bench/other_tools.py"
"""Run by the Python of another environment, and only there; it may import what is measured beside bvx."""
MEASURED_BESIDE = {"ctranslate2", "nncf", "onnxruntime", "openvino", "optimum", "tokenizers", "torch", "transformers"}

SPEAKING_OR_EXITING = {
    *("print", "input", "sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__"),
    *("exit", "quit", "SystemExit", "sys.exit", "os._exit", "os.abort"),
}

MAY_SPEAK_OR_EXIT = {
    "exporter/cli/": SPEAKING_OR_EXITING,
    # SIGTERM has to unwind the stack, so that an export that is ended leaves nothing behind.
    "exporter/interrupts.py": {"SystemExit"},
}


@dataclass(frozen=True)
class Source:
    """One Python file: its path relative to the checkout (POSIX) and its text."""

    path: str
    text: str

    @property
    def module(self) -> str:
        parts = ["bvx", *Path(self.path).with_suffix("").parts]
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def package(self) -> str:
        return self.module if Path(self.path).name == "__init__.py" else self.module.rpartition(".")[0]

    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)


def read_sources(root: Path, folders: tuple[str, ...]) -> list[Source]:
    files = [path for folder in folders for path in sorted((root / folder).rglob("*.py"))]
    return [Source(path.relative_to(root).as_posix(), path.read_text()) for path in files]


def imported_by(source: Source) -> Iterator[str]:
    """Every module or name imported anywhere in the file, absolute: also lazily, for types only, or by a call."""
    for node in ast.walk(source.tree()):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*source.package.split(".")[: -(node.level - 1) or None], *filter(None, [base])])
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
            ("import_module", "__import__", "find_spec")
        ):
            yield from (arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant) and arg.value[:1] != ".")


def within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


def longest(name: str, prefixes: dict[str, tuple[str, ...]]) -> tuple[str, ...] | None:
    fitting = [prefix for prefix in prefixes if within(name, prefix)]
    return prefixes[max(fitting, key=len)] if fitting else None


def wrong_layer(source: Source) -> Iterator[str]:
    allowed = longest(source.module, LAYERS) or ()
    for name in imported_by(source):
        if not within(name, "bvx") or name == "bvx.__version__":
            continue
        if not any(within(name, prefix) for prefix in allowed):
            yield f"{source.path} imports {name}; it may import of bvx: {', '.join(allowed)}"
        elif any(
            within(name, top) and not any(within(source.module, user) for user in users)
            for top, users in TOP_OF_EXPORTER.items()
        ):
            yield f"{source.path} imports {name}, which stands above it"


def wrong_door(source: Source) -> Iterator[str]:
    for name in imported_by(source):
        if name.split(".")[0] in sys.stdlib_module_names or within(name, "bvx"):
            continue
        if source.path == OTHER_TOOLS and name.split(".")[0] in MEASURED_BESIDE:
            continue
        doors = longest(name, DOORS) or ()
        if not source.path.startswith(doors):
            yield f"{source.path} imports {name}; its doors are: {', '.join(doors) or 'none'}"


def too_long(source: Source) -> Iterator[str]:
    lines = source.text.count("\n")
    ceiling = LONGEST_TEST if source.path.startswith("tests/") else LONGEST_FILE
    if lines > ceiling:
        yield f"{source.path} has {lines} lines; the ceiling is {ceiling}"


def vague_name(source: Source) -> Iterator[str]:
    words = {word for part in Path(source.path).with_suffix("").parts for word in part.lower().split("_")}
    if vague := words & VAGUE_NAMES:
        yield f"{source.path} is called {', '.join(sorted(vague))}, which says nothing"


def speaks_or_exits(source: Source) -> Iterator[str]:
    allowed = {word for path, words in MAY_SPEAK_OR_EXIT.items() if source.path.startswith(path) for word in words}
    for node in ast.walk(source.tree()):
        # A field may be called `input`: it is the use that speaks.
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
            used = ast.unparse(node)
            if used in SPEAKING_OR_EXITING - allowed:
                yield f"{source.path}:{node.lineno} uses {used}; only exporter/cli/ prints and exits"


def undocumented(source: Source) -> Iterator[str]:
    if not ast.get_docstring(source.tree()):
        yield f"{source.path} has no docstring"


RULES_OF_PACKAGE = (wrong_layer, wrong_door, too_long, vague_name, speaks_or_exits, undocumented)
RULES_OF_THE_REST = (too_long, vague_name, undocumented)


@pytest.mark.parametrize("rule", RULES_OF_PACKAGE)
def test_every_file_of_the_package_keeps_the_rule(root: Path, rule: Callable[[Source], Iterator[str]]) -> None:
    sources = [Source("__init__.py", (root / "__init__.py").read_text()), *read_sources(root, PACKAGE_FOLDERS)]
    assert len(sources) > 20
    assert not [breach for source in sources for breach in rule(source)]


@pytest.mark.parametrize("rule", RULES_OF_THE_REST)
def test_every_other_file_keeps_the_rule(root: Path, rule: Callable[[Source], Iterator[str]]) -> None:
    assert not [breach for source in read_sources(root, OTHER_FOLDERS) for breach in rule(source)]


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (wrong_layer, "runtime/heads/masks.py", "from ...exporter.plan import ExportPlan"),
        (wrong_layer, "runtime/encoder.py", "def f():\n    from ..calibration import observers"),
        (wrong_layer, "runtime/encoder.py", "from .. import exporter"),
        (wrong_layer, "runtime/__init__.py", "from ..exporter import plan"),
        (wrong_layer, "__init__.py", "from .exporter import plan"),
        (wrong_layer, "calibration/observers.py", "import bvx.exporter.capture"),
        (wrong_layer, "exporter/families/bert.py", "from ..passes import mask"),
        (wrong_layer, "exporter/families/bert.py", "from ..pipeline import export"),
        (wrong_layer, "exporter/plan.py", "from .capture import capture"),
        (wrong_layer, "exporter/checkpoint/weights.py", "from ..passes.mask import expand"),
        (wrong_layer, "exporter/capture.py", "from .pipeline import export"),
        (wrong_layer, "exporter/pipeline.py", "from . import cli"),
        (wrong_door, "exporter/pipeline.py", "import torch"),
        (wrong_door, "exporter/capture.py", "from transformers import AutoModel"),
        (wrong_door, "exporter/targets/cpu.py", "def f():\n    import onnxruntime as ort"),
        (wrong_door, "exporter/targets/cpu.py", "import importlib\nimportlib.import_module('tensorrt')"),
        (wrong_door, "calibration/observers.py", "from torch import nn"),
        (wrong_door, "runtime/encoder.py", "import onnx_ir"),
        (wrong_door, "runtime/encoder.py", "from safetensors.torch import load_file"),
        (wrong_door, "runtime/encoder.py", "import requests"),
        (wrong_door, "runtime/engines/openvino.py", "import onnxruntime"),
        (wrong_door, "exporter/pipeline.py", "from rich.progress import Progress"),
        (wrong_door, "exporter/bench/measure.py", "import ctranslate2"),
        (wrong_door, "exporter/bench/other_tools.py", "import rich"),
        (too_long, "runtime/encoder.py", "x = 1\n" * (LONGEST_FILE + 1)),
        (too_long, "tests/runtime/test_encoder.py", "x = 1\n" * (LONGEST_TEST + 1)),
        (vague_name, "runtime/utils.py", ""),
        (vague_name, "exporter/graph_helpers.py", ""),
        (vague_name, "exporter/common/graph.py", ""),
        (speaks_or_exits, "exporter/pipeline.py", "print('done')"),
        (speaks_or_exits, "runtime/bundle.py", "import sys\nsys.exit(1)"),
        (speaks_or_exits, "runtime/bundle.py", "raise SystemExit"),
        (speaks_or_exits, "runtime/bundle.py", "import sys\nsys.stderr.write('x')"),
        (speaks_or_exits, "exporter/interrupts.py", "print('sealed')"),
        (speaks_or_exits, "exporter/client.py", "print('sealed')"),
        (undocumented, "runtime/bundle.py", "x = 1"),
    ],
)
def test_a_planted_breach_is_found_once(rule: Callable[[Source], Iterator[str]], path: str, text: str) -> None:
    assert len(list(rule(Source(path, text)))) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("__init__.py", "from .runtime.encoder import Encoder"),
        ("runtime/manifest.py", "from .. import __version__\nfrom .errors import BundleError\nimport numpy as np"),
        ("runtime/engines/ort.py", "from ..errors import EngineMismatch\nimport onnxruntime"),
        ("calibration/observers.py", "from ..runtime.errors import CalibrationError\nimport onnx_ir"),
        (
            "exporter/cli/export.py",
            "import sys\nimport typer\nfrom .shell import Shell\nfrom ..pipeline import export\nprint(1)\nsys.exit(1)",
        ),
        (
            "exporter/pipeline.py",
            "from . import capture, plan\nfrom ..calibration import observers\nfrom .targets import cpu",
        ),
        (
            "exporter/checkpoint/weights.py",
            "import torch\nfrom ..families import Family\nfrom safetensors.torch import load",
        ),
        ("exporter/families/__init__.py", "from ...runtime.errors import UnknownFamily"),
    ],
)
def test_what_the_design_allows_is_no_breach(path: str, text: str) -> None:
    source = Source(path, f'"""Documented."""\n{text}\n')
    assert not [breach for rule in RULES_OF_PACKAGE for breach in rule(source)]
