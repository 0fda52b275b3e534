"""Opens a bundle with sentence-transformers: `python sentence_transformers_embed.py BUNDLE < request.json`.

See compare.py. Pooling and normalisation are not asked for: they are what the bundle's modules.json says.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version

import onnxruntime
from sentence_transformers import SentenceTransformer


def main(bundle: str) -> None:
    options = {"file_name": "onnx/model.onnx", "provider": "CPUExecutionProvider"}
    model = SentenceTransformer(bundle, backend="onnx", model_kwargs=options)
    embeddings = model.encode(json.load(sys.stdin)["texts"], show_progress_bar=False)
    tool = f"sentence-transformers {version('sentence-transformers')}, onnxruntime {onnxruntime.__version__}"
    print(json.dumps({"tool": tool, "answers": embeddings.tolist()}))


if __name__ == "__main__":
    main(sys.argv[1])
