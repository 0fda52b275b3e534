"""Export a checkpoint with Optimum at its level O2: `python optimum_o2.py CHECKPOINT OUT.onnx`.

For benchmarks/peers.py, which runs it in the environment that `make peers` makes.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from optimum.onnxruntime import AutoOptimizationConfig, ORTModelForFeatureExtraction, ORTOptimizer


def main(checkpoint: str, out: str) -> None:
    model = ORTModelForFeatureExtraction.from_pretrained(checkpoint, export=True)
    with tempfile.TemporaryDirectory() as folder:
        ORTOptimizer.from_pretrained(model).optimize(
            save_dir=folder, optimization_config=AutoOptimizationConfig.O2(), file_suffix="o2"
        )
        (made,) = Path(folder).glob("*_o2.onnx")
        Path(out).write_bytes(made.read_bytes())


if __name__ == "__main__":
    main(*sys.argv[1:])
