"""What the command line gives to programs: one JSON document, valid whatever is in it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from ..runtime.errors import BvxError

__all__ = ["describe_error", "to_json", "to_plain"]


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
