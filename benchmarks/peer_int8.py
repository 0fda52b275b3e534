"""One model quantised by one other tool, answering arrays; run by the peers' Python, spoken to by peer_engine.py.

    python benchmarks/peer_int8.py METHOD CHECKPOINT TASK FALLBACK CALIBRATION.npz WORK

METHOD is optimum-fp32, optimum-dynamic, ort-static or nncf. The fp32 graph is Optimum's export of CHECKPOINT for TASK,
or the file FALLBACK where Optimum has no such task. CALIBRATION holds `<input>.<number>`, int64 [batch, length].
It says "ready", with the size of its file and who made the fp32 graph, and then answers each .npz on standard input
with one on standard output; before each stands its length in bytes, eight of them, little-endian.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Feeds = dict[str, np.ndarray]
Run = Callable[[Feeds], Feeds]


def main() -> None:
    method, checkpoint, task, fallback, calibration, work = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not stand between the answers
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    folder = Path(work)
    graph, origin = export(Path(checkpoint), task, Path(fallback), folder)
    run, size = METHODS[method](graph, list(read_calibration(Path(calibration))), folder)
    answers.write(f"ready {size} {origin}\n".encode())
    answers.flush()
    while head := sys.stdin.buffer.read(8):
        feeds = dict(np.load(io.BytesIO(sys.stdin.buffer.read(int.from_bytes(head, "little")))))
        buffer = io.BytesIO()
        np.savez(buffer, **run(feeds))
        answers.write(len(buffer.getvalue()).to_bytes(8, "little") + buffer.getvalue())
        answers.flush()


def export(checkpoint: Path, task: str, fallback: Path, work: Path) -> tuple[Path, str]:
    """The fp32 graph that is quantised, and who made it."""
    from optimum.exporters.onnx import main_export

    try:
        main_export(
            str(checkpoint),
            output=work / "optimum",
            task=task,
            library_name="transformers",
            device="cpu",
            do_validation=False,
        )
    except Exception as error:  # noqa: BLE001 - it has no kind of its own for a task that it does not know
        print(f"Optimum cannot export {task} of {checkpoint}: {error}", file=sys.stderr)
        return fallback, "bvx"
    return work / "optimum" / "model.onnx", "optimum"


def read_calibration(path: Path) -> Iterator[Feeds]:
    arrays = np.load(path)
    numbers = sorted({int(name.rpartition(".")[2]) for name in arrays.files})
    for number in numbers:
        yield {name.rpartition(".")[0]: arrays[name] for name in arrays.files if name.rpartition(".")[2] == str(number)}


def run_onnx(path: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    known = {item.name for item in session.get_inputs()}
    names = [item.name for item in session.get_outputs()]

    def run(feeds: Feeds) -> Feeds:
        given = {name: array for name, array in feeds.items() if name in known}
        return dict(zip(names, session.run(names, given), strict=True))

    return run


def fp32(graph: Path, calibration: list[Feeds], work: Path) -> tuple[Run, int]:
    return run_onnx(graph), graph.stat().st_size


def optimum_dynamic(graph: Path, calibration: list[Feeds], work: Path) -> tuple[Run, int]:
    """`optimum-cli onnxruntime quantize` with the configuration for this processor, as its documentation shows it."""
    from optimum.onnxruntime import ORTQuantizer
    from optimum.onnxruntime.configuration import AutoQuantizationConfig

    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    config = AutoQuantizationConfig.avx512_vnni if "avx512_vnni" in flags else AutoQuantizationConfig.avx2
    quantizer = ORTQuantizer.from_pretrained(graph.parent, file_name=graph.name)
    quantizer.quantize(save_dir=work / "dynamic", quantization_config=config(is_static=False, per_channel=False))
    (path,) = (work / "dynamic").glob("*.onnx")
    return run_onnx(path), path.stat().st_size


def ort_static(graph: Path, calibration: list[Feeds], work: Path) -> tuple[Run, int]:
    """onnxruntime.quantization.quantize_static as it is by default: Q/DQ, min-max, per tensor; MatMul and Gemm only."""
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            import onnxruntime

            session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
            known = {item.name for item in session.get_inputs()}
            self.batches = iter([{n: a for n, a in feeds.items() if n in known} for feeds in calibration])

        def get_next(self) -> Any:
            return next(self.batches, None)

    path = work / "static.onnx"
    vnni = "avx512_vnni" in Path("/proc/cpuinfo").read_text()
    quantization.quantize_static(
        str(graph),
        str(path),
        Reader(),
        op_types_to_quantize=["MatMul", "Gemm"],
        # Without VNNI full-range int8 weights saturate (onnxruntime's documentation of quantization, "reduce_range").
        reduce_range=not vnni,
        extra_options={"DefaultTensorType": 1},
    )
    return run_onnx(path), path.stat().st_size


def nncf_static(graph: Path, calibration: list[Feeds], work: Path) -> tuple[Run, int]:
    """OpenVINO's own way: nncf.quantize for transformers, with its SmoothQuant and bias correction."""
    import nncf
    import openvino

    model = openvino.Core().read_model(graph)
    known = {item.get_any_name() for item in model.inputs}
    batches = [{n: a for n, a in feeds.items() if n in known} for feeds in calibration]
    quantized = nncf.quantize(
        model, nncf.Dataset(batches), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(batches)
    )
    openvino.save_model(quantized, work / "nncf.xml", compress_to_fp16=False)
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = openvino.Core().compile_model(quantized, "CPU", settings)
    names = [item.get_any_name() for item in quantized.outputs]

    def run(feeds: Feeds) -> Feeds:
        found = compiled({name: array for name, array in feeds.items() if name in known})
        return {name: np.array(found[index]) for index, name in enumerate(names)}

    return run, (work / "nncf.bin").stat().st_size


METHODS = {
    "optimum-fp32": fp32,
    "optimum-dynamic": optimum_dynamic,
    "ort-static": ort_static,
    "nncf": nncf_static,
}

if __name__ == "__main__":
    main()
