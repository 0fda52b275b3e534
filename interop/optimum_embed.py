"""Opens a bundle with Optimum: `python optimum_embed.py BUNDLE < texts.json > embeddings.json`."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version

import onnxruntime
import torch
from optimum.onnxruntime import ORTModelForFeatureExtraction
from transformers import AutoTokenizer


def main(bundle: str) -> None:
    batch = AutoTokenizer.from_pretrained(bundle)(json.load(sys.stdin), padding=True, return_tensors="pt")
    states = ORTModelForFeatureExtraction.from_pretrained(bundle)(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1)
    embeddings = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1))
    tool = f"Optimum {version('optimum-onnx')}, onnxruntime {onnxruntime.__version__}"
    print(json.dumps({"tool": tool, "embeddings": embeddings.tolist()}))


if __name__ == "__main__":
    main(sys.argv[1])
