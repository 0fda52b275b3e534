"""The machine that runs: what its processor can do, and how much of it this process may use."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path, PurePosixPath

__all__ = ["allowed_cores", "cpu_features", "describe"]

_LINUX_FLAGS: dict[str, tuple[str, ...]] = {
    "avx2": ("avx2",),
    "avx512f": ("avx512f",),
    "vnni": ("avx512_vnni", "avx_vnni"),
    "amx_int8": ("amx_int8",),
    "amx_bf16": ("amx_bf16",),
    "neon": ("asimd", "neon"),
    "dotprod": ("asimddp",),
    "i8mm": ("i8mm",),
}
"""Feature -> names of it in /proc/cpuinfo (Linux: arch/x86/include/asm/cpufeatures.h, arch/arm64/kernel/cpuinfo.c)."""

_MAC_FLAGS: dict[str, tuple[str, ...]] = {
    "avx2": ("hw.optional.avx2_0",),
    "avx512f": ("hw.optional.avx512f",),
    "vnni": ("hw.optional.avx512vnni",),
    "amx_int8": (),
    "amx_bf16": (),
    "neon": ("hw.optional.neon", "hw.optional.arm.AdvSIMD"),
    "dotprod": ("hw.optional.arm.FEAT_DotProd",),
    "i8mm": ("hw.optional.arm.FEAT_I8MM",),
}


def cpu_features(cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, str | bool]:
    """The processor's `name` and `architecture`, and whether it has what int8 and fp16 speed depends on.

    Features: avx2, avx512f, vnni (AVX-512 or AVX), amx_int8, amx_bf16, neon, dotprod, i8mm. What cannot be found out
    is False.
    """
    found: dict[str, str | bool] = {"name": "", "architecture": platform.machine()}
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    if not text and sys.platform == "darwin":
        found["name"] = _sysctl("machdep.cpu.brand_string")
        found |= {feature: any(_sysctl(name) == "1" for name in names) for feature, names in _MAC_FLAGS.items()}
    else:
        fields = _first_processor(text)
        flags = set(f"{fields.get('flags', '')} {fields.get('Features', '')}".split())
        found["name"] = fields.get("model name", "") or fields.get("Model", "")
        found |= {feature: not flags.isdisjoint(names) for feature, names in _LINUX_FLAGS.items()}
    found["name"] = found["name"] or platform.processor() or platform.machine()
    return found


def allowed_cores(cgroup: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> int:
    """How many cores this process may keep busy: the least of its affinity and of every cgroup quota above it.

    Quotas (cgroup v1 and v2) are rounded down, since a thread more than the quota pays for is throttled together with
    all others; the answer is at least 1.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for folder in _cgroup_folders(cgroup, membership) for quota in _quotas(folder)]
    return max(1, int(min([cores, *quotas])))


def describe() -> dict[str, str]:
    """This machine in the words that parity and latency rows carry."""
    features = cpu_features()
    return {
        "cpu": str(features["name"]),
        "features": " ".join(name for name, has in features.items() if has is True),
        "cores": str(allowed_cores()),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _first_processor(cpuinfo: str) -> dict[str, str]:
    """The fields of the first processor, and those that stand after all processors (`Model` on a Raspberry Pi)."""
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip(), value.strip())
    return fields


def _sysctl(name: str) -> str:
    import subprocess  # a hundredth of a second that every cold start would pay

    try:
        done = subprocess.run(["/usr/sbin/sysctl", "-n", name], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _cgroup_folders(cgroup: Path, membership: Path) -> list[Path]:
    """Every folder whose CPU quota binds this process: its own cgroup's and those above it.

    Inside a container the path in /proc/self/cgroup may be the host's, which is not to be seen here; the mount's root
    is the container's own cgroup then, so the root is always among them.
    """
    try:
        lines = membership.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    mounts = [(cgroup, "/"), (cgroup / "cpu", "/"), (cgroup / "cpu,cpuacct", "/")]
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            mounts += [(cgroup, path), (cgroup / "unified", path)]
        elif "cpu" in controllers.split(","):
            mounts += [(cgroup / controllers, path), (cgroup / "cpu", path)]
    folders: dict[Path, None] = {}
    for mount, path in mounts:
        # A cgroup outside this namespace is shown as /../…: none of its folders can be seen from here.
        parts = PurePosixPath(path).parts[1:]
        depth = 0 if ".." in parts else len(parts)
        folders |= {mount.joinpath(*parts[:end]): None for end in range(depth + 1)}
    return list(folders)


def _quotas(folder: Path) -> list[float]:
    """The CPU quotas that are set in one cgroup folder, in cores."""
    found = []
    words = _words(folder / "cpu.max")  # v2: "max 100000" or "150000 100000", in microseconds
    words_v1 = _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")  # v1: -1 is no quota
    for pair in (words, words_v1):
        if len(pair) == 2 and pair[0].isdigit() and pair[1].isdigit() and int(pair[1]) > 0:
            found.append(int(pair[0]) / int(pair[1]))
    return found


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return []
