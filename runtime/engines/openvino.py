"""OpenVINO on the CPU: the only door to openvino.

It runs the same ONNX files as ONNX Runtime. Which of the two is faster depends on the processor: `bvx bench BUNDLE
--engine onnxruntime,openvino` measures it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from numpy.typing import NDArray

from ..errors import BundleError, BvxError, EngineMismatch
from ..forks import keep_for_ever, watch_forks
from ..manifest import TensorSpec, Variant

__all__ = ["OpenVinoEngine", "open_session"]

_OLDEST = (2026, 0)
"""The first year whose ONNX frontend was measured with opset 23's Attention."""

_DTYPES = {"f32": "float32", "f64": "float64", "f16": "float16", "bf16": "bfloat16", "boolean": "bool"}
"""OpenVINO's short names of element types; integers are i64 or u8."""

_INSTALL = "Install it with `pip install bvx[openvino]`."


class OpenVinoEngine:
    """A compiled model that any number of threads may run; there is one stream, so that runs wait for each other.

    Each run has an infer request of its own, which takes 9 microseconds to make: its outputs are then nobody else's,
    and need no copy.
    """

    name = "openvino"

    def __init__(self, compiled: Any, version: str, threads: int) -> None:
        self.version = version
        self.threads = threads
        self.inputs = tuple(_spec(port) for port in compiled.inputs)
        self.outputs = tuple(_spec(port) for port in compiled.outputs)
        self._compiled = compiled
        self._process = os.getpid()
        self._turn = Lock()
        watch_forks(self)

    def run(self, feeds: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """The outputs called `outputs` (all of them when None) for `feeds`, whose shapes are one [batch, length].

        Raises EngineMismatch for whatever stops the graph. OpenVINO itself does not look at ids: one outside its table
        picks what lies there.
        """
        compiled = self._compiled
        if compiled is None:
            raise EngineMismatch("This model was closed.", "Load the bundle again.")
        if os.getpid() != self._process:
            # Its threads did not survive the fork, and which of them a run waits for is OpenVINO's secret.
            raise EngineMismatch("This model was loaded before the process forked.", "Load it in each child.")
        _check(feeds, self.inputs, self.version)
        names = [spec.name for spec in self.outputs]
        try:
            with self._turn:
                values = compiled.create_infer_request().infer(dict(feeds), share_inputs=True, share_outputs=True)
                # Without this a model keeps what its largest batch took. It is refused while another run is going on.
                compiled.release_memory()
        except Exception as error:
            raise _explain_run(error, feeds, self.version) from error
        found = dict(zip(names, values.values(), strict=True))
        return found if outputs is None else {name: found[name] for name in outputs}

    def close(self) -> None:
        if os.getpid() != self._process:
            self.outlive_fork()
        self._compiled = None

    def outlive_fork(self) -> None:
        """Never release the model in this forked child: that would wait for ever for threads that are not there."""
        if self._compiled is not None:
            keep_for_ever(self._compiled)


def open_session(path: Path, variant: Variant, threads: int, spin: bool) -> OpenVinoEngine:
    """Load the ONNX file at `path` on `threads` threads. OpenVINO's threads never spin; `spin` changes nothing.

    The engine options of a variant for the CPU are what ONNX Runtime has to be told, and mean nothing here. Raises
    EngineMismatch when openvino is missing, too old or cannot run the graph, BundleError when the file is damaged.
    """
    openvino, version = _import_openvino()
    try:
        # Only this frontend is asked: OpenVINO would try every other one on a damaged file, and print what they say.
        frontend = openvino.frontend.FrontEndManager().load_by_framework("onnx")
        model = frontend.convert(frontend.load(str(path)))
    except Exception as error:
        raise _explain_load(error, path, version) from error
    if not model.outputs:
        raise BundleError(f"openvino {version} finds no graph in {path}.", "Export the bundle again.")
    try:
        compiled = openvino.Core().compile_model(model, "CPU", _properties(openvino, threads))
    except Exception as error:
        raise _explain_load(error, path, version) from error
    return OpenVinoEngine(compiled, version, threads)


def _import_openvino() -> tuple[Any, str]:
    try:
        import openvino
        import openvino.frontend
        import openvino.properties.hint
    except ModuleNotFoundError as error:
        raise EngineMismatch("openvino is not installed.", _INSTALL) from error
    except ImportError as error:
        raise EngineMismatch(f"openvino is installed but cannot be imported ({error}).", "Reinstall it.") from error
    version = str(getattr(openvino, "__version__", "")).partition("-")[0]
    found = re.match(r"(\d+)\.(\d+)", version)
    if not found or (int(found[1]), int(found[2])) < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        raise EngineMismatch(
            f"openvino is {version or 'of no known version'}; wanted {oldest} or later.",
            "Upgrade: `pip install -U bvx[openvino]`.",
        )
    return openvino, version


def _properties(openvino: Any, threads: int) -> dict[str, Any]:
    properties, hint = openvino.properties, openvino.properties.hint
    return {
        properties.inference_num_threads(): threads,
        properties.num_streams(): 1,
        hint.performance_mode(): hint.PerformanceMode.LATENCY,
        # Where the processor has bf16, OpenVINO would compute fp32 graphs in it, and be 0.01 off.
        hint.inference_precision(): openvino.Type.f32,
        # Ranges of activations that are found at run time make an answer depend on what else is in the batch.
        hint.dynamic_quantization_group_size(): 0,
        # Every process of a machine would pin its threads to the same first cores.
        hint.enable_cpu_pinning(): False,
    }


def _spec(port: Any) -> TensorSpec:
    """One of a model's inputs or outputs. OpenVINO keeps no names of axes: a dynamic one is "?"."""
    kind = port.get_element_type().get_type_name()
    dtype = _DTYPES.get(kind) or re.sub(r"^([iu])(\d+)$", lambda m: f"{'u' * (m[1] == 'u')}int{m[2]}", kind)
    shape = tuple(axis.get_length() if axis.is_static else "?" for axis in port.get_partial_shape())
    return TensorSpec(port.get_any_name(), dtype, shape)


def _check(feeds: Mapping[str, NDArray[Any]], inputs: Sequence[TensorSpec], version: str) -> None:
    """Refuse what OpenVINO would compute something from: a missing input, or one of another shape or dtype."""
    missing = [spec.name for spec in inputs if spec.name not in feeds]
    strange = [spec.name for spec in inputs if spec.name in feeds and str(feeds[spec.name].dtype) != spec.dtype]
    shapes = {array.shape for array in feeds.values()}
    if missing or strange or len(shapes) != 1 or len(feeds) != len(inputs):
        wanted = ", ".join(f"{spec.name} {spec.dtype}" for spec in inputs)
        raise EngineMismatch(
            f"openvino {version} failed on {_show(feeds)}: wanted {wanted} of one shape.",
            "Use `model.run`, which fills in and converts.",
        )


def _show(feeds: Mapping[str, NDArray[Any]]) -> str:
    return ", ".join(f"{name} {list(array.shape)}" for name, array in feeds.items())


def _explain_load(error: Exception, path: Path, version: str) -> BvxError:
    said = str(error)
    if _is_memory(error):
        return EngineMismatch(f"There is not enough memory for {path}: {_brief(said)}.", "Give the process more.")
    if any(words in said for words in ("Could not open the file", "cannot be parsed", "parse", "external data")):
        return BundleError(f"openvino {version} cannot read {path}: {_brief(said)}.", "Export the bundle again.")
    return EngineMismatch(
        f"openvino {version} cannot run {path}: {_brief(said)}.", "Upgrade it: `pip install -U bvx[openvino]`."
    )


def _explain_run(error: Exception, feeds: Mapping[str, NDArray[Any]], version: str) -> BvxError:
    step = "Run smaller batches." if _is_memory(error) else "`bvx verify` shows whether the bundle works here."
    return EngineMismatch(f"openvino {version} failed on {_show(feeds)}: {_brief(str(error))}.", step)


def _is_memory(error: Exception) -> bool:
    said = str(error).lower()
    return isinstance(error, MemoryError) or any(
        words in said for words in ("bad_alloc", "bad allocation", "allocate", "out of memory")
    )


def _brief(said: str) -> str:
    """The engine's own words without the places in its source, on one line."""
    text = " ".join(re.sub(r"Exception from \S+:\s*", "", said).split())
    return text[:400].rstrip(".: ")
