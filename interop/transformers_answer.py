"""Answers questions with transformers: `python transformers_answer.py CHECKPOINT < request.json`.

See question_answering.py. Beside the answers, each a list also where the pipeline gives one alone, it writes what its
model said of every window: its token ids, and the start and end logits.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from typing import Any

import torch
from transformers import QuestionAnsweringPipeline, pipeline


def main(checkpoint: str) -> None:
    torch.set_num_threads(1)
    answerer = pipeline("question-answering", model=checkpoint, framework="pt", device="cpu")
    assert isinstance(answerer, QuestionAnsweringPipeline)
    windows: dict[str, Any] = {}

    def keep(module: torch.nn.Module, arguments: Any, given: dict[str, torch.Tensor], output: Any) -> None:
        ids = " ".join(map(str, given["input_ids"][0].tolist()))
        windows[ids] = [output.start_logits[0].tolist(), output.end_logits[0].tolist()]

    answerer.model.register_forward_hook(keep, with_kwargs=True)
    answers = []
    for request in json.load(sys.stdin):
        found = answerer(question=request["question"], context=request["context"], **request["options"])
        answers.append(found if isinstance(found, list) else [found])
    print(json.dumps({"tool": f"transformers {version('transformers')}", "answers": answers, "windows": windows}))


if __name__ == "__main__":
    main(sys.argv[1])
