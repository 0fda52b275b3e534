"""What a service embeds: open a bundle, feed it texts or arrays, get the task's answers. No torch, no transformers.

Importing this package loads no engine and no tokenizer: every name below is looked up when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .encoder import Encoder
    from .errors import (
        AccuracyLost,
        BundleError,
        BvxError,
        CalibrationError,
        CheckpointError,
        EngineBuildError,
        EngineMismatch,
        FallbackWarning,
        InputError,
        ParityFailed,
        PlanError,
        UnknownFamily,
        UnsupportedModel,
    )
    from .heads.classification import TextClassifier
    from .heads.features import FeatureExtractor
    from .heads.fill_mask import MaskFiller
    from .heads.multiple_choice import MultipleChoice
    from .heads.pretraining import PretrainingModel
    from .heads.question_answering import QuestionAnswerer
    from .heads.ranking import Reranker
    from .heads.replaced_tokens import ReplacedTokenDetector
    from .heads.sentence_pairs import SentencePairClassifier
    from .heads.similarity import SentenceEmbedder
    from .heads.token_classification import TokenClassifier
    from .loading import load
    from .manifest import Manifest
    from .parity import ParityReport

__all__ = [
    "AccuracyLost",
    "BundleError",
    "BvxError",
    "CalibrationError",
    "CheckpointError",
    "Encoder",
    "EngineBuildError",
    "EngineMismatch",
    "FallbackWarning",
    "FeatureExtractor",
    "InputError",
    "Manifest",
    "MaskFiller",
    "MultipleChoice",
    "ParityFailed",
    "ParityReport",
    "PlanError",
    "PretrainingModel",
    "QuestionAnswerer",
    "ReplacedTokenDetector",
    "Reranker",
    "SentenceEmbedder",
    "SentencePairClassifier",
    "TextClassifier",
    "TokenClassifier",
    "UnknownFamily",
    "UnsupportedModel",
    "load",
]

_HOMES = {
    "Encoder": "encoder",
    "FeatureExtractor": "heads.features",
    "Manifest": "manifest",
    "MaskFiller": "heads.fill_mask",
    "MultipleChoice": "heads.multiple_choice",
    "ParityReport": "parity",
    "PretrainingModel": "heads.pretraining",
    "QuestionAnswerer": "heads.question_answering",
    "ReplacedTokenDetector": "heads.replaced_tokens",
    "Reranker": "heads.ranking",
    "SentenceEmbedder": "heads.similarity",
    "SentencePairClassifier": "heads.sentence_pairs",
    "TextClassifier": "heads.classification",
    "TokenClassifier": "heads.token_classification",
    "load": "loading",
}
"""The module that defines each name; the errors are in errors.py."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES.get(name, 'errors')}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
