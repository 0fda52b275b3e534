"""What the command line gives to programs: one JSON document, valid whatever is in it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from ..runtime.errors import BvxError, PlanError

__all__ = ["Interrupted", "Unexpected", "describe_error", "explain", "to_json", "to_plain"]

_MODULES = {
    "export": ("torch", "transformers", "onnx", "onnx_ir", "onnxscript", "huggingface_hub", "sentencepiece", "google"),
    "cpu": ("onnxruntime",),
    "cli": ("rich",),
}
"""Extra -> the modules that it brings."""


class Interrupted(BvxError):
    exit_code = 128 + 2


class Unexpected(BvxError):
    """Whatever is no BvxError: a fault of bvx, or of what it stands on."""


def explain(error: BaseException) -> BvxError:
    """The words for any error: its own, those of a mistyped command, a missing extra, or how to report the rest."""
    if isinstance(error, BvxError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Interrupted("Interrupted; nothing was written.")
    if hasattr(error, "format_message"):
        # What the command line's parser raises; its classes have moved between versions, this method has not.
        context = getattr(error, "ctx", None)
        command = getattr(context, "command_path", "bvx")
        return PlanError(f"{error.format_message().rstrip('.')}.", f"See `{command} --help`.")
    if isinstance(error, ModuleNotFoundError) and error.name:
        for extra, modules in _MODULES.items():
            if error.name.partition(".")[0] in modules:
                return BvxError(
                    f"This needs {error.name.partition('.')[0]}, which is not installed.",
                    f"Install it with `pip install bvx[{extra}]`.",
                )
    if isinstance(error, OSError) and error.strerror:
        where = f" ({error.filename})" if error.filename else ""
        return BvxError(f"The system says: {error.strerror}{where}.", "Mend that, and try again.")
    words = " ".join(str(error).split())[:500]
    return Unexpected(
        f"bvx met what it did not expect: {type(error).__name__}{f': {words}' if words else ''}.",
        "Please report it, with what `bvx doctor` says and the traceback that BVX_DEBUG=1 shows.",
    )


def to_json(document: Mapping[str, Any], *, ascii_only: bool = False) -> str:
    """`document` on one line. A number that JSON does not have (NaN, infinity) becomes null."""
    try:
        return json.dumps(document, ensure_ascii=ascii_only, allow_nan=False)
    except ValueError:
        return json.dumps(_without_undefined(document), ensure_ascii=ascii_only, allow_nan=False)


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
