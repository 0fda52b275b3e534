"""The engines that run a graph: one file each, imported when chosen. A new one is a file and a line in ENGINES."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from ..errors import EngineMismatch, FallbackWarning
from ..manifest import TensorSpec, Variant

__all__ = [
    "ENGINES",
    "ORDER",
    "SHORT_NAMES",
    "Candidate",
    "Engine",
    "EngineEntry",
    "find_engine",
    "list_candidates",
    "open_engine",
    "settle",
]


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

    `library` is the module of other people that it drives, and `part` a file in its folder that it needs, where
    distributions with and without it share the module's name. `extra` is what installs it.
    """

    module: str
    targets: tuple[str, ...]
    library: str
    extra: str
    part: str = ""

    @property
    def is_installed(self) -> bool:
        """Whether there is something to import, which is not tried."""
        spec = find_spec(self.library)
        if spec is None or not self.part:
            return spec is not None
        return any(list(Path(folder).glob(self.part)) for folder in spec.submodule_search_locations or ())


ENGINES: Mapping[str, EngineEntry] = {
    "onnxruntime": EngineEntry("ort", ("cpu",), "onnxruntime", "cpu"),
    "openvino": EngineEntry("openvino", ("cpu",), "openvino", "openvino"),
    "onnxruntime-cuda": EngineEntry("ort_cuda", ("cuda",), "onnxruntime", "cuda", "capi/*onnxruntime_providers_cuda*"),
    "tensorrt": EngineEntry("tensorrt", ("tensorrt",), "tensorrt", "tensorrt"),
    "tensorrt-rtx": EngineEntry("tensorrt_rtx", ("tensorrt",), "tensorrt_rtx", "tensorrt-rtx"),
}
"""Every engine by name; of those for one target, `auto` takes the first that can serve here.

For the processor onnxruntime stands first: in fp32 the two are within a few percent of each other, and it loads and
forks more kindly (docs/cpu.md has the figures). tensorrt stands before tensorrt-rtx, which does not know every GPU.
"""

ORDER = ("tensorrt", "cuda", "cpu")
"""The targets as `auto` goes through them: a bundle that was made for a GPU is served by one where that is possible."""

SHORT_NAMES = {"ort": "onnxruntime", "ort-cuda": "onnxruntime-cuda"}


@dataclass(frozen=True)
class Candidate:
    """An engine that serves `target`, and why it cannot do so on this machine: None where nothing is known against it.

    Whether its library works and has what it needs for one bundle is known when the bundle is opened.
    """

    engine: str
    target: str
    obstacle: EngineMismatch | None = None


def list_candidates(targets: Sequence[str]) -> Iterator[Candidate]:
    """Every engine for `targets`, those of a bundle, best first. CUDA is asked for a GPU where an engine wants one."""
    for target in ORDER:
        for engine, entry in ENGINES.items():
            if target in targets and target in entry.targets:
                yield Candidate(engine, target, _find_obstacle(engine, target))


def find_engine(name: str, targets: Sequence[str], strict: bool = False) -> tuple[str, str]:
    """The engine called `name` (or "auto"), and which of `targets`, those of a bundle, it serves.

    For "auto" the first of `list_candidates` that has no obstacle; see `settle` for what is said of the others. Raises
    EngineMismatch, listing the known engines, or the bundle's targets.
    """
    name = SHORT_NAMES.get(name, name)
    if name != "auto" and name not in ENGINES:
        raise EngineMismatch(f"There is no engine {name!r}.", f"Choose one of: auto, {', '.join(ENGINES)}.")
    if name == "auto":
        choices = list(list_candidates(targets))
        for number, choice in enumerate(choices):
            if choice.obstacle is None:
                settle(choice, choices[:number], strict)
                return choice.engine, choice.target
        if choices:
            return choices[0].engine, choices[0].target  # Opening it says what is missing.
    else:
        for target in ENGINES[name].targets:
            if target in targets:
                return name, target
    candidates = tuple(ENGINES) if name == "auto" else (name,)
    serve = "; ".join(f"{candidate} serves {', '.join(ENGINES[candidate].targets)}" for candidate in candidates)
    raise EngineMismatch(
        f"This bundle was made for {', '.join(targets) or 'no target'}, and {serve}.",
        "Export again with a --target that is served here, or choose another engine.",
    )


def settle(choice: Candidate, passed: Sequence[Candidate], strict: bool) -> None:
    """Warn (FallbackWarning), or with `strict` raise EngineMismatch, when `choice` is for another target than `passed`.

    `passed` are the better ones that cannot be taken, each with its obstacle. Another engine for the same target
    computes the same variant where it was meant to run, and nothing is said of it.
    """
    others = [one for one in passed if one.target != choice.target and one.obstacle is not None]
    if not others:
        return
    why = " ".join(dict.fromkeys(str(one.obstacle) for one in others))
    if strict:
        raise EngineMismatch(
            f"The bundle was made for {others[0].target}, and only {choice.engine}, for {choice.target}, can serve "
            f"here, which strict forbids. {why}"
        )
    warnings.warn(
        f"{choice.engine} serves this bundle on {choice.target} instead of {others[0].engine} on {others[0].target}. "
        f'{why} (engine="{choice.engine}" chooses it without this warning; strict forbids it.)',
        FallbackWarning,
        stacklevel=2,
    )


def _find_obstacle(engine: str, target: str) -> EngineMismatch | None:
    entry = ENGINES[engine]
    if not entry.is_installed:
        return EngineMismatch(f"{engine} is not installed.", f"`pip install bvx[{entry.extra}]`.")
    if target == "cpu":
        return None
    from .cuda import open_cuda

    try:
        open_cuda()
    except EngineMismatch as error:
        return error
    return None


def open_engine(name: str, model_path: Path, variant: Variant, threads: int, spin: bool) -> Engine:
    """Load the graph of `variant`, which lies in `model_path`, into the engine called `name`, a key of ENGINES.

    Raises EngineMismatch when the engine is not installed, too old or cannot serve the variant, and BundleError when
    the file is damaged.
    """
    module = import_module(f".{ENGINES[name].module}", __name__)
    engine: Engine = module.open_session(model_path, variant, threads, spin)
    return engine
