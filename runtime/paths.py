"""Paths that come from untrusted files: relative, plain, and inside the bundle, or refused."""

from __future__ import annotations

import re
from pathlib import Path

from .errors import BundleError

__all__ = ["check_relative", "resolve_inside"]

# Backslashes and colons are separators and drive letters on Windows. Asterisks never stand in a file's name there,
# and ONNX Runtime gives `*/_ORT_MEM_ADDR_/*` as an external-data location a meaning of its own: a memory address.
_REFUSED = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|]')

_NEXT_STEP = "The bundle was edited or is hostile: do not use it, export it again or get it from its maker."


def check_relative(path: str, where: str) -> str:
    """`path` itself when it is a plain relative POSIX path, such as `onnx/model.onnx`.

    `where` says in errors where the path was read. Raises BundleError for an empty or absolute path, `.`, `..`
    or an empty part, a drive letter, a backslash, a control character, or one that no portable name has.
    """
    parts = path.split("/")
    if _REFUSED.search(path) or len(path) > 1024 or any(part in ("", ".", "..") for part in parts):
        raise BundleError(
            f"{where} refers to {path[:200]!r}, which is not a plain relative path inside the bundle.", _NEXT_STEP
        )
    return path


def resolve_inside(root: Path, path: str, where: str) -> Path:
    """Where the file at `path`, relative to the resolved folder `root`, really lies.

    A symbolic link may lead elsewhere inside `root`. Raises BundleError for one that leads out of it, or in circles.
    """
    check_relative(path, where)
    try:
        resolved = (root / path).resolve()
    except (OSError, RuntimeError) as error:
        raise BundleError(f"{path} in {root} cannot be followed ({error}).", _NEXT_STEP) from error
    if not resolved.is_relative_to(root):
        raise BundleError(
            f"{path} in {root} is a link that leads out of the bundle, to {resolved}.",
            f"If this is a Hugging Face cache, copy the real files first: `cp -rL {root} COPY`, or download with "
            "huggingface_hub's snapshot_download(..., local_dir=FOLDER). Otherwise do not use it.",
        )
    return resolved
