"""The engines that run a graph: one file each, imported when chosen. A new one is a file and a line in ENGINES."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from ..errors import EngineMismatch
from ..manifest import TensorSpec, Variant

__all__ = ["ENGINES", "SHORT_NAMES", "Engine", "EngineEntry", "find_engine", "open_engine"]


class Engine(Protocol):
    """One graph, loaded and ready. Any number of threads may call `run` at once.

    `inputs` and `outputs` are what the graph says of its own: dtypes as NumPy names them where it has them, and an
    empty shape where the graph says none.
    """

    name: str
    version: str
    threads: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def run(self, feeds: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """The outputs called `outputs` (all of them when None) for `feeds`. Raises EngineMismatch, InputError."""

    def close(self) -> None:
        """Give the memory back. A second call does nothing."""


@dataclass(frozen=True)
class EngineEntry:
    """Where an engine is: its `module` in this folder has `open_session(path, variant, threads, spin) -> Engine`.

    `library` is the module of other people that it drives.
    """

    module: str
    targets: tuple[str, ...]
    library: str

    @property
    def is_installed(self) -> bool:
        """Whether there is something to import, which is not tried."""
        return find_spec(self.library) is not None


ENGINES: Mapping[str, EngineEntry] = {
    "onnxruntime": EngineEntry("ort", ("cpu",), "onnxruntime"),
    "openvino": EngineEntry("openvino", ("cpu",), "openvino"),
    "tensorrt": EngineEntry("tensorrt", ("tensorrt",), "tensorrt"),
    "tensorrt-rtx": EngineEntry("tensorrt_rtx", ("tensorrt",), "tensorrt_rtx"),
}
"""Every engine by name. `auto` takes the first that is installed and serves a target which the bundle has.

onnxruntime stands first: in fp32 the two are within a few percent of each other, and it loads and forks more kindly
(docs/cpu.md has the figures).
"""

SHORT_NAMES = {"ort": "onnxruntime"}


def find_engine(name: str, targets: Sequence[str]) -> tuple[str, str]:
    """The engine called `name` (or "auto"), and which of `targets`, those of a bundle, it serves.

    Raises EngineMismatch, listing the known engines, or the bundle's targets.
    """
    name = SHORT_NAMES.get(name, name)
    if name != "auto" and name not in ENGINES:
        raise EngineMismatch(f"There is no engine {name!r}.", f"Choose one of: auto, {', '.join(ENGINES)}.")
    installed = tuple(engine for engine, entry in ENGINES.items() if entry.is_installed)
    candidates = (installed or tuple(ENGINES)) if name == "auto" else (name,)
    for candidate in candidates:
        for target in ENGINES[candidate].targets:
            if target in targets:
                return candidate, target
    serve = "; ".join(f"{candidate} serves {', '.join(ENGINES[candidate].targets)}" for candidate in candidates)
    raise EngineMismatch(
        f"This bundle was made for {', '.join(targets) or 'no target'}, and {serve}.",
        "Export again with a --target that is served here, or choose another engine.",
    )


def open_engine(name: str, model_path: Path, variant: Variant, threads: int, spin: bool) -> Engine:
    """Load the graph of `variant`, which lies in `model_path`, into the engine called `name`, a key of ENGINES.

    Raises EngineMismatch when the engine is not installed, too old or cannot serve the variant, and BundleError when
    the file is damaged.
    """
    module = import_module(f".{ENGINES[name].module}", __name__)
    engine: Engine = module.open_session(model_path, variant, threads, spin)
    return engine
