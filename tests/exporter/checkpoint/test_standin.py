"""Random weights at full size, and the vocabularies that stand in for real ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import tokenizers
import torch

from bvx.calibration.texts import builtin_texts
from bvx.exporter.checkpoint import load_checkpoint
from bvx.exporter.checkpoint.standin import make_tokenizer
from bvx.exporter.families import find_architecture, known_families
from bvx.exporter.plan import ExportPlan
from bvx.runtime.errors import UnknownFamily, UnsupportedModel


def plan(model: object, **asked: object) -> ExportPlan:
    return ExportPlan(str(model), Path("out"), random_weights=True, **asked)


@pytest.mark.parametrize(
    ("name", "task", "parameters"),
    [
        ("albert-base-v2", "feature-extraction", 11_683_584),
        ("google/electra-small-discriminator", "feature-extraction", 13_483_008),
        ("sentence-transformers/all-MiniLM-L6-v2", "sentence-similarity", 22_565_376),
    ],
)
def test_known_names_come_at_full_size(name: str, task: str, parameters: int):
    """The sizes are those that transformers counts for the published models without a head."""
    loaded = load_checkpoint(plan(name, task=task))
    assert loaded.model_info.parameters == parameters
    assert (loaded.model_info.random, loaded.model_info.seed) == (True, 0)
    assert loaded.tokenizer is not None and loaded.tokenizer.info.standin
    assert loaded.max_length == 512


def test_the_sentence_encoder_is_one_without_being_asked():
    loaded = load_checkpoint(plan("all-MiniLM-L6-v2"))
    assert loaded.head == {"pooling": ["mean"], "normalize": True}
    assert set(loaded.extra_files) >= {"modules.json", "1_Pooling/config.json"}


def test_the_same_seed_makes_the_same_weights(tiny_checkpoint: Callable[..., Path], tmp_path: Path):
    folder = tiny_checkpoint("bert", "fill-mask", tmp_path)
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    first, again, other = (load_checkpoint(plan(folder, seed=seed)).model.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["cls.predictions.bias"], other["cls.predictions.bias"])
    assert torch.equal(before, torch.random.get_rng_state())


def test_no_two_biases_or_norms_are_alike(tiny_checkpoint: Callable[..., Path], tmp_path: Path):
    model = load_checkpoint(plan(tiny_checkpoint("roberta", "fill-mask", tmp_path))).model
    vectors = [each for each in model.parameters() if each.ndim == 1]
    assert len(vectors) > 10
    assert all(each.std() > 0.01 for each in vectors)
    assert len({tuple(each.tolist()) for each in vectors}) == len(vectors)


def test_unknown_names_list_the_known_and_the_close_ones():
    with pytest.raises(UnknownFamily, match=r"Did you mean roberta-base.*albert-base-v2.*spanbert-large-cased"):
        load_checkpoint(plan("roberta-bas"))
    with pytest.raises(UnknownFamily, match="stranger/roberta-base"):
        load_checkpoint(plan("stranger/roberta-base"))


@pytest.mark.parametrize(
    ("name", "bare"), [("SpanBERT/spanbert-base-cased", "spanbert-base-cased"), ("roberta-base", "roberta-base")]
)
def test_the_publishers_name_may_be_left_out(name: str, bare: str):
    assert find_architecture(name)[0] == bare


@pytest.mark.parametrize("family", list(known_families()))
@pytest.mark.parametrize("size", [320, 500, 30000])
def test_a_stand_in_vocabulary_fits_its_table_and_reads_every_built_in_text(family: str, size: int):
    known = known_families()[family]
    config = {**known.tiny, "vocab_size": size}
    frozen = make_tokenizer(known, config, max_length=64)
    tokenizer = tokenizers.Tokenizer.from_str(frozen.files["tokenizer.json"].decode())
    assert max(tokenizer.get_vocab().values()) < size
    assert frozen.info.pad_id == config["pad_token_id"] and frozen.info.standin
    assert frozen.mask_token_id is not None
    encodings = tokenizer.encode_batch(list(builtin_texts()))
    assert all(len(encoding.ids) > 2 for encoding in encodings)
    first, last = encodings[0].ids[0], encodings[0].ids[-1]
    assert all((encoding.ids[0], encoding.ids[-1]) == (first, last) for encoding in encodings)
    assert make_tokenizer(known, config, max_length=64).files == frozen.files


def test_case_is_kept_where_the_family_keeps_it():
    bert, spanbert = (
        tokenizers.Tokenizer.from_str(
            make_tokenizer(family, {**family.tiny, "vocab_size": 8000}, max_length=64).files["tokenizer.json"].decode()
        )
        for family in (known_families()["bert"], known_families()["spanbert"])
    )
    assert bert.encode("The").ids == bert.encode("the").ids
    assert spanbert.encode("The").ids != spanbert.encode("the").ids


def test_a_padding_token_out_of_reach_is_refused():
    family = known_families()["bert"]
    with pytest.raises(UnsupportedModel, match="padding token at 99"):
        make_tokenizer(family, {**family.tiny, "pad_token_id": 99}, max_length=64)
