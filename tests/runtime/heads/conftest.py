"""Our Encoder and transformers' tokenizer around one random PyTorch model, so that only what is between is compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from bvx.runtime.bundle import Bundle
from bvx.runtime.encoder import Encoder
from bvx.runtime.heads import find_predictor, open_head
from bvx.runtime.tokenizer import Tokenizer


class TorchEngine:
    """Runs a transformers model as a graph runs; one that chooses between texts reads one of them in each row."""

    name, version, threads = "torch", "2", 1

    def __init__(self, model: Any, task: str) -> None:
        self.model, self.task = model, task

    def run(self, feeds: dict[str, np.ndarray], outputs: Any = None) -> dict[str, np.ndarray]:
        import torch

        inputs = {name: torch.from_numpy(array) for name, array in feeds.items()}
        if self.task == "multiple-choice":
            inputs = {name: tensor[:, None] for name, tensor in inputs.items()}
        with torch.no_grad():
            found = self.model(**inputs)
        return {name: value.numpy() for name, value in found.items() if outputs is None or name in outputs}


@dataclass(frozen=True)
class OnTorch:
    """`encoder` answers with `model`, whose own tokenizer is `tokenizer`."""

    encoder: Encoder
    model: Any
    tokenizer: Any

    def logits(self, *texts: Any, **options: Any) -> Any:
        """What transformers' model says of texts (and pairs) that transformers' tokenizer read."""
        import torch

        inputs = self.tokenizer(*texts, padding=True, return_tensors="pt", **options)
        with torch.no_grad():
            return self.model(**inputs)


@pytest.fixture
def on_torch(make_bundle: Callable[..., Any]) -> Callable[..., OnTorch]:
    """on_torch(task, name of a transformers class, head=the manifest's, **changes to its configuration)."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")

    def make(task: str, class_name: str, head: dict[str, Any] | None = None, **config: Any) -> OnTorch:
        bundle = make_bundle(task, **({"head": head} if head else {}))
        torch.manual_seed(0)
        model_class = getattr(transformers, class_name)
        sizes = {"vocab_size": 21, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
        sizes |= {"intermediate_size": 32, "initializer_range": 0.5, "pad_token_id": 0}
        # Dropout would make every answer another, were the model not in eval mode.
        model = model_class(model_class.config_class(**sizes, **config)).eval()
        special = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
        fast = transformers.PreTrainedTokenizerFast(
            tokenizer_object=bundle.tokenizer(),
            model_input_names=["input_ids", "token_type_ids", "attention_mask"],
            **special,
        )
        opened = Bundle.open(bundle.path)
        tokenizer = Tokenizer(opened.path("tokenizer.json"), opened.manifest.max_length)
        head_of = open_head(task, opened.manifest.head, tokenizer)
        encoder = find_predictor(task)(opened, opened.variant(), TorchEngine(model, task), tokenizer, head_of)
        return OnTorch(encoder, model, fast)

    return make
