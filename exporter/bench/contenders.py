"""Who is measured: every bundle on every engine in every precision, and the other tools beside each bundle."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...runtime.bundle import Bundle
from ...runtime.engines import find_engine
from ...runtime.errors import BvxError
from ...runtime.manifest import Manifest
from .plan import OTHER_TOOLS, BenchPlan

__all__ = ["PREPARED", "Contender", "find_contenders", "find_peers", "link_package", "prepare"]

PREPARED = ("optimum", "optimum-int8", "openvino", "openvino-nncf", "ctranslate2")
"""The tools that need files made first."""

_PATIENCE = 900.0
"""Seconds that making them may take."""


@dataclass(frozen=True)
class Contender:
    """One engine with one precision on `threads` threads, and what its process is told (`request`).

    `skipped` says why it cannot be measured; empty where it can.
    """

    name: str
    model: str
    tool: str
    precision: str
    threads: int
    request: dict[str, Any]
    python: str = sys.executable
    skipped: str = ""


def find_contenders(plan: BenchPlan, work: Path) -> list[Contender]:
    """Every contender of `plan`, those that cannot run included. Raises BundleError for what is no bundle."""
    bundles = [Bundle.open(path, check_hashes=False) for path in plan.bundles]
    peers, why = find_peers(plan.peers) if plan.against else (None, "")
    found: list[Contender] = []
    for bundle in bundles:
        folder = work.absolute() / _name_files(bundle)
        model = (
            bundle.root.name if [one.root.name for one in bundles].count(bundle.root.name) == 1 else str(bundle.root)
        )
        for threads in plan.threads:
            for one in _of_bundle(bundle, plan, model, threads, len(bundles) > 1):
                if one.name not in [other.name for other in found if other.threads == threads]:
                    found.append(one)
            for tool in plan.against:
                found.append(_other(bundle, tool, model, threads, len(bundles) > 1, folder, peers, why))
    return found


def _name_files(bundle: Bundle) -> str:
    """The folder of the other tools' files, which depend on the architecture and the task alone."""
    content = bundle.path("config.json").read_bytes() + bundle.manifest.task.encode()
    return hashlib.sha256(content).hexdigest()[:16]


def _of_bundle(bundle: Bundle, plan: BenchPlan, model: str, threads: int, several: bool) -> Iterator[Contender]:
    usable = [one for one in bundle.manifest.variants if one.state != "failed"]
    precisions = plan.precisions or tuple(dict.fromkeys(one.precision for one in usable))
    for precision in precisions:
        for asked in plan.engines:
            skipped, engine = "", asked
            try:
                targets = [one.target for one in usable if one.precision == precision]
                if not targets:
                    bundle.variant(precision)  # Raises: the bundle says best what it has.
                engine = find_engine(asked, targets, plan.strict)[0]
            except BvxError as error:
                skipped = str(error)
            name = f"{model}: {engine} {precision}" if several else f"bvx {engine} {precision}"
            request = {
                "tool": "bvx",
                "bundle": str(bundle.root),
                "engine": engine,
                "precision": precision,
                "threads": threads,
            }
            yield Contender(name, model, engine, precision, threads, request, skipped=skipped)


def _other(
    bundle: Bundle, tool: str, model: str, threads: int, several: bool, work: Path, peers: Path | None, why: str
) -> Contender:
    manifest = bundle.manifest
    request = {
        "tool": tool,
        "bundle": str(bundle.root),
        "task": manifest.task,
        "names": [spec.name for spec in manifest.inputs],
        "vocabulary": manifest.input_limits.get("input_ids", 1000),
        "longest": manifest.max_length,
        "padding": _describe_padding(manifest),
        "threads": threads,
        "work": str(work),
    }
    name = f"{model}: {tool}" if several else tool
    return Contender(name, model, tool, OTHER_TOOLS[tool][0], threads, request, str(peers or ""), why)


def _describe_padding(manifest: Manifest) -> dict[str, Any]:
    info = manifest.tokenizer
    return {"pad_id": info.pad_id, "pad_type_id": info.pad_type_id, "pad_token": info.pad_token} if info else {}


def find_peers(folder: str | None) -> tuple[Path | None, str]:
    """The interpreter of the environment with the other tools, or None and the sentence that says so.

    It is looked for in `folder`, else where BVX_PEERS says, else in `.peers` of this folder and of the checkout.
    """
    named = folder or os.environ.get("BVX_PEERS")
    places = [Path(named)] if named else [Path(".peers"), Path(__file__).parents[2] / ".peers"]
    for place in places:
        python = place if place.is_file() else place / "bin" / "python"
        if python.is_file():
            # Not resolved: a link in a virtual environment is what makes it one.
            return python.absolute(), ""
    where = " or ".join(str(place) for place in places)
    return None, f"There is no environment with the other tools in {where}: `make peers` in a checkout of bvx makes it."


def link_package(folder: Path) -> dict[str, str]:
    """The variables with which another environment's Python finds this bvx, and no package of this one."""
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "bvx"
    if not link.exists():
        link.symlink_to(Path(__file__).resolve().parents[2], target_is_directory=True)
    return {"PYTHONPATH": str(folder)}


def prepare(contender: Contender, environment: Mapping[str, str]) -> str:
    """Make the files that the tool loads, unless they are there; the sentence that says why not, or nothing."""
    made = Path(contender.request["work"]) / f"{contender.request['tool']}.made"
    if made.exists():
        return ""
    made.parent.mkdir(parents=True, exist_ok=True)
    command = [contender.python, "-m", "bvx.exporter.bench.serve", json.dumps({**contender.request, "prepare": True})]
    variables = {**os.environ, **environment}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=variables,
            check=False,
            timeout=_PATIENCE,
        )
    except subprocess.TimeoutExpired:
        return f"{contender.tool} was not ready within {_PATIENCE:.0f} s."
    lines = done.stdout.strip().splitlines()
    answer = json.loads(lines[-1]) if lines else {}
    if "ready" in answer:
        made.touch()
        return ""
    words = answer.get("failed") or " ".join(done.stderr.split())[-300:] or "it ended without a word"
    return f"{contender.tool} cannot take this model: {words}"
