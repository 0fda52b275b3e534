"""Small checkpoints and captures of every family and task, and what looks into a graph."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from bvx.exporter.bench.document import FORMAT
from bvx.exporter.checkpoint import Checkpoint, load_checkpoint
from bvx.exporter.checkpoint.config import complete_config
from bvx.exporter.checkpoint.standin import make_random_model
from bvx.exporter.families import Family, known_families
from bvx.exporter.passes import run_passes
from bvx.exporter.pipeline import export
from bvx.exporter.plan import ExportPlan
from bvx.runtime.errors import UnsupportedModel
from bvx.runtime.latency import WarmUp, summarise
from bvx.runtime.manifest import PassLog
from bvx.runtime.tasks import TASKS, Task, find_task

SHAPES: Mapping[str, Mapping[str, int]] = {"text-ranking": {"num_labels": 1}}
"""What a task asks of a configuration."""


def has(family: Family, task: Task) -> bool:
    try:
        return bool(family.outputs(task))
    except UnsupportedModel:
        return False


CELLS = [(family.name, task.name) for family in known_families().values() for task in TASKS if has(family, task)]


@pytest.fixture(scope="session", params=CELLS, ids="-".join)
def cell(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Every family with every task that it has, by their names."""
    return request.param


@dataclass(frozen=True)
class Captured:
    """A small random model of a family with a task's head, and the raw graph that the capture made of it."""

    family: Family
    task: str
    config: Mapping[str, Any]
    model: torch.nn.Module
    outputs: tuple[str, ...]
    raw: ir.Model

    def canonical(self) -> tuple[ir.Model, tuple[PassLog, ...]]:
        """A copy of the graph after every pass, and what each pass did."""
        graph = self.raw.clone()
        return graph, tuple(run_passes(graph))

    def feeds(self, batch: int, length: int, padding: str = "mixed") -> dict[str, NDArray[np.int64]]:
        """Random ids, padded as asked: "none", "left", "right", "mixed" (rows in turns) or "middle".

        From the second row on a row has up to a third of padding; the last of three or more is nothing else.
        """
        random = np.random.default_rng(batch * 1000 + length)
        pad = int(self.config["pad_token_id"])
        mask = np.ones((batch, length), np.int64)
        for row in range(1, batch) if padding != "none" else ():
            empty = min(length - 1, 1 + row * length // (3 * batch))
            start = {"left": 0, "right": length - empty, "middle": (length - empty) // 2}
            first = start["left" if row % 2 else "right"] if padding == "mixed" else start[padding]
            mask[row, first : first + empty] = 0
        if batch >= 3 and padding != "none":
            mask[-1] = 0
        ids = random.integers(5, int(self.config["vocab_size"]), (batch, length))
        every = {
            "input_ids": np.where(mask == 1, ids, pad),
            "attention_mask": mask,
            "token_type_ids": random.integers(0, 2, (batch, length)),
        }
        return {name: every[name] for name in self.family.inputs}

    def reference(self, feeds: Mapping[str, NDArray[np.int64]]) -> dict[str, NDArray[np.float32]]:
        """What transformers says, with the mask of two dimensions that a user passes."""
        hidden = any(name.startswith("hidden_states.") for name in self.outputs)
        tensors = {name: torch.from_numpy(value) for name, value in feeds.items()}
        if self.task == "multiple-choice":
            return self._choose(tensors)
        with torch.no_grad():
            found = self.model(**tensors, output_hidden_states=hidden)
        answers = {}
        for name in self.outputs:
            kind, _, index = name.partition(".")
            answers[name] = (found[kind][int(index)] if index else found[kind]).numpy()
        return answers

    def _choose(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, NDArray[np.float32]]:
        """transformers' own forward, which reads [texts, choices, length]: the rows are the choices of one text."""
        with torch.no_grad():
            found = type(self.model).forward(self.model, **{name: value[None] for name, value in tensors.items()})
        return {"logits": found.logits.T.numpy()}


@pytest.fixture(scope="session")
def tiny_model() -> Callable[..., torch.nn.Module]:
    """Makes a family's small model: tiny_model(family, task, **changes to the configuration)."""

    def make(family_name: str, task_name: str, **shape: object) -> torch.nn.Module:
        family = known_families()[family_name]
        raw = {**family.tiny, **SHAPES.get(task_name, {}), **shape}
        model = make_random_model(complete_config(raw, family), find_task(task_name), seed=0)
        torch.manual_seed(1)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.05)
        return model

    return make


@pytest.fixture(scope="session")
def capture_of(captures) -> Callable[..., Captured]:
    """Captures a model: capture_of(model, family, task, hidden_states=0). See `captured`."""

    def make(model: torch.nn.Module, family_name: str, task_name: str, hidden_states: int = 0) -> Captured:
        family, task = known_families()[family_name], find_task(task_name)
        outputs = family.outputs(task) + tuple(f"hidden_states.{index}" for index in range(hidden_states))
        raw = captures(model, family.inputs, outputs)
        return Captured(family, task.name, model.config.to_dict(), model, outputs, raw)

    return make


@pytest.fixture(scope="session")
def captured(tiny_model, capture_of) -> Callable[..., Captured]:
    """The capture of a family's small model, made once: captured(family, task, **changes to the configuration).

    Two layers, unless the changes say otherwise: each takes the capture half a second.
    """

    @cache
    def find(family_name: str, task_name: str, **shape: object) -> Captured:
        model = tiny_model(family_name, task_name, **{"num_hidden_layers": 2, **shape})
        return capture_of(model, family_name, task_name)

    return find


@pytest.fixture(scope="session")
def run_graph() -> Callable[..., dict[str, NDArray[Any]]]:
    """Runs a graph on ONNX Runtime as it is written, without the engine's own rewriting: run_graph(graph, feeds)."""

    def run(graph: ir.Model, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        content = ir.to_proto(graph).SerializeToString()
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(feeds)), strict=True))

    return run


@pytest.fixture(scope="session")
def copies() -> Callable[[ir.Model], list[str]]:
    """Finds weights that a graph stores twice, as initializers or inside nodes, under another name or transposed."""

    def find(graph: ir.Model) -> list[str]:
        first: dict[tuple[tuple[int, ...], bytes], str] = {}
        found = []
        for name, array in stored_arrays(graph):
            twins = [array, array.T] if array.ndim > 1 else [array]
            # A vector of one repeated number says nothing about where it came from.
            if array.dtype.kind != "f" or (array.ndim == 1 and np.all(array == array[:1])) or array.ndim == 0:
                continue
            keys = [(twin.shape, np.ascontiguousarray(twin).tobytes()) for twin in twins]
            found += [f"{name} is {first[key]}" for key in dict.fromkeys(keys) if key in first]
            first.setdefault(keys[0], name)
        return found

    return find


@pytest.fixture(scope="session")
def stored_floats() -> Callable[[ir.Model], int]:
    """Counts the bytes of all floating-point numbers that a graph stores."""
    return lambda graph: sum(array.nbytes for _, array in stored_arrays(graph) if array.dtype.kind == "f")


def stored_arrays(graph: ir.Model) -> Iterator[tuple[str, NDArray[Any]]]:
    for name, value in graph.graph.initializers.items():
        assert value.const_value is not None
        yield name, value.const_value.numpy()
    for node in graph.graph.all_nodes():
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.TENSOR:
                yield str(node.name), attribute.as_tensor().numpy()


@dataclass(frozen=True, eq=False)
class Exported:
    """A tiny checkpoint of large weights, so that its values are about 1 everywhere, and its bundle."""

    folder: Path
    bundle: Path
    checkpoint: Checkpoint

    @property
    def graph(self) -> Path:
        return self.bundle / "onnx/model.onnx"


@pytest.fixture(scope="session")
def exported(
    tiny_checkpoint: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], Exported]:
    """Exports a tiny checkpoint, once for each family and task: exported(family, task)."""

    @cache
    def make(family: str, task: str) -> Exported:
        home = tmp_path_factory.mktemp(f"{family}-{task}")
        folder = tiny_checkpoint(family, task, home / "checkpoint", initializer_range=0.4, **SHAPES.get(task, {}))
        plan = ExportPlan(str(folder), home / "bundle", task=task, family=family)
        export(plan)
        return Exported(folder, plan.out, load_checkpoint(plan))

    return make


@pytest.fixture
def mutated(tmp_path: Path) -> Callable[[Exported, Callable[[ir.Graph], None]], Path]:
    """Copies a bundle with a change made to its graph, its hashes mended: mutated(exported, change)."""

    def mutate(original: Exported, change: Callable[[ir.Graph], None]) -> Path:
        bundle = Path(shutil.copytree(original.bundle, tmp_path / "mutated"))
        path = bundle / "onnx/model.onnx"
        model = ir.load(path)
        change(model.graph)
        ir.save(model, path)
        manifest = json.loads((bundle / "bvx.json").read_text())
        content = path.read_bytes()
        for entry in manifest["files"]:
            if entry["path"] == "onnx/model.onnx":
                entry |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        (bundle / "bvx.json").write_text(json.dumps(manifest))
        return bundle

    return mutate


@pytest.fixture
def make_document():
    """make_document({"bvx onnxruntime fp32": 10.0, …}, seed=0): milliseconds at 1x16; 8x128 takes 20 times that."""

    def make(engines, seed=0, slow=1.0, shapes=((1, 16), (8, 128)), turns=30, drift=1.0):
        random = np.random.default_rng(seed)
        cells = []
        for name, base in engines.items():
            for batch, length in shapes:
                scale = base * (1 if batch == 1 else 20) * drift * (slow if name.startswith("bvx") else 1.0)
                drawn = scale * random.lognormal(0, 0.08, (turns, 2)) * random.lognormal(0, 0.05, (turns, 1))
                row = summarise(drawn.tolist(), batch, length, WarmUp(scale * 4, 11, True, scale))
                cells.append(
                    {
                        "contender": name,
                        "threads": 1,
                        **vars(row),
                        "turns": drawn.tolist(),
                        "work": (0.98 * drawn.mean(axis=1)).tolist(),
                        "yardstick": (drift * random.lognormal(0, 0.03, turns)).tolist(),
                    }
                )
        return {
            "format": FORMAT,
            "bvx": "0",
            "made": "2026-01-01T00:00:00Z",
            "complete": True,
            "asked": {
                "bundles": ["a.bvx"],
                "shapes": [list(shape) for shape in shapes],
                "threads": [1],
                "rounds": turns,
                "minutes": 0.0,
                "against": [],
                "pinned": False,
            },
            "baseline": "",
            "machine": {
                "cpu": "a processor",
                "features": "avx2",
                "cores": "2",
                "system": "Linux",
                "noise": {"yardstick": 1.0, "spread": 0.04, "steal": None, "load": 0.1, "waited": 0.02},
            },
            "contenders": [
                {
                    "contender": name,
                    "threads": 1,
                    "model": "a.bvx",
                    "tool": name.split()[-2] if " " in name else name,
                    "precision": "int8" if "int8" in name else "fp32",
                    "ours": name.startswith("bvx"),
                    "version": "1.0",
                    "engine": "e",
                    "load": 300.0,
                    "cores": [0, 1],
                    "peak_bytes": 200_000_000,
                }
                for name in engines
            ],
            "cells": cells,
            "texts": [],
            "concurrency": [],
            "models": [],
            "parity": [],
            "accuracy": [],
            "engines": [],
        }

    return make
