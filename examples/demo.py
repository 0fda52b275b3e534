"""`make demo`: export a real pretrained model and one checkpoint of every other family, verify them, run the real one.

Every step is the command that you would type, and is shown as such.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from minilm import find_minilm
from small_checkpoints import SMALL, make_small_checkpoint

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / ".demo"
BVX = Path(sys.executable).parent / "bvx"

SENTENCES = (
    "How do I reset my password?",
    "I forgot my login credentials, what should I do?",
    "The train to Zürich leaves at half past nine.",
    "When does the next railway connection to Zurich depart?",
)


def main() -> int:
    started = time.monotonic()
    DEMO.mkdir(exist_ok=True)
    # Nothing here needs the network; and the progress bars are bvx's own.
    os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_PROGRESS_BARS="1")
    bundles = [_export(find_minilm(), "all-MiniLM-L6-v2")]
    for architecture, task in SMALL.items():
        checkpoint = make_small_checkpoint(architecture, task, DEMO / "checkpoints" / architecture)
        bundles.append(_export(checkpoint, architecture))
    for bundle in bundles:
        _bvx("verify", str(bundle))
    print("\nThe real model, asked which of these sentences mean the same:\n", flush=True)
    _bvx("run", str(bundles[0]), *SENTENCES)
    _report(bundles, time.monotonic() - started)
    return 0


def _export(checkpoint: Path, name: str) -> Path:
    bundle = DEMO / f"{name}.bvx"
    _bvx("export", str(checkpoint), "--out", str(bundle), "--overwrite")
    return bundle


def _bvx(*arguments: str) -> None:
    shown = [os.path.relpath(argument) if Path(argument).is_absolute() else argument for argument in arguments]
    print(f"\n$ bvx {shlex.join(shown)}", flush=True)
    finished = subprocess.run([BVX, *arguments], check=False)
    if finished.returncode:
        sys.exit(finished.returncode)


def _report(bundles: list[Path], seconds: float) -> None:
    print(f"\nDone in {seconds:.0f} s. The bundles:")
    for bundle in bundles:
        manifest = json.loads((bundle / "bvx.json").read_text(encoding="utf-8"))
        size = sum(entry["bytes"] for entry in manifest["files"]) / 1e6
        weights = "random weights" if manifest["model"]["random"] or bundle.stem in SMALL else "real weights"
        print(f"  {os.path.relpath(bundle):36} {manifest['family']:9} {manifest['task']:20} {size:6.1f} MB  {weights}")


if __name__ == "__main__":
    sys.exit(main())
