"""ONNX Runtime on the CPU: the only door to onnxruntime, which the engine on CUDA shares."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..errors import BundleError, BvxError, EngineMismatch, InputError
from ..forks import keep_for_ever, watch_forks
from ..manifest import TensorSpec, Variant

__all__ = [
    "OrtEngine",
    "explain_load",
    "explain_run",
    "import_onnxruntime",
    "make_options",
    "open_session",
    "read_spec",
]

_OLDEST = (1, 24)
"""1.22 refuses opset 23, and 1.23 computes NaN for fully masked rows."""

_LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_LAYOUT", "ORT_ENABLE_ALL")
"""What engine_options may name as graph_optimization_level: members of onnxruntime.GraphOptimizationLevel."""

_DTYPES = {"float": "float32", "double": "float64"}
"""onnxruntime's names of element types where NumPy has others."""


class OrtEngine:
    """A graph in an onnxruntime.InferenceSession, which is safe to run from many threads."""

    name = "onnxruntime"

    def __init__(self, session: Any, version: str, threads: int) -> None:
        self.version = version
        self.threads = threads
        self.inputs = tuple(read_spec(item) for item in session.get_inputs())
        self.outputs = tuple(read_spec(item) for item in session.get_outputs())
        self._session = session
        self._process = os.getpid()
        watch_forks(self)

    def run(self, feeds: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """The outputs called `outputs` (all of them when None) for `feeds`.

        Raises InputError when an id lies outside its table, and EngineMismatch for whatever else stops the graph.
        """
        session = self._session
        if session is None:
            raise EngineMismatch("This model was closed.", "Load the bundle again.")
        if self.threads > 1 and os.getpid() != self._process:
            # The session's threads did not survive the fork: running would wait for them for ever.
            raise EngineMismatch("This model was loaded before the process forked.", "Load it in each child.")
        names = [spec.name for spec in self.outputs] if outputs is None else list(outputs)
        try:
            values = session.run(names, dict(feeds))
        except Exception as error:
            raise explain_run(error, feeds, self.version) from error
        return dict(zip(names, values, strict=True))

    def close(self) -> None:
        if os.getpid() != self._process:
            self.outlive_fork()
        self._session = None

    def outlive_fork(self) -> None:
        """Never release the session in this forked child: to release one is to wait for its threads to end.

        They did not survive the fork, so that would be for ever. A session on one thread has no others.
        """
        if self._session is not None and self.threads > 1:
            keep_for_ever(self._session)


def open_session(path: Path, variant: Variant, threads: int, spin: bool) -> OrtEngine:
    """Load the ONNX file at `path` with the options of `variant`, on `threads` threads.

    Raises EngineMismatch when onnxruntime is missing, too old or cannot run the graph, BundleError when the file is
    damaged or asks for options that are not known.
    """
    onnxruntime, version = import_onnxruntime()
    options, disabled = make_options(onnxruntime, variant, threads, spin)
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=disabled
        )
    except Exception as error:
        raise explain_load(error, path, version) from error
    return OrtEngine(session, version, threads)


def import_onnxruntime(extra: str = "cpu", oldest: tuple[int, int] = _OLDEST) -> tuple[Any, str]:
    """The module and its version. Raises EngineMismatch where it is missing, broken or too old; `extra` mends that."""
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        where = "CPU" if extra == "cpu" else "GPU"
        raise EngineMismatch(
            f"onnxruntime is not installed; it is the engine for the {where}.",
            f"Install it with `pip install bvx[{extra}]`.",
        ) from error
    except ImportError as error:
        raise EngineMismatch(f"onnxruntime is installed but cannot be imported ({error}).", "Reinstall it.") from error
    version = getattr(onnxruntime, "__version__", "")
    found = re.match(r"(\d+)\.(\d+)", version)
    if not found or not hasattr(onnxruntime, "InferenceSession"):
        # What is left when one of onnxruntime and onnxruntime-gpu is removed while both were installed.
        raise EngineMismatch("The installation of onnxruntime is incomplete.", "`bvx doctor` shows what is there.")
    if (int(found[1]), int(found[2])) < oldest:
        raise EngineMismatch(
            f"onnxruntime is {version}; wanted {'.'.join(map(str, oldest))} or later.",
            f"Upgrade: `pip install -U bvx[{extra}]`.",
        )
    return onnxruntime, version


def make_options(onnxruntime: Any, variant: Variant, threads: int, spin: bool) -> tuple[Any, list[str]]:
    """The session's options, and the optimisers to leave out. Raises BundleError for options that are not known."""
    asked = dict(variant.engine_options)
    disabled = asked.pop("disabled_optimizers", [])
    level = asked.pop("graph_optimization_level", "ORT_ENABLE_ALL")
    strings = isinstance(disabled, (list, tuple)) and all(isinstance(name, str) for name in disabled)
    if asked or not strings or level not in _LEVELS:
        raise BundleError(
            f"Variant {variant.key} has engine options that this bvx does not know: {dict(variant.engine_options)}.",
            "Upgrade bvx, or export the model again with this one.",
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
    options.log_severity_level = 3
    # The arena keeps whatever the largest batch ever took and costs a fifth more at its peak, and a memory pattern is
    # kept for every shape ever seen; without both, times stay within noise (MiniLM, 1x16 to 8x128) and memory falls
    # back after each run.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    return options, list(disabled)


def read_spec(item: Any) -> TensorSpec:
    """One of a session's inputs or outputs: an onnxruntime.NodeArg. An axis without a name is "?"."""
    kind = str(item.type)
    dtype = kind.removeprefix("tensor(").removesuffix(")")
    shape = tuple(axis if isinstance(axis, int) else str(axis or "?") for axis in item.shape)
    return TensorSpec(item.name, _DTYPES.get(dtype, dtype), shape)


def explain_load(error: Exception, path: Path, version: str, extra: str = "cpu") -> BvxError:
    """In words, why a session cannot be made of the file at `path`."""
    kind = type(error).__name__
    if kind in ("InvalidProtobuf", "NoSuchFile", "InvalidGraph", "NoModel"):
        return BundleError(f"onnxruntime {version} cannot read {path}: {_brief(error)}.", "Export the bundle again.")
    if _is_memory(error):
        return EngineMismatch(f"There is not enough memory for {path}: {_brief(error)}.", "Give the process more.")
    return EngineMismatch(
        f"onnxruntime {version} cannot run {path}: {_brief(error)}.", f"Upgrade it: `pip install -U bvx[{extra}]`."
    )


def explain_run(error: Exception, feeds: Mapping[str, NDArray[Any]], version: str) -> BvxError:
    """In words, why a run failed."""
    shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in feeds.items())
    if "out of data bounds" in str(error):
        return InputError(f"An id lies outside the model's table: {_brief(error)}.", "Use this model's own tokenizer.")
    step = "Run smaller batches." if _is_memory(error) else "`bvx verify` shows whether the bundle works here."
    return EngineMismatch(f"onnxruntime {version} failed on {shapes}: {_brief(error)}.", step)


def _is_memory(error: Exception) -> bool:
    said = str(error).lower()
    return isinstance(error, MemoryError) or any(
        words in said for words in ("bad_alloc", "bad allocation", "failed to allocate memory", "out of memory")
    )


def _brief(error: Exception) -> str:
    """The engine's own words without its prefix of codes, on one line."""
    text = " ".join(str(error).split())
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)[:400].rstrip(".")
