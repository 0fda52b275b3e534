"""What a user may import, and what importing it costs."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "huggingface_hub",
    "numpy",
    "onnx",
    "onnx_ir",
    "onnxruntime",
    "rich",
    "tokenizers",
    "torch",
    "transformers",
    "typer",
}

ERRORS = {
    "AccuracyLost",
    "BundleError",
    "BvxError",
    "CalibrationError",
    "CheckpointError",
    "EngineBuildError",
    "EngineMismatch",
    "FallbackWarning",
    "InputError",
    "ParityFailed",
    "PlanError",
    "UnknownFamily",
    "UnsupportedModel",
}


MODELS = {
    "Encoder",
    "FeatureExtractor",
    "MaskFiller",
    "MultipleChoice",
    "PretrainingModel",
    "QuestionAnswerer",
    "ReplacedTokenDetector",
    "Reranker",
    "SentenceEmbedder",
    "SentencePairClassifier",
    "TextClassifier",
    "TokenClassifier",
}


@pytest.mark.parametrize(
    ("package", "names"),
    [
        ("bvx", {"__version__", "load"} | MODELS | ERRORS),
        ("bvx.runtime", {"Manifest", "ParityReport", "load"} | MODELS | ERRORS),
        ("bvx.runtime.errors", ERRORS),
    ],
)
def test_public_names_are_these_and_each_can_be_had(package: str, names: set[str]) -> None:
    module = importlib.import_module(package)
    assert set(module.__all__) == names
    assert names <= set(dir(module))
    assert all(getattr(module, name) is not None for name in names)


@pytest.mark.parametrize("package", ["bvx", "bvx.runtime"])
def test_an_unknown_name_is_an_attribute_error_that_names_it(package: str) -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = importlib.import_module(package).nonsense


@pytest.mark.parametrize("package", ["bvx", "bvx.runtime"])
def test_importing_loads_nothing_heavy(package: str, tmp_path: Path) -> None:
    code = f"import sys, {package}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "bvx" in loaded
    assert not loaded & HEAVY
