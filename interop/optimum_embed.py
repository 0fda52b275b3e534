"""Opens a bundle with Optimum: `python optimum_embed.py BUNDLE < request.json`; see compare.py."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version

import onnxruntime
import torch
from optimum.onnxruntime import ORTModelForFeatureExtraction
from transformers import AutoTokenizer


def main(bundle: str) -> None:
    request = json.load(sys.stdin)
    batch = AutoTokenizer.from_pretrained(bundle)(request["texts"], padding=True, return_tensors="pt")
    states = ORTModelForFeatureExtraction.from_pretrained(bundle)(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1)
    embeddings = (states * mask).sum(1) / mask.sum(1)
    if request["normalize"]:
        embeddings = torch.nn.functional.normalize(embeddings)
    tool = f"optimum-onnx {version('optimum-onnx')}, onnxruntime {onnxruntime.__version__}"
    print(json.dumps({"tool": tool, "answers": embeddings.tolist()}))


if __name__ == "__main__":
    main(sys.argv[1])
