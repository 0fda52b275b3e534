"""The versions of bvx, Python and the engines, for `bvx --version`; nothing that computes is imported here."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from importlib import metadata
from typing import Any

__all__ = ["ENGINES", "describe_versions", "find_providers", "find_version"]

ENGINES = ("onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "tensorrt-rtx")
"""The distributions that bring an engine."""

_ASK = "import json, onnxruntime; print(json.dumps(onnxruntime.get_available_providers()))"
_SECONDS = 20


def describe_versions() -> dict[str, Any]:
    """The versions of `bvx` and `python`, and of the `engines` that are installed, with ONNX Runtime's providers."""
    from .. import __version__

    engines: dict[str, dict[str, Any]] = {}
    for name in ENGINES:
        version = find_version(name)
        if version is not None:
            # Both distributions of ONNX Runtime bring the same module.
            providers = {"providers": find_providers()} if name.startswith("onnxruntime") else {}
            engines[name] = {"version": version, **providers}
    return {"bvx": __version__, "python": platform.python_version(), "engines": engines}


def find_version(distribution: str) -> str | None:
    """The version of an installed distribution."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def find_providers() -> list[str] | None:
    """ONNX Runtime's execution providers, or None where it cannot be imported.

    Another process asks, so that native code that is broken ends that one and not this.
    """
    try:
        done = subprocess.run([sys.executable, "-c", _ASK], capture_output=True, timeout=_SECONDS, check=False)
        found = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 and done.stdout.strip() else None
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return [str(name) for name in found] if isinstance(found, list) else None
