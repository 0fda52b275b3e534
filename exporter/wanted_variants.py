"""Which variants of a bundle a command works on: those for a target, or of them the precisions that were typed."""

from __future__ import annotations

from collections.abc import Sequence

from ..runtime.bundle import Bundle
from ..runtime.errors import BundleError
from ..runtime.manifest import Variant

__all__ = ["find_wanted"]


def find_wanted(bundle: Bundle, precision: str | None, target: str) -> Sequence[Variant]:
    """The variants for `target` that did not fail, and whose precision is in `precision`, "int8,fp16"; None: all.

    Raises BundleError where there is none, or one that is named is missing.
    """
    wanted = [name.strip() for name in (precision or "").split(",") if name.strip()]
    able = [one for one in bundle.manifest.variants if one.target == target and one.state != "failed"]
    missing = [name for name in wanted if name not in {variant.precision for variant in able}]
    if not able or missing:
        there = ", ".join(variant.key for variant in bundle.manifest.variants)
        lacking = ", ".join(f"{name}/{target}" for name in missing) or f"variant for {target}"
        raise BundleError(
            f"{bundle.root} has no {lacking}. It has: {there}.",
            f"Export again with `--target {target}` and the --precision that you need.",
        )
    return [variant for variant in able if not wanted or variant.precision in wanted]
