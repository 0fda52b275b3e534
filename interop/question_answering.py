"""Show that question-answering gives the answers of transformers' last QuestionAnsweringPipeline.

    python interop/question_answering.py --peers PYTHON [--squad FILE] [--pairs N] [--family NAME …]

PYTHON is the interpreter of the environment that `make peers` makes. Both sides have the same small checkpoint of each
family, with weights so large that a few spans are much likelier than all others. FILE is in the format of SQuAD 2.0;
of its questions N are asked, evenly spread.

They are compared twice: with the pipeline's own logits given to bvx, where every answer has to be the same, and with
those of the bundle's engine, where one question in a hundred may be answered otherwise: the pipeline looks at a few
candidates of each window, and rounding decides between two that are equally good. Ends with 1 when more differ; an
answer differs by its place, its text, or by more than 1e-4 of score.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import bvx
from bvx.exporter.checkpoint.config import complete_config
from bvx.exporter.checkpoint.standin import make_random_model, make_tokenizer
from bvx.exporter.families import known_families
from bvx.exporter.pipeline import export
from bvx.exporter.plan import ExportPlan
from bvx.runtime.heads import open_head
from bvx.runtime.tasks import find_task
from bvx.runtime.tokenizer import Tokenizer

HERE = Path(__file__).resolve().parent
ALLOWED = 1e-4
ALLOWED_QUESTIONS = 0.01
TASK = "question-answering"
SHAPE = {"vocab_size": 6000, "initializer_range": 0.4}
"""Weights of 0.4 make every layer's part in the answer large."""
PEAK = 5.0
"""How much larger than that the last layer's weights are."""

QUESTIONS = ("What is Machine Learning?", "Who was it, and when?", "¿Dónde está? 東京はどこですか", "why [SEP] so?")
PARAGRAPH = (
    "Machine Learning is the study of programs that learn from data. A model is trained on examples, and tested on "
    "others that it has not seen: Arthur Samuel named the field in 1959, while he worked at IBM's laboratory. "
)
CONTEXTS = (
    PARAGRAPH,
    "Hi",
    "Berlin berlin BERLIN Berlin's",
    "  naïve café — déjà vu, Zu\u0308rich, Straße, ﬁne\n\n\n",
    "今天天气很好。 明日は雨が降るでしょう。東京都で食べる 한국어",
    "I 💛 emoji 👩‍👩‍👧 and\ttabs\u00a0too 🇩🇪 ❤️ naïve",
    "antidisestablishmentarianism " * 12,
    "'Tis 3.14159% of $1,000,000 (or so), isn't it? [SEP] [MASK] <mask> </s>",
    PARAGRAPH * 12,
    "".join(f"In {year} there were {year * 7 % 1009} of them. " for year in range(1200, 1800)),
)
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"top_k": 5},
    {"top_k": 3, "handle_impossible_answer": True},
    {"top_k": 4, "align_to_words": False},
    {"top_k": 3, "max_seq_len": 256, "doc_stride": 64, "max_answer_len": 4},
    {"handle_impossible_answer": True, "max_answer_len": 60, "max_seq_len": 200, "doc_stride": 0},
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True, help="the peers' interpreter")
    parser.add_argument("--squad", type=Path)
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--family", nargs="+", default=list(known_families()))
    asked = parser.parse_args()
    requests = [
        {"question": question, "context": context, "options": options}
        for question, context, options in itertools.product(QUESTIONS, CONTEXTS, OPTIONS)
    ]
    if asked.squad is not None:
        chosen = zip(_read_squad(asked.squad, asked.pairs), itertools.cycle(OPTIONS), strict=False)
        requests += [{**pair, "options": options} for pair, options in chosen]
    print(f"{len(requests)} questions, compared with bvx {bvx.__version__}\n", flush=True)
    print("| family | compared with | bvx on | answers | questions that differ | worst score difference |", flush=True)
    print("|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        passed = [_compare(family, Path(folder), requests, asked.peers) for family in asked.family]
    return 0 if all(passed) else 1


def _read_squad(path: Path, count: int) -> list[dict[str, str]]:
    articles = json.loads(path.read_text(encoding="utf-8"))["data"]
    paragraphs = (paragraph for article in articles for paragraph in article["paragraphs"])
    found = [
        {"question": asked["question"], "context": paragraph["context"]}
        for paragraph in paragraphs
        for asked in paragraph["qas"]
    ]
    return found[:: max(1, len(found) // count)][:count]


def _make_checkpoint(name: str, folder: Path) -> Path:
    family, task = known_families()[name], find_task(TASK)
    offset = family.tiny["max_position_embeddings"] - family.usable_length(family.tiny)
    config = complete_config({**family.tiny, **SHAPE, "max_position_embeddings": 512 + offset}, family)
    model = make_random_model(config, task, seed=0)
    with torch.no_grad():
        model.get_submodule("qa_outputs").weight.mul_(PEAK)  # type: ignore[operator]
    checkpoint = folder / name
    model.save_pretrained(checkpoint)  # type: ignore[operator]
    for file, content in make_tokenizer(family, config.to_dict(), max_length=512).files.items():
        (checkpoint / file).write_bytes(content)
    return checkpoint


@dataclass(frozen=True)
class Replay:
    """An engine that says what the pipeline's model said of each window."""

    windows: Mapping[str, Any]
    name, version, threads = "replay", "1", 1

    def run(self, feeds: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        ids, mask = feeds["input_ids"], feeds["attention_mask"]
        found = {name: np.zeros(ids.shape, np.float32) for name in ("start_logits", "end_logits")}
        for row, length in enumerate(mask.sum(axis=1)):
            logits = self.windows[" ".join(map(str, ids[row, :length].tolist()))]
            for array, values in zip(found.values(), logits, strict=True):
                array[row, :length] = values
        return found

    def close(self) -> None:
        pass


def _compare(family: str, folder: Path, requests: Sequence[dict[str, Any]], peers: str) -> bool:
    """Print a family's rows of the table; whether the answers were the same."""
    checkpoint, bundle = _make_checkpoint(family, folder), folder / f"{family}.bvx"
    export(ExportPlan(str(checkpoint), bundle, task=TASK, family=family))
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [peers, HERE / "transformers_answer.py", checkpoint]
    text = json.dumps(requests)
    done = subprocess.run(command, input=text, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        print(f"| {family} | | | | failed |", flush=True)
        print(done.stderr[-4000:], file=sys.stderr)
        return False
    said = json.loads(done.stdout.splitlines()[-1])
    with bvx.QuestionAnswerer.load(bundle, threads=1) as model:
        tokenizer = Tokenizer(bundle / "tokenizer.json", model.max_length)
        head = open_head(TASK, model.manifest.head, tokenizer)
        replay = bvx.QuestionAnswerer(model.bundle, model.variant, Replay(said["windows"]), tokenizer, head)
        given = _answers_agree(family, "the same logits", replay, requests, said, 0.0)
        return (
            _answers_agree(
                family, f"{model.engine.name} {model.engine.version}", model, requests, said, ALLOWED_QUESTIONS
            )
            and given
        )


def _answers_agree(
    family: str, by: str, model: bvx.QuestionAnswerer, requests: Sequence[dict[str, Any]], said: Any, allowed: float
) -> bool:
    """Print one row of the table; whether at most `allowed` of the questions are answered otherwise."""
    worst, answers, differing = 0.0, 0, 0
    for request, theirs in zip(requests, said["answers"], strict=True):
        ours = model(request["question"], request["context"], **{"top_k": 1, **request["options"]}, batch_size=8)
        # Where there are fewer spans than asked for, the pipeline goes on with what is none, such as an end before its
        # start, and scores it 0.
        found, expected = ([answer for answer in some if answer["score"] > 0] for some in (ours, theirs))
        difference = _difference(found, expected)
        answers += len(found)
        if difference <= ALLOWED:
            worst = max(worst, difference)
        else:
            differing += 1
            print(f"{request['question']!r} {request['options']}: {found}, wanted {expected}", file=sys.stderr)
    print(f"| {family} | {said['tool']} | {by} | {answers} | {differing} | {worst:.1e} |", flush=True)
    return differing <= allowed * len(requests)


def _difference(found: Sequence[Any], expected: Sequence[Any]) -> float:
    """The largest difference of a score, infinite where the spans are not the same."""
    places = [[(one["start"], one["end"], one["answer"]) for one in answers] for answers in (found, expected)]
    if places[0] != places[1]:
        return math.inf
    return max((abs(one["score"] - other["score"]) for one, other in zip(found, expected, strict=True)), default=0.0)


if __name__ == "__main__":
    sys.exit(main())
