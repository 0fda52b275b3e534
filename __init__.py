"""bvx: a deployment compiler for BERT-variant encoders.

`bvx.load(bundle)` opens what `bvx export` wrote. Importing this package loads nothing heavy: every name below is
looked up when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .runtime.encoder import Encoder
    from .runtime.errors import (
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
    from .runtime.heads.classification import TextClassifier
    from .runtime.heads.features import FeatureExtractor
    from .runtime.heads.fill_mask import MaskFiller
    from .runtime.heads.multiple_choice import MultipleChoice
    from .runtime.heads.pretraining import PretrainingModel
    from .runtime.heads.question_answering import QuestionAnswerer
    from .runtime.heads.ranking import Reranker
    from .runtime.heads.replaced_tokens import ReplacedTokenDetector
    from .runtime.heads.sentence_pairs import SentencePairClassifier
    from .runtime.heads.similarity import SentenceEmbedder
    from .runtime.heads.token_classification import TokenClassifier
    from .runtime.loading import load

__version__ = "0.1.0"

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
    "MaskFiller",
    "MultipleChoice",
    "ParityFailed",
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
    "__version__",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(".runtime", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
