"""Small checkpoints with random weights, in the layout that `save_pretrained` gives real ones.

    python examples/small_checkpoints.py FOLDER

A checkpoint keeps its family's real configuration but for the number of layers (2) and the vocabulary, which is made
from bvx's own texts.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bvx.exporter.checkpoint.config import complete_config
from bvx.exporter.checkpoint.standin import make_random_model, make_tokenizer
from bvx.exporter.families import known_architectures
from bvx.runtime.tasks import find_task

__all__ = ["SMALL", "make_small_checkpoint"]

SMALL = {
    "albert-base-v2": "text-classification",
    "roberta-base": "fill-mask",
    "electra-small-discriminator": "feature-extraction",
    "spanbert-base-cased": "feature-extraction",
}
"""One architecture of each family that has no real checkpoint in the demo, and the task that it is made for."""


def make_small_checkpoint(architecture: str, task_name: str, folder: Path, seed: int = 0) -> Path:
    """Write the checkpoint to `folder`, and return `folder`."""
    family, full = known_architectures()[architecture]
    raw = {key: value for key, value in full.items() if key != "architectures"}
    raw.update(num_hidden_layers=2, vocab_size=2000)
    config = complete_config(raw, family)
    make_random_model(config, find_task(task_name), seed).save_pretrained(folder)
    if "model_type" not in raw:  # as SpanBERT's are on the hub
        (folder / "config.json").write_text(json.dumps(raw), encoding="utf-8")
    facts = config.to_dict()
    tokenizer = make_tokenizer(family, facts, max_length=family.usable_length(facts))
    for name, content in tokenizer.files.items():
        (folder / name).write_bytes(content)
    return folder


if __name__ == "__main__":
    for architecture, task_name in SMALL.items():
        print(make_small_checkpoint(architecture, task_name, Path(sys.argv[1]) / architecture))
