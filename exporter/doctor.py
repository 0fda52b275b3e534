"""What this machine has for bvx: facts for `bvx doctor`, found without importing an engine; CUDA is asked for a GPU."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from ..runtime.choices import list_choices
from ..runtime.engines import ORDER, list_candidates
from ..runtime.machine import allowed_cores, cpu_features
from .versions import ENGINES, find_providers, find_version

__all__ = ["examine"]

_MEANING: dict[str, tuple[str, str]] = {
    "avx2": (
        "fp32 and int8 run on 256-bit vectors.",
        "fp32 and int8 run on 128-bit vectors: expect a fraction of the usual speed.",
    ),
    "avx512f": (
        "fp32 runs on 512-bit vectors.",
        "fp32 runs on 256-bit vectors at most.",
    ),
    "vnni": (
        "int8 multiplies and adds in one instruction: clearly faster than fp32.",
        "int8 makes bundles smaller, but is hardly faster than fp32, and its sums may saturate.",
    ),
    "amx_int8": (
        "int8 runs on matrix tiles, faster again than with VNNI, in the engines that use them.",
        "int8 runs on vectors, not on matrix tiles.",
    ),
    "amx_bf16": (
        "bf16 runs on matrix tiles, in the engines that use them.",
        "bf16 does not run on matrix tiles.",
    ),
    "neon": (
        "fp32 runs on 128-bit vectors.",
        "There are no vector units that the engines know.",
    ),
    "dotprod": (
        "int8 multiplies and adds in one instruction: faster than fp32.",
        "int8 makes bundles smaller, but is hardly faster than fp32.",
    ),
    "i8mm": (
        "int8 matrix products have an instruction of their own, faster again than dotprod.",
        "int8 runs on vectors, not on matrix instructions.",
    ),
}
"""Feature -> what having it means, and what lacking it means."""

_X86 = ("avx2", "avx512f", "vnni", "amx_int8", "amx_bf16")
_ARM = ("neon", "dotprod", "i8mm")

_VARIABLES: dict[str, str] = {
    "HF_HOME": "where downloads and the token are kept",
    "HF_HUB_CACHE": "where downloads are kept",
    "HF_HUB_OFFLINE": "nothing is downloaded; only the cache is read",
    "HF_ENDPOINT": "the hub that models come from",
    "HF_TOKEN": "the token for private models",
    "HTTPS_PROXY": "how the hub is reached",
    "OMP_NUM_THREADS": "PyTorch's threads at export; ONNX Runtime's come from --threads",
    "CUDA_VISIBLE_DEVICES": "the GPUs that may be used",
    "BVX_DEBUG": "unexpected errors show their traceback",
    "NO_COLOR": "no colours",
}
_SECRET = ("HF_TOKEN", "HTTPS_PROXY")
"""Values that hold a token or a password: it is only said that they are set."""

_REQUIREMENT = re.compile(
    r"^([A-Za-z0-9._-]+)\s*(?:\[[^\]]*\])?\s*(?:[^;]*?>=\s*([0-9.]+))?[^;]*;.*extra == [\"']([\w-]+)"
)
_SKIPPED_EXTRAS = ("dev", "docs")

_BROKEN = (
    "onnxruntime is installed, but Python cannot import it; `python -c 'import onnxruntime'` says why. Install it "
    "anew: `pip install --force-reinstall --no-deps onnxruntime` (or onnxruntime-gpu)."
)


def examine(environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Everything `bvx doctor` knows, as JSON-ready data.

    `problems` holds what has to be mended before bvx can work, each with its remedy; `extras` maps each of bvx's
    extras to the distributions it lacks or has in too old a version; `providers` are ONNX Runtime's, None where it
    cannot be imported.
    """
    installed = {name: version for name in ENGINES if (version := find_version(name))}
    extras = missing_by_extra()
    runs = any(name.startswith("onnxruntime") for name in installed)
    providers = find_providers() if runs else []
    return {
        "bvx": bvx_version(),
        "python": {"version": platform.python_version(), "executable": sys.executable},
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "engines": installed,
        "providers": providers,
        "auto": choose_engines(),
        "extras": extras,
        "cpu": describe_cpu(cpu_features()),
        "cores": {"allowed": allowed_cores(), "present": os.cpu_count() or 1},
        "memory": find_memory(),
        "gpu": find_gpu(),
        "choices": [asdict(choice) for choice in list_choices()],
        "environment": {
            name: {"value": "(set)" if name in _SECRET else environment[name], "meaning": meaning}
            for name, meaning in _VARIABLES.items()
            if name in environment
        },
        "problems": find_problems(installed, extras) + [_BROKEN] * (providers is None),
    }


def choose_engines() -> dict[str, dict[str, Any]]:
    """What `engine="auto"` takes for a variant of each target: the `engine`, None where there is none, and `why`."""
    found: dict[str, dict[str, Any]] = {}
    for target in ORDER:
        choices = list(list_candidates([target]))
        able = [choice.engine for choice in choices if choice.obstacle is None]
        passed = {str(choice.obstacle): None for choice in choices if choice.obstacle is not None}
        why = " ".join(passed) if not able or choices[0].engine != able[0] else "It stands first, and is here."
        found[target] = {"engine": able[0] if able else None, "why": why}
    return found


def bvx_version() -> str:
    """The version of this bvx."""
    from .. import __version__

    return __version__


def find_problems(engines: Mapping[str, str], extras: Mapping[str, list[str]]) -> list[str]:
    """What keeps bvx from working with these engines (distribution -> version), each sentence with its remedy."""
    problems = []
    if "onnxruntime" in engines and "onnxruntime-gpu" in engines:
        problems.append(
            "onnxruntime and onnxruntime-gpu are both installed; they overwrite each other's files, and which one runs "
            "is chance. Uninstall both, then install one: `pip uninstall -y onnxruntime onnxruntime-gpu`, and "
            "`pip install bvx[cpu]` or `pip install bvx[cuda]`."
        )
    if not engines:
        problems.append("No engine is installed, so no bundle can run. Install one: `pip install bvx[cpu]`.")
    for name, extra in (("onnxruntime", "cpu"), ("onnxruntime-gpu", "cuda")):
        old = [fault for fault in extras.get(extra, []) if name in engines and fault.startswith(f"{name} ")]
        problems += [
            f"{fault}: older ones cannot run a bundle's graphs. Upgrade it: `pip install -U bvx[{extra}]`."
            for fault in old
        ]
    return problems


def missing_by_extra() -> dict[str, list[str]]:
    """Every extra of bvx, and what it lacks here: `torch`, or `onnx 1.15.0 (wanted 1.19 or newer)`."""
    try:
        requirements = metadata.requires("bvx") or []
    except metadata.PackageNotFoundError:
        return {}
    found: dict[str, list[str]] = {}
    for requirement in requirements:
        match = _REQUIREMENT.match(requirement)
        if match is None or match[3] in _SKIPPED_EXTRAS:
            continue
        name, least, extra = match[1], match[2], match[3]
        faults = found.setdefault(extra, [])
        version = find_version(name)
        if version is None:
            faults.append(name)
        elif least and _numbers(version) < _numbers(least):
            faults.append(f"{name} {version} (wanted {least} or newer)")
    return found


def describe_cpu(features: Mapping[str, str | bool]) -> dict[str, Any]:
    """The processor, and for each feature of its kind whether it is there and what that means for speed."""
    arm = str(features["architecture"]).lower() in ("aarch64", "arm64")
    return {
        "name": features["name"],
        "architecture": features["architecture"],
        "features": {
            name: {"present": bool(features[name]), "meaning": _MEANING[name][0 if features[name] else 1]}
            for name in (_ARM if arm else _X86)
        },
    }


def find_memory(proc: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")) -> dict[str, int | None]:
    """Memory in bytes: `total`, `available`, and the container's `limit`; None for what cannot be found out."""
    fields = {}
    for line in _read(proc).splitlines():
        name, _, value = line.partition(":")
        if value.split() and value.split()[0].isdigit():
            fields[name] = int(value.split()[0]) * 1024
    total = fields.get("MemTotal")
    if total is None and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    files = (cgroup / "memory.max", cgroup / "memory" / "memory.limit_in_bytes")
    limits = [int(text) for file in files if (text := _read(file).strip()).isdigit()]
    limit = min(limits, default=None)
    # Without a limit, cgroup v1 says a number beyond any memory.
    if limit is not None and total is not None and limit >= total:
        limit = None
    return {"total": total, "available": fields.get("MemAvailable"), "limit": limit}


def find_gpu(driver: Path = Path("/proc/driver/nvidia/version")) -> dict[str, Any]:
    """NVIDIA's `driver` (None where there is none), and the `devices` that nvidia-smi lists."""
    devices: list[dict[str, str]] = []
    version = None
    names = ("name", "driver_version", "memory.total", "compute_cap")
    for line in _ask_nvidia_smi(names).splitlines():
        values = [value.strip() for value in line.split(",")]
        if len(values) == len(names):
            version = values[1]
            devices.append({"name": values[0], "memory": values[2], "compute_capability": values[3]})
    if version is None:
        match = re.search(r"Module(?: for \S+)?\s+([0-9.]+)", _read(driver))
        version = match[1] if match else None
    return {"driver": version, "devices": devices}


def _ask_nvidia_smi(fields: tuple[str, ...]) -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    command = [program, f"--query-gpu={','.join(fields)}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers a version begins with: `2.13.0+cpu` is (2, 13, 0). Trailing zeros do not count."""
    match = re.match(r"[0-9]+(?:\.[0-9]+)*", version)
    numbers = [int(part) for part in match[0].split(".")] if match else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
