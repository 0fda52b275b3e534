"""Small checkpoints of every family and task, saved as transformers saves them, with stand-in vocabularies."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from bvx.exporter.checkpoint.config import complete_config
from bvx.exporter.checkpoint.standin import make_random_model, make_tokenizer
from bvx.exporter.families import known_families
from bvx.runtime.tasks import find_task


@pytest.fixture(scope="session")
def tiny_checkpoint() -> Callable[..., Path]:
    """Makes a checkpoint folder: tiny_checkpoint(family, task, folder, seed=0, **changes to the configuration)."""

    def make(family_name: str, task_name: str, folder: Path, *, seed: int = 0, **shape: object) -> Path:
        family, task = known_families()[family_name], find_task(task_name)
        raw = {**family.tiny, **shape}
        config = complete_config(raw, family)
        model = make_random_model(config, task, seed)
        model.save_pretrained(folder)
        if "model_type" not in raw:
            (folder / "config.json").write_text(json.dumps(raw))
        facts = config.to_dict()
        tokenizer = make_tokenizer(family, facts, max_length=family.usable_length(facts))
        for name, content in tokenizer.files.items():
            (folder / name).write_bytes(content)
        return folder

    return make
