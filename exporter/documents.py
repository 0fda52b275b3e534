"""What the command line gives to programs: one JSON document, valid whatever is in it."""

from __future__ import annotations

import errno
import json
import math
from collections.abc import Mapping
from typing import Any

from ..runtime.errors import BvxError, PlanError
from .layout import UNSAFE

__all__ = ["Interrupted", "Unexpected", "describe_error", "explain", "to_json", "to_plain"]

_MODULES = {
    "export": ("torch", "transformers", "onnx", "onnx_ir", "onnxscript", "huggingface_hub", "sentencepiece", "google"),
    "cpu": ("onnxruntime",),
    "cli": ("rich",),
}
"""Extra -> the modules that it brings."""


_MENDING = {
    errno.ENOSPC: "Free some space, or choose a place with more.",
    errno.EDQUOT: "Free some space, or choose a place with more.",
    errno.EFBIG: "Raise the limit that is set here (`ulimit -f` shows it), or choose another filesystem.",
    errno.EACCES: "Choose a place that you may use, or ask for the rights.",
    errno.EPERM: "Choose a place that you may use, or ask for the rights.",
    errno.ENOENT: "Check its name; a relative one begins in the folder that you are in.",
    errno.EISDIR: "Name a file.",
    errno.ENOTDIR: "Check its name: a part of it is a file where a folder is wanted.",
    errno.EROFS: "Choose a place that you may write to.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.EMFILE: "Raise the limit that is set here (`ulimit -n` shows it).",
}
_ANY_MENDING = "Mend that, and try again."


class Interrupted(BvxError):
    exit_code = 128 + 2


class Unexpected(BvxError):
    """Whatever is no BvxError: a fault of bvx, or of what it stands on."""


def explain(error: BaseException) -> BvxError:
    """The words for any error: its own, those of a mistyped command, a missing extra, or how to report the rest."""
    if isinstance(error, BvxError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Interrupted("Interrupted.")
    if hasattr(error, "format_message"):
        # What the command line's parser raises; its classes have moved between versions, this method has not.
        context = getattr(error, "ctx", None)
        command = getattr(context, "command_path", "bvx")
        message = error.format_message().rstrip(".")
        return PlanError(message if message.endswith("?") else f"{message}.", f"See `{command} --help`.")
    if isinstance(error, ModuleNotFoundError) and error.name:
        for extra, modules in _MODULES.items():
            if error.name.partition(".")[0] in modules:
                return BvxError(
                    f"This needs {error.name.partition('.')[0]}, which is not installed.",
                    f"Install it with `pip install bvx[{extra}]`.",
                )
    if isinstance(error, OSError) and error.strerror:
        where = f" ({error.filename})" if error.filename else ""
        return BvxError(f"The system says: {error.strerror}{where}.", _MENDING.get(error.errno or 0, _ANY_MENDING))
    words = " ".join(str(error).split())[:500]
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "allocate memory" in words):
        # PyTorch has no kind of its own for it (c10/core/impl/alloc_cpu.cpp).
        return BvxError(
            f"The memory does not suffice{f' ({words})' if words else ''}.",
            "`bvx doctor` shows how much there is; free some, or use a machine with more.",
        )
    return Unexpected(
        f"bvx met what it did not expect: {type(error).__name__}{f': {words}' if words else ''}.",
        "Please report it, with what `bvx doctor` says and the traceback that BVX_DEBUG=1 shows.",
    )


def to_json(document: Mapping[str, Any], *, ascii_only: bool = False) -> str:
    """`document` on one line. A number that JSON does not have (NaN, infinity) becomes null.

    What a terminal would obey instead of showing it, or a reader take for the line's end, is written as an escape.
    """
    try:
        text = json.dumps(document, ensure_ascii=ascii_only, allow_nan=False)
    except ValueError:
        text = json.dumps(_without_undefined(document), ensure_ascii=ascii_only, allow_nan=False)
    return UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def to_plain(value: Any) -> Any:
    """`value` with every array as nested lists."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return {name: to_plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return value


def describe_error(error: BvxError) -> dict[str, Any]:
    """What --json shows of an error, under "error"."""
    return {
        "kind": type(error).__name__,
        "cause": error.cause,
        "next_step": error.next_step,
        "exit_code": error.exit_code,
    }


def _without_undefined(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {name: _without_undefined(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_undefined(item) for item in value]
    return value
