"""Opens a bundle as a cross-encoder: `python sentence_transformers_rank.py BUNDLE < request.json`; see compare.py.

The function that makes scores of logits is not asked for: it is what the bundle's config.json says.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version

import onnxruntime
from sentence_transformers import CrossEncoder


def main(bundle: str) -> None:
    request = json.load(sys.stdin)
    options = {"file_name": "onnx/model.onnx", "provider": "CPUExecutionProvider"}
    model = CrossEncoder(bundle, backend="onnx", model_kwargs=options)
    pairs = [[request["query"], text] for text in request["texts"]]
    scores = model.predict(pairs, show_progress_bar=False)
    tool = f"sentence-transformers {version('sentence-transformers')}, onnxruntime {onnxruntime.__version__}"
    print(json.dumps({"tool": tool, "answers": [[float(score)] for score in scores]}))


if __name__ == "__main__":
    main(sys.argv[1])
