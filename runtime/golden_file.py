"""golden.safetensors: golden cases as tensors, with what is not a tensor in the file's metadata as JSON.

Tensors are called `<case number>/<part>/<name>`; docs/bundle.md lists the parts.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import BundleError
from .golden import GoldenCase, GoldenOutput
from .json_reader import JsonValue, parse_json

__all__ = ["read", "write"]

_KEY = "bvx.golden"
_LARGEST = 64 * 2**20
_FEWEST = 32
"""A sample of fewer values would prove little."""


def write(path: str | os.PathLike[str], cases: Sequence[GoldenCase], limit_bytes: int) -> None:
    """See golden.write_golden. Whole numbers that fit are stored as int32."""
    from safetensors.numpy import save

    share = 1.0
    while True:
        thinned = [_thin(case, share) for case in cases]
        content: bytes = save(_tensors(thinned), {_KEY: _describe(thinned)})
        if len(content) <= limit_bytes:
            break
        if share < 1e-4:
            raise BundleError(
                f"The golden values need {len(content):,} bytes, more than {limit_bytes:,}, at the smallest sample.",
                "Use fewer or smaller cases.",
            )
        # Inputs and names do not shrink with the samples, so one step rarely is the last.
        share *= min(0.9, limit_bytes / len(content))
    Path(path).write_bytes(content)


def read(path: str | os.PathLike[str]) -> tuple[GoldenCase, ...]:
    """See golden.read_golden."""
    from safetensors import SafetensorError, safe_open

    try:
        if Path(path).stat().st_size > _LARGEST:
            raise BundleError(f"{path} is too large to hold golden values.", "Export the bundle again.")
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    document = parse_json(metadata.get(_KEY, ""), f"{path} (metadata)")
    cases = document.get("cases").items()
    return tuple(_read_case(path, tensors, index, case) for index, case in enumerate(cases))


def _describe(cases: Sequence[GoldenCase]) -> str:
    described = [
        {
            "name": case.name,
            "inputs": list(case.inputs),
            "outputs": {
                name: {"shape": list(output.shape), "scale": output.scale} for name, output in case.outputs.items()
            },
            "found": list(case.found),
        }
        for case in cases
    ]
    return json.dumps({"cases": described}, allow_nan=False)


def _tensors(cases: Sequence[GoldenCase]) -> dict[str, NDArray[Any]]:
    tensors: dict[str, NDArray[Any]] = {}
    for index, case in enumerate(cases):
        for name, array in case.inputs.items():
            tensors[f"{index}/input/{name}"] = _narrow(array)
        for name, output in case.outputs.items():
            tensors[f"{index}/at/{name}"] = _narrow(output.at)
            tensors[f"{index}/reference/{name}"] = np.ascontiguousarray(output.reference, dtype=np.float32)
            tensors[f"{index}/rows/{name}"] = _narrow(output.rows)
            tensors[f"{index}/argmax/{name}"] = _narrow(output.argmax)
        for variant, values in case.found.items():
            for name, sampled in values.items():
                tensors[f"{index}/found/{variant}/{name}"] = np.ascontiguousarray(sampled, dtype=np.float32)
    return tensors


def _narrow(array: NDArray[Any]) -> NDArray[Any]:
    limits = np.iinfo(np.int32)
    fits = not array.size or (array.min() >= limits.min and array.max() <= limits.max)
    return np.ascontiguousarray(array, dtype=np.int32 if fits else np.int64)


def _thin(case: GoldenCase, share: float) -> GoldenCase:
    """`case` with this share of every sample, evenly spread, and never fewer than a few."""
    keep = {name: _spread(len(output.at), share) for name, output in case.outputs.items()}
    outputs = {}
    for name, output in case.outputs.items():
        rows = _spread(len(output.rows), share)
        outputs[name] = replace(
            output,
            at=output.at[keep[name]],
            reference=output.reference[keep[name]],
            rows=output.rows[rows],
            argmax=output.argmax[rows],
        )
    found = {
        variant: {name: array[keep[name]] for name, array in arrays.items()} for variant, arrays in case.found.items()
    }
    return replace(case, outputs=outputs, found=found)


def _spread(count: int, share: float) -> NDArray[np.int64]:
    kept = min(count, max(_FEWEST, int(count * share)))
    return np.arange(kept, dtype=np.int64) * count // max(kept, 1)


def _read_case(path: Any, tensors: dict[str, NDArray[Any]], index: int, value: JsonValue) -> GoldenCase:
    def take(part: str, name: str, whole: bool, length: int | None = None) -> NDArray[Any]:
        key = f"{index}/{part}/{name}"
        array = tensors.get(key)
        if array is None or array.dtype.kind != ("i" if whole else "f"):
            raise _damaged(path, f"the tensor {key} is missing or has another type")
        if length is not None and array.shape != (length,):
            raise _damaged(path, f"the tensor {key} has shape {list(array.shape)}, not [{length}]")
        return array.astype(np.int64 if whole else np.float32)

    outputs: dict[str, GoldenOutput] = {}
    for name, output in value.get("outputs").fields().items():
        at, rows = take("at", name, True), take("rows", name, True)
        outputs[name] = GoldenOutput(
            shape=tuple(item.integer() for item in output.get("shape").items()),
            at=at,
            reference=take("reference", name, False, at.size),
            scale=output.get("scale").number(),
            rows=rows,
            argmax=take("argmax", name, True, rows.size),
        )
        _check_output(path, name, outputs[name])
    variants = [item.text() for item in value.get("found").items()]
    return GoldenCase(
        name=value.get("name").text(),
        inputs={item.text(): take("input", item.text(), True) for item in value.get("inputs").items()},
        outputs=outputs,
        found={
            variant: {name: take(f"found/{variant}", name, False, output.at.size) for name, output in outputs.items()}
            for variant in variants
        },
    )


def _check_output(path: Any, name: str, output: GoldenOutput) -> None:
    """Positions out of range would pass or crash a check instead of failing it."""
    size = math.prod(output.shape)
    width = output.shape[-1] if output.shape else 1
    if (
        output.scale <= 0
        or not _all_below(output.at, size)
        or not _all_below(output.rows, size // max(width, 1))
        or not _all_below(output.argmax, width)
    ):
        raise _damaged(path, f"output {name!r} has a scale or positions that cannot be")


def _all_below(array: NDArray[np.int64], limit: int) -> bool:
    return array.ndim == 1 and (not array.size or (int(array.min()) >= 0 and int(array.max()) < limit))


def _damaged(path: Any, why: str) -> BundleError:
    return BundleError(f"{path} holds no readable golden values ({why}).", "Copy or export the bundle again.")
