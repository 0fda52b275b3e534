"""Labelled data: what `--eval FILE` names, read for the task of the model that it judges.

    FILE.csv, FILE.tsv          a table whose first row names its columns
    FILE.csv:text,label         … or with the columns that are named here, the right answer last; also by number
    FILE.jsonl                  JSON Lines: an object on every line
    FILE.json                   question-answering: SQuAD 1.1 or 2.0 as it is published

What a task reads beside its texts (under the names that `bvx run --jsonl` and the common data sets use):

    text-classification, sentence-order-prediction, next-sentence-prediction    "label": its name or number; several in
                                a list where a text may have several
    sentence-similarity, text-ranking, and text-classification with one score   "score": a number that ranks the pairs
    multiple-choice             "choices", a list of texts, and "label", the number of the right one from 0 on
    question-answering          "answers" as SQuAD has them, a list of texts, or one; none or [] where there is none
    fill-mask                   "target": the word behind the mask, or a list of one for each mask
    replaced-token-detection    "replaced": [[start, end], …] in characters
    token-classification        "entities": [{"start", "end", "label"}, …] in characters
    pretraining-heads           "target" and "label"
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...runtime.errors import CalibrationError
from .examples import Example, Reader
from .files import read_records

__all__ = ["Labelled", "read_labelled"]


@dataclass(frozen=True)
class Labelled:
    """Examples of a task with their right answers, from the file called `source`.

    `digest` is the SHA-256, in hexadecimal, of all that was read, as JSON.
    """

    source: str
    task: str
    examples: tuple[Example, ...]
    digest: str


def read_labelled(spec: str, task: str, head: Mapping[str, Any]) -> Labelled:
    """Read what `spec` names (see above) for a model of `task` whose manifest has this `head`.

    Raises CalibrationError, with the line, for what cannot be read, for an answer that the model cannot give, for a
    task that has no metric, and for fewer than two examples.
    """
    reader = Reader(task, head)
    examples = []
    digest = hashlib.sha256()
    for place, record in read_records(spec, reader.names):
        examples.append(reader.read(record, place))
        digest.update(json.dumps([*examples[-1]], default=sorted).encode() + b"\0")
    source = Path(spec).name if Path(spec).exists() else Path(spec.rpartition(":")[0]).name
    if len(examples) < 2:
        raise CalibrationError(
            f"{source} has {len(examples) or 'no'} example{'s' * (not examples)} to judge on.",
            f"Give a few hundred, each with {reader.wanted}.",
        )
    return Labelled(source, task, tuple(examples), digest.hexdigest())
