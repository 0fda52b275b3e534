"""What people use instead, as contenders. Run by the interpreter of the environment that `make peers` makes.

Each gets the architecture in the bundle's config.json with random weights: a bundle has no checkpoint, and speed does
not depend on what the weights are. Tasks are those of the bundle where transformers has a class for it. `file` is any
ONNX file on ONNX Runtime, which bvx's own Python can run too.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from .serve import Feeds, Opened, Reader, Run, make_feeds

__all__ = ["open_tool", "quieten"]

_CLASSES = {
    "text-classification": "AutoModelForSequenceClassification",
    "text-ranking": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "question-answering": "AutoModelForQuestionAnswering",
    "multiple-choice": "AutoModelForSequenceClassification",
    "fill-mask": "AutoModelForMaskedLM",
}
_TASKS = {"text-ranking": "text-classification", "multiple-choice": "text-classification"}
_CALIBRATION_SAMPLES = 16


def quieten() -> None:
    """What the process of a tool needs once: no warnings, which nobody reads, and no network."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    os.environ["HF_HUB_OFFLINE"] = "1"


def open_tool(asked: Mapping[str, Any]) -> Opened:
    """Load `asked["tool"]`, or with `asked["prepare"]` write the files that it will load to the folder `work`.

    What makes files runs in a process of its own, so that its memory is not counted as the tool's.
    """
    work, tool = Path(asked["work"]), asked["tool"]
    names = tuple(asked["names"])
    if asked.get("prepare"):
        _PREPARE[tool](work, asked)
        return Opened(lambda feeds: None, names, asked["vocabulary"], {})
    run, engine, released = _OPEN[tool](work, asked)
    facts = {"engine": engine, "version": released, "longest": asked["longest"]}
    return Opened(run, names, asked["vocabulary"], facts, _open_reader(run, names, asked))


def _open_reader(run: Run, names: tuple[str, ...], asked: Mapping[str, Any]) -> Reader | None:
    """What reads texts with the bundle's tokenizer, in batches as they come, padded to the longest of the batch."""
    path = Path(asked.get("bundle", os.devnull)) / "tokenizer.json"
    if asked["tool"] == "torch-compile" or not path.is_file():
        return None  # Compiled for each shape, it would compile for every batch.
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.enable_truncation(asked["longest"])
    tokenizer.enable_padding(**asked["padding"])

    def tokenise(texts: list[str]) -> Feeds:
        found = tokenizer.encode_batch(texts)
        columns = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
        return {name: np.array([getattr(one, columns[name]) for one in found], np.int64) for name in names}

    def read(texts: list[str], size: int) -> dict[str, Any]:
        began = time.perf_counter()
        batches = [tokenise(texts[start : start + size]) for start in range(0, len(texts), size)]
        tokenised = time.perf_counter()
        for feeds in batches:
            run(feeds)
        ended = time.perf_counter()
        tokens = sum(int(feeds["attention_mask"].sum()) for feeds in batches)
        return {"tokenise": 1e3 * (tokenised - began), "whole": 1e3 * (ended - began), "tokens": tokens}

    return read


def _make_checkpoint(work: Path, asked: Mapping[str, Any]) -> Path:
    import torch
    import transformers

    folder = work / "checkpoint"
    if not folder.exists():
        torch.manual_seed(0)
        config = transformers.AutoConfig.from_pretrained(asked["bundle"])
        model = getattr(transformers, _CLASSES.get(asked["task"], "AutoModel")).from_config(config)
        part = folder.with_suffix(".part")
        model.save_pretrained(part)
        for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
            if (Path(asked["bundle"]) / name).exists():
                shutil.copy(Path(asked["bundle"]) / name, part)
        part.rename(folder)
    return folder


def _export(work: Path, asked: Mapping[str, Any]) -> Path:
    from optimum.exporters.onnx import main_export

    folder = work / "optimum"
    if not folder.exists():
        part = folder.with_suffix(".part")
        task = _TASKS.get(asked["task"], asked["task"] if asked["task"] in _CLASSES else "feature-extraction")
        main_export(str(_make_checkpoint(work, asked)), part, task=task, device="cpu", do_validation=False)
        part.rename(folder)
    return folder


def _quantise_dynamically(work: Path, asked: Mapping[str, Any]) -> None:
    from optimum.onnxruntime import ORTQuantizer
    from optimum.onnxruntime.configuration import AutoQuantizationConfig

    folder = _export(work, asked)
    cpuinfo = Path("/proc/cpuinfo")
    has_vnni = cpuinfo.exists() and "avx512_vnni" in cpuinfo.read_text()
    config = (AutoQuantizationConfig.avx512_vnni if has_vnni else AutoQuantizationConfig.avx2)(
        is_static=False, per_channel=False
    )
    ORTQuantizer.from_pretrained(folder, file_name="model.onnx").quantize(
        save_dir=work / "optimum-int8", quantization_config=config
    )


def _quantise_with_nncf(work: Path, asked: Mapping[str, Any]) -> None:
    import nncf
    import openvino

    model = openvino.Core().read_model(_export(work, asked) / "model.onnx")
    names = tuple(port.get_any_name() for port in model.inputs)
    # Random ids: how fast the result is does not depend on what it was calibrated on.
    samples = [make_feeds(names, 1, 16 + 4 * number, asked["vocabulary"]) for number in range(_CALIBRATION_SAMPLES)]
    found = nncf.quantize(model, nncf.Dataset(samples), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(samples))
    openvino.save_model(found, work / "nncf.xml", compress_to_fp16=False)


def _convert_for_ctranslate2(work: Path, asked: Mapping[str, Any]) -> None:
    from ctranslate2.converters import TransformersConverter

    converter = TransformersConverter(str(_make_checkpoint(work, asked)))
    converter.convert(str(work / "ctranslate2"), quantization="int8", force=True)


def _open_torch(work: Path, asked: Mapping[str, Any]) -> tuple[Run, str, str]:
    import torch
    import transformers

    torch.set_num_threads(asked["threads"])
    config = transformers.AutoConfig.from_pretrained(asked["bundle"])
    torch.manual_seed(0)
    model = getattr(transformers, _CLASSES.get(asked["task"], "AutoModel")).from_config(config).eval()
    if asked["tool"] == "torch-bf16":
        model = model.to(torch.bfloat16)
    if asked["tool"] == "torch-compile":
        torch._inductor.config.freezing = True
        torch._dynamo.config.recompile_limit = 64
        model = torch.compile(model, dynamic=False)

    def run(feeds: Feeds) -> object:
        # no_grad, as freezing does not see inference_mode.
        with torch.no_grad():
            return model(**{name: torch.from_numpy(array) for name, array in feeds.items()})[0]

    return run, asked["tool"], f"{torch.__version__}, transformers {transformers.__version__}"


def _open_onnx(work: Path, asked: Mapping[str, Any]) -> tuple[Run, str, str]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = asked["threads"]
    options.log_severity_level = 3
    # Threads that wait busily would slow down the contenders beside them.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    path = Path(asked["path"]) if asked["tool"] == "file" else _find_onnx(work, asked["tool"])
    session = onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=asked.get("disabled", [])
    )
    taken = {one.name for one in session.get_inputs()}

    def run(feeds: Feeds) -> object:
        return session.run(None, {name: array for name, array in feeds.items() if name in taken})

    if asked["tool"] == "file":
        return run, "onnxruntime", onnxruntime.__version__
    return run, "optimum-onnx", f"{version('optimum-onnx')}, onnxruntime {onnxruntime.__version__}"


def _find_onnx(work: Path, tool: str) -> Path:
    return next((work / ("optimum-int8" if tool == "optimum-int8" else "optimum")).glob("*.onnx"))


def _open_openvino(work: Path, asked: Mapping[str, Any]) -> tuple[Run, str, str]:
    import openvino

    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": asked["threads"],
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,
    }
    quantised = asked["tool"] == "openvino-nncf"
    path = work / "nncf.xml" if quantised else _find_onnx(work, asked["tool"])
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    taken = {port.get_any_name() for port in compiled.inputs}

    def run(feeds: Feeds) -> object:
        request = compiled.create_infer_request()
        return request.infer({name: array for name, array in feeds.items() if name in taken}, share_outputs=True)

    maker = f"nncf {version('nncf')}" if quantised else f"optimum-onnx {version('optimum-onnx')}"
    return run, "openvino", f"{openvino.__version__.partition('-')[0]}, {maker}"


def _open_ctranslate2(work: Path, asked: Mapping[str, Any]) -> tuple[Run, str, str]:
    import ctranslate2

    encoder = ctranslate2.Encoder(str(work / "ctranslate2"), device="cpu", intra_threads=asked["threads"])

    def run(feeds: Feeds) -> object:
        ids = ctranslate2.StorageView.from_array(feeds["input_ids"].astype(np.int32))
        lengths = ctranslate2.StorageView.from_array(feeds["attention_mask"].sum(axis=1, dtype=np.int32))
        return np.array(encoder.forward_batch(ids, lengths).last_hidden_state)

    return run, "ctranslate2", version("ctranslate2")


_PREPARE: dict[str, Callable[[Path, Mapping[str, Any]], object]] = {
    "optimum": _export,
    "optimum-int8": _quantise_dynamically,
    "openvino": _export,
    "openvino-nncf": _quantise_with_nncf,
    "ctranslate2": _convert_for_ctranslate2,
}
_OPEN: dict[str, Callable[[Path, Mapping[str, Any]], tuple[Run, str, str]]] = {
    "torch": _open_torch,
    "torch-compile": _open_torch,
    "torch-bf16": _open_torch,
    "optimum": _open_onnx,
    "optimum-int8": _open_onnx,
    "openvino": _open_openvino,
    "openvino-nncf": _open_openvino,
    "ctranslate2": _open_ctranslate2,
    "file": _open_onnx,
}
