"""The builder: one path through TensorRT 10.3 to 11 and TensorRT-RTX. Precision is in the graph, never in a flag."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir

from ...runtime.errors import EngineBuildError
from ...runtime.manifest import Profile
from ..checker import check
from ..checker.operators import ATTENTION_SINCE
from ..progress import Progress, Silent
from .audit import Audit, audit_layers, expect
from .layers import Layer, read_inspector, read_log
from .library import Library, open_library
from .older import readable
from .options import BuildOptions
from .watch import Record, make_logger, make_monitor

__all__ = ["Plan", "build_plan"]


@dataclass(frozen=True, eq=False)
class Plan:
    """A finished plan: its bytes, what it was built with and for, and what the audit found. `seconds` of building."""

    data: bytes
    engine: str
    version: str
    gpus: tuple[str, ...]
    profiles: tuple[Profile, ...]
    compatible: tuple[str, ...]
    audit: Audit
    seconds: float


def build_plan(
    path: Path, precision: str, options: BuildOptions, progress: Progress | None = None, library: Library | None = None
) -> Plan:
    """Build the ONNX file at `path`, whose label is `precision`, into an audited plan.

    For a TensorRT whose parser does not read Attention it is taken apart; the file at `path` stays as it is.
    Ctrl-C ends the build at the builder's next step. Raises PlanError for contradictory options, and EngineBuildError
    with the rule, the builder's own words or the audit's finding.
    """
    options.check()
    model = ir.load(path)
    _check_rules(model, path)
    library = library or open_library(options.engine)
    began = time.monotonic()
    with readable(path, model, library.reads) as source:
        if source != path:
            _check_rules(model, path, library.reads)
        data, layers = _build(source, options, library, progress or Silent())
    audit = audit_layers(layers, expect(model, precision))
    here = (library.gpu.architecture,) if library.gpu else options.architectures
    compatible = [name for name in ("version", "hardware") if getattr(options, f"{name}_compatible")]
    return Plan(
        data,
        options.engine,
        library.version,
        here,
        options.profiles,
        tuple(compatible),
        audit,
        time.monotonic() - began,
    )


def _check_rules(model: ir.Model, path: Path, version: tuple[int, int] = ATTENTION_SINCE) -> None:
    refused = [finding for finding in check(model, version=version) if finding.severity == "refused"]
    if refused:
        first = refused[0]
        more = f" There are {len(refused) - 1} findings more: `bvx inspect {path} --check tensorrt`."
        raise EngineBuildError(
            f"TensorRT would refuse {path.name} ({first.rule}): at {first.node}: {first.reason}",
            first.remedy + (more if len(refused) > 1 else ""),
        )


def _build(path: Path, options: BuildOptions, library: Library, progress: Progress) -> tuple[bytes, Sequence[Layer]]:
    """The plan's bytes and its layers. Everything that NVIDIA's objects need to outlive them is a local of this."""
    trt, record, stopped = library.trt, Record(), threading.Event()
    logger = make_logger(trt, record)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(path)):
        found = "; ".join(parser.get_error(number).desc() for number in range(parser.num_errors))
        raise _failed(library, path, found or "; ".join(record.errors))
    config = builder.create_builder_config()
    monitor = make_monitor(trt, progress, stopped)
    config.progress_monitor = monitor
    _configure(config, options, library)
    _add_profiles(builder, network, config, options.profiles)
    cache = _load_timing_cache(config, options)
    plan = _run_stoppable(lambda: builder.build_serialized_network(network, config), stopped)
    if plan is None:
        raise _failed(library, path, "; ".join(record.errors))
    data = bytes(plan)
    if cache is not None and options.timing_cache is not None:
        options.timing_cache.write_bytes(bytes(config.get_timing_cache().serialize()))
    layers = read_log(record.layers)
    return data, layers if layers or library.gpu is None else _inspect(trt, logger, data)


def _configure(config: Any, options: BuildOptions, library: Library) -> None:
    trt = library.trt
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.builder_optimization_level = options.optimization_level
    # It is on by default, and rounds what a user calls fp32.
    (config.set_flag if options.tf32 else config.clear_flag)(trt.BuilderFlag.TF32)
    if options.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace)
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if options.strip_weights:
        config.set_flag(trt.BuilderFlag.STRIP_PLAN)
    if options.engine == "tensorrt-rtx":
        names = [name.upper().replace("_", "") for name in options.architectures]
        config.num_compute_capabilities = len(names)
        for number, name in enumerate(names):
            config.set_compute_capability(getattr(trt.ComputeCapability, name), number)


def _add_profiles(builder: Any, network: Any, config: Any, profiles: Sequence[Profile]) -> None:
    """Each profile for every input: [batch, length] or, where only the batch is dynamic, [batch, …]."""
    inputs = [network.get_input(number) for number in range(network.num_inputs)]
    for wanted in profiles:
        profile = builder.create_optimization_profile()
        for tensor in inputs:
            shapes = [_fill(tuple(tensor.shape), size) for size in (wanted.min, wanted.opt, wanted.max)]
            profile.set_shape(tensor.name, *shapes)
        if not profile or config.add_optimization_profile(profile) < 0:
            raise EngineBuildError(f"TensorRT refuses the profile {wanted}.", "Choose another.")


def _fill(shape: tuple[int, ...], sizes: tuple[int, int]) -> tuple[int, ...]:
    rest = iter(sizes)
    return tuple(next(rest) if size == -1 else size for size in shape)


def _load_timing_cache(config: Any, options: BuildOptions) -> Any:
    if options.timing_cache is None:
        return None
    old = options.timing_cache.read_bytes() if options.timing_cache.exists() else b""
    cache = config.create_timing_cache(old)
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        # One of another version or GPU: timings begin anew, and replace it.
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, ignore_mismatch=False)
    return cache


def _run_stoppable(work: Any, stopped: threading.Event) -> Any:
    """What `work` returns, from a thread of its own: a signal that is raised inside NVIDIA's callbacks is lost there.

    An interruption sets `stopped`, waits until the builder has seen it, and goes on.
    """
    answers: list[Any] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(work())
        except BaseException as error:  # noqa: BLE001  it is raised again, in the thread that waits
            failures.append(error)

    thread = threading.Thread(target=run, name="bvx-build")
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.1)
    except BaseException:
        stopped.set()
        thread.join()
        raise
    if failures:
        raise failures[0]
    return answers[0]


def _inspect(trt: Any, logger: Any, data: bytes) -> Sequence[Layer]:
    """The layers as the engine inspector tells them; it needs a GPU."""
    runtime = trt.Runtime(logger)
    engine = runtime.deserialize_cuda_engine(data)
    if engine is None:
        return ()
    inspector = engine.create_engine_inspector()
    return read_inspector(inspector.get_engine_information(trt.LayerInformationFormat.JSON))


def _failed(library: Library, path: Path, words: str) -> EngineBuildError:
    words = " ".join(words.split())
    if "out of memory" in words.lower():
        step = "Give it a smaller --workspace or smaller profiles."
    else:
        step = f"`bvx inspect {path} --check tensorrt` knows its rules; please report what it does not find."
    return EngineBuildError(f"{library.engine} {library.version} cannot build {path.name}: {words[:600]}", step)
