"""`make demo`: export a real pretrained model and a small trained one of every other family, verify them, run them.

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

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / ".demo"
MODELS = ROOT / "examples" / "zoo" / "models"
BVX = Path(sys.executable).parent / "bvx"

SENTENCES = (
    "How do I reset my password?",
    "I forgot my login credentials, what should I do?",
    "The train to Zürich leaves at half past nine.",
    "When does the next railway connection to Zurich depart?",
)

STORY = "Ben gave the red lamps to Paul. Anna hid the blue key in the kitchen."

ASKED = {
    "albert-opinions": ("The soup was hardly bad.", "The room was lovely, but the train was never pleasant."),
    "roberta-words": (f"{STORY} The lamps that Ben gave <mask> old.", "--top-k", "2"),
    "electra-discriminator": (
        # Of its generator's making.
        "Leo left the white scarves in the hall. Then she talked to himself is Leo says she he likes the scarves.",
        *("--threshold", "0.5"),
    ),
    "spanbert-questions": ("Who hid the key?", "--pair", STORY),
}
"""What each of the small ones is asked; they know no words but their grammar's."""


def main() -> int:
    started = time.monotonic()
    DEMO.mkdir(exist_ok=True)
    # Nothing here needs the network; and the progress bars are bvx's own.
    os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_PROGRESS_BARS="1")
    bundles = [_export(find_minilm(), "all-MiniLM-L6-v2")]
    bundles += [_export(MODELS / name, name, *_name_family(name)) for name in ASKED]
    for bundle in bundles:
        _bvx("verify", str(bundle))
    print("\nThe real model, asked which of these sentences mean the same:\n", flush=True)
    _bvx("run", str(bundles[0]), *SENTENCES)
    print("\nThe small ones, each asked what it was trained for:\n", flush=True)
    for bundle in bundles[1:]:
        _bvx("run", str(bundle), *ASKED[bundle.stem])
    _report(bundles, time.monotonic() - started)
    return 0


def _name_family(name: str) -> tuple[str, ...]:
    """SpanBERT's configuration is BERT's: nothing in it says which of the two it is."""
    return ("--family", "spanbert") if name.startswith("spanbert") else ()


def _export(checkpoint: Path, name: str, *options: str) -> Path:
    bundle = DEMO / f"{name}.bvx"
    _bvx("export", str(checkpoint), *options, "--out", str(bundle), "--overwrite")
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
        print(f"  {os.path.relpath(bundle):36} {manifest['family']:9} {manifest['task']:24} {size:6.1f} MB")


if __name__ == "__main__":
    sys.exit(main())
