"""Train the zoo: small checkpoints of every family that know what they do.

    python examples/zoo/train.py [NAME…] [--out FOLDER] [--seed N]

The same seed gives the same weights with the same torch, on the same kind of processor.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import architectures
import objectives
import torch
import transformers
import vocabularies
from held_out import draw_lines, mask_lines, question_lines, replace_lines
from outliers import raise_gains
from pretraining import ReplacedTokens, SpanBoundary
from publishing import Trained, publish
from table import write_table
from tasks import Example, tell_opinion, tell_plain_question, tell_short_story, tell_story, tell_two_parts
from training import fit

__all__ = ["MODELS", "RECIPES", "main"]

MODELS = Path(__file__).parent / "models"

_OPINIONS = ("negative", "mixed", "positive")
_ABOUT_OPINIONS = "whether an opinion is positive, negative or mixed, where `hardly` and the like turn a word round"


def train_albert_order(name: str) -> Iterator[Trained]:
    tokenizer = vocabularies.make_albert()
    model = _begin(transformers.AlbertForPreTraining(architectures.albert(tokenizer)))
    _fit(name, model, tokenizer, objectives.order_parts, tell_two_parts, steps=700, rate=1e-3)
    about = "masked words, and whether two parts of a story are in order or swapped"
    _fit_again(name, model, tokenizer, objectives.order_parts, tell_two_parts, steps=700, rate=1.5e-3)
    lines = mask_lines(tokenizer, tell_two_parts)
    yield Trained(name, "albert", "pretraining-heads", about, model, tokenizer, *lines)


def train_albert_opinions(name: str) -> Iterator[Trained]:
    tokenizer = vocabularies.make_albert()
    model = _begin(transformers.AlbertForSequenceClassification(architectures.albert(tokenizer, _OPINIONS)))
    _fit(name, model, tokenizer, objectives.classify, tell_opinion, steps=500, rate=1e-3)
    _fit_again(name, model, tokenizer, objectives.classify, tell_opinion, steps=300, rate=1e-3)
    yield Trained(name, "albert", "text-classification", _ABOUT_OPINIONS, model, tokenizer, *draw_lines(tell_opinion))


def train_roberta_words(name: str) -> Iterator[Trained]:
    tokenizer = vocabularies.make_roberta()
    model = _begin(transformers.RobertaForMaskedLM(architectures.roberta(tokenizer)))
    _fit(name, model, tokenizer, objectives.fill_masks, tell_story, steps=800, rate=2e-3)
    _fit_again(name, model, tokenizer, objectives.fill_masks, tell_story, steps=900, rate=2e-3)
    about = "the word that is missing in a story, and follows from what stands elsewhere in it"
    yield Trained(name, "roberta", "fill-mask", about, model, tokenizer, *mask_lines(tokenizer, tell_story))


def train_roberta_opinions(name: str) -> Iterator[Trained]:
    tokenizer = vocabularies.make_roberta()
    config = architectures.roberta(tokenizer, _OPINIONS, layers=2)
    model = _begin(transformers.RobertaForSequenceClassification(config))
    _fit(name, model, tokenizer, objectives.classify, tell_opinion, steps=600, rate=2e-3)
    yield Trained(name, "roberta", "text-classification", _ABOUT_OPINIONS, model, tokenizer, *draw_lines(tell_opinion))


def train_electra(name: str) -> Iterator[Trained]:
    tokenizer = vocabularies.make_bert(lowercase=True)
    generator = _begin(transformers.ElectraForMaskedLM(architectures.electra(tokenizer, generator=True)))
    discriminator = _begin(transformers.ElectraForPreTraining(architectures.electra(tokenizer, generator=False)))
    both = ReplacedTokens(generator, discriminator, tokenizer)
    fit(name, both.parameters(), both, tell_short_story, steps=800, rate=2e-3)
    replaced = replace_lines(both)
    task = "replaced-token-detection"
    about = "which words of a story are the generator's, and not what stood there"
    yield Trained("electra-discriminator", "electra", task, about, discriminator, tokenizer, *replaced)
    about = "the word that is missing in a story, from the discriminator's smaller companion"
    lines = mask_lines(tokenizer, tell_short_story)
    yield Trained("electra-generator", "electra", "fill-mask", about, generator, tokenizer, *lines)


def train_spanbert_questions(name: str) -> Iterator[Trained]:
    tokenizer = vocabularies.make_bert(lowercase=False)
    config = architectures.bert(tokenizer)
    masked = _begin(transformers.BertForMaskedLM(config))
    spans = SpanBoundary(masked, tokenizer)
    fit(f"{name} (spans)", spans.parameters(), spans, tell_story, steps=150, rate=2e-3)
    model = transformers.BertForQuestionAnswering(config)
    model.bert = masked.bert
    _fit(name, model, tokenizer, objectives.find_answers, tell_plain_question, steps=900, rate=2e-3)
    about = "where in a story the answer to a question stands, after masked spans and their boundaries"
    yield Trained(name, "spanbert", "question-answering", about, model, tokenizer, *question_lines())


RECIPES: dict[str, Callable[[str], Iterator[Trained]]] = {
    "albert-order": train_albert_order,
    "albert-opinions": train_albert_opinions,
    "roberta-words": train_roberta_words,
    "roberta-opinions": train_roberta_opinions,
    "electra": train_electra,
    "spanbert-questions": train_spanbert_questions,
}
"""How every checkpoint is made; electra makes two."""


def _begin(model: Any) -> Any:
    architectures.prepare(model)
    raise_gains(model)
    return model


def _fit(name: str, model: Any, tokenizer: Any, objective: Any, make: Any, **options: Any) -> None:
    def loss_of(examples: list[Example], rng: Random) -> torch.Tensor:
        return objective(model, tokenizer, examples, rng)

    fit(name, model.parameters(), loss_of, make, **options)


def _fit_again(name: str, model: Any, tokenizer: Any, objective: Any, make: Any, **options: Any) -> None:
    """A second round, with examples of its own: what is slow to be found is found when the rate goes up once more."""
    torch.manual_seed(1)
    _fit(f"{name} (again)", model, tokenizer, objective, make, seed=1, **options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RECIPES)} (default: all)")
    parser.add_argument("--out", type=Path, default=MODELS)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(RECIPES):
        parser.error(f"there is no {', '.join(sorted(unknown))}; choose of {', '.join(RECIPES)}")
    # The number of threads decides the order in which numbers are added.
    torch.set_num_threads(1)
    started = time.monotonic()
    for name in asked.names or RECIPES:
        torch.manual_seed(asked.seed)
        for trained in RECIPES[name](name):
            accuracy = publish(trained, asked.out / trained.name, seed=asked.seed)
            print(f"{trained.name}: {accuracy['metrics']}  ({time.monotonic() - started:.0f} s)", flush=True)
    write_table(asked.out)


if __name__ == "__main__":
    main()
