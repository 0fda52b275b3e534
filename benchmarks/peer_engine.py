"""Another tool's quantised model as an engine of bvx, so that the same code judges every tool on the same texts."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import bvx
from bvx.runtime.bundle import Bundle
from bvx.runtime.heads import find_predictor, open_head
from bvx.runtime.tokenizer import Tokenizer

__all__ = ["PeerEngine", "open_peer"]

_WORKER = Path(__file__).with_name("peer_int8.py")


class PeerEngine:
    """A process of the peers' Python that quantises a checkpoint by `method` and answers arrays (see peer_int8.py).

    `origin` says whose fp32 graph was quantised, `bytes` how large the result is.
    """

    name = "peer"
    version = ""
    threads = 1

    def __init__(
        self, python: Path, method: str, checkpoint: Path, bundle: Bundle, calibration: Path, work: Path
    ) -> None:
        manifest = bundle.manifest
        self.inputs, self.outputs = manifest.inputs, manifest.outputs
        fallback = bundle.path("onnx/model.onnx")
        # Sentence encoders are what their graph's tokens are, pooled outside of it.
        task = "feature-extraction" if manifest.task == "sentence-similarity" else manifest.task
        command = [str(python), str(_WORKER), method, str(checkpoint), task, str(fallback), str(calibration), str(work)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None and self._process.stdin is not None
        self._from, self._to = self._process.stdout, self._process.stdin
        words = self._from.readline().decode().split()
        if words[:1] != ["ready"]:
            raise RuntimeError(f"{method} failed on {checkpoint}; its error stands above")
        self.bytes, self.origin = int(words[1]), words[2]

    def run(self, feeds: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        buffer = io.BytesIO()
        np.savez(buffer, **feeds)  # type: ignore[arg-type]
        self._to.write(len(buffer.getvalue()).to_bytes(8, "little") + buffer.getvalue())
        self._to.flush()
        size = int.from_bytes(self._from.read(8), "little")
        found = dict(np.load(io.BytesIO(self._from.read(size))))
        names = [spec.name for spec in self.outputs] if outputs is None else outputs
        return {name: found[name] for name in names}

    def close(self) -> None:
        self._to.close()
        self._process.wait()


def open_peer(bundle: Bundle, engine: PeerEngine) -> bvx.Encoder:
    """`engine` as the model of the bundle's task: the same tokens in, the same answers made of its outputs."""
    manifest = bundle.manifest
    tokenizer = Tokenizer(bundle.path("tokenizer.json"), manifest.max_length, 1)
    head = open_head(manifest.task, manifest.head, tokenizer)
    return find_predictor(manifest.task)(bundle, bundle.variant("fp32", "cpu"), engine, tokenizer, head)
