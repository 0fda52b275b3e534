"""A capture that is kept is the capture, and what a trace reads is not mistaken for what it does not."""

from __future__ import annotations

import onnx_ir as ir
import pytest
import torch
from transformers.models.bert.modeling_bert import BertSelfOutput

from bvx.exporter.capture import capture
from bvx.exporter.checkpoint.config import complete_config
from bvx.exporter.checkpoint.standin import make_random_model
from bvx.exporter.families import known_families
from bvx.exporter.passes import run_passes
from bvx.runtime.tasks import find_task

from .captures import Captures

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def make(family: str, task: str, seed: int = 0, **shape: object) -> torch.nn.Module:
    found = known_families()[family]
    return make_random_model(
        complete_config({**found.tiny, "num_hidden_layers": 1, **shape}, found), find_task(task), seed
    )


@pytest.fixture
def traced(tmp_path):
    """How many models of several a trace was made of: traced(*models)."""

    def count(*models: torch.nn.Module) -> int:
        captures = Captures(
            tmp_path, lambda model, inputs, outputs: ir.Model(ir.Graph([], [], nodes=[]), ir_version=10)
        )
        for model in models:
            captures(model, INPUTS, ["last_hidden_state"])
        return captures.traced

    return count


@pytest.mark.parametrize(
    ("family", "task"), [("albert", "pretraining-heads"), ("roberta", "fill-mask"), ("bert", "multiple-choice")]
)
def test_a_kept_capture_is_the_capture_of_the_other_weights_bit_for_bit(tmp_path, family, task):
    captures = Captures(tmp_path, capture)
    inputs, outputs = known_families()[family].inputs, known_families()[family].outputs(find_task(task))
    captures(make(family, task, seed=1), inputs, outputs)
    model = make(family, task, seed=2, initializer_range=0.4)
    kept, fresh = captures(model, inputs, outputs), capture(model, inputs, outputs)
    assert captures.traced == 1
    for _ in range(2):
        assert (ir.to_proto(kept)).SerializeToString(deterministic=True) == (ir.to_proto(fresh)).SerializeToString(
            deterministic=True
        )
        assert run_passes(kept) == run_passes(fresh)


def test_models_that_differ_in_weights_alone_are_traced_once(traced):
    assert traced(*(make("bert", "feature-extraction", seed, initializer_range=0.1 * seed) for seed in (1, 2, 3))) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_act": "gelu_new"},
        {"layer_norm_eps": 1e-5},
        {"num_attention_heads": 2},
        {"num_hidden_layers": 2},
        {"type_vocab_size": 1},
        {"intermediate_size": 40},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_configuration_is_another_trace(traced, change):
    assert traced(make("bert", "feature-extraction"), make("bert", "feature-extraction", **change)) == 2


def test_another_way_to_attend_a_tied_weight_and_another_number_in_a_module_are_other_traces(traced):
    models = [make("bert", "feature-extraction") for _ in range(4)]
    models[1].set_attn_implementation("eager")
    models[2].pooler.dense.weight = models[2].encoder.layer[0].attention.self.query.weight
    models[3].embeddings.LayerNorm.eps = 1e-3
    assert traced(*models) == 4


def test_a_forward_pass_that_was_changed_is_another_trace(traced, monkeypatch):
    captures_before = traced(make("bert", "feature-extraction"))
    monkeypatch.setattr(BertSelfOutput, "forward", lambda self, hidden_states, input_tensor: input_tensor)
    assert captures_before == traced(make("bert", "feature-extraction")) == 1


def test_a_model_that_cannot_be_traced_is_not_kept(tmp_path):
    def refuse(model, inputs, outputs):
        raise ValueError(outputs)

    captures = Captures(tmp_path, refuse)
    for _ in range(2):
        with pytest.raises(ValueError, match="last_hidden_state"):
            captures(make("bert", "feature-extraction"), INPUTS, ["last_hidden_state"])
    assert not list(tmp_path.iterdir())
