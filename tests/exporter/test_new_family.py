"""A new family is one new file: DistilBERT, which bvx does not know, from that file to a bundle that serves."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
import transformers

from bvx.exporter import families
from bvx.exporter.pipeline import export
from bvx.exporter.plan import ExportPlan
from bvx.runtime.loading import load

FILE = '''
"""DistilBERT: half of BERT's layers, no token types, no pooler.

Sanh et al., "DistilBERT, a distilled version of BERT", arXiv 1910.01108.
"""

from __future__ import annotations

from . import Family, TokenizerRules, made_by

FAMILY = Family(
    name="distilbert",
    model_type="distilbert",
    recognises=made_by("distilbert", "DistilBert"),
    inputs=("input_ids", "attention_mask"),
    tokenizer=TokenizerRules("wordpiece", lowercase=True),
    pooler=False,
    layers=lambda config: int(config["n_layers"]),
    layer_norms=lambda config, task: 1 + 2 * int(config["n_layers"]) + (task == "fill-mask"),
    architectures={},
    tiny={
        "model_type": "distilbert",
        "vocab_size": 500,
        "dim": 32,
        "n_layers": 2,
        "n_heads": 4,
        "hidden_dim": 48,
        "activation": "gelu",
        "max_position_embeddings": 64,
        "pad_token_id": 0,
    },
)
'''
LOADERS = {
    "feature-extraction": transformers.AutoModel,
    "fill-mask": transformers.AutoModelForMaskedLM,
    "text-classification": transformers.AutoModelForSequenceClassification,
}


@pytest.fixture
def distilbert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[families.Family]:
    """The family, from a file of its own in a folder that the package of families looks into."""
    folder = tmp_path / "families"
    folder.mkdir()
    (folder / "distilbert.py").write_text(FILE)
    monkeypatch.setattr(families, "__path__", [*families.__path__, str(folder)])
    families.known_families.cache_clear()
    yield families.known_families()["distilbert"]
    families.known_families.cache_clear()
    sys.modules.pop(f"{families.__name__}.distilbert", None)


def test_the_file_is_all_it_takes_to_be_known(distilbert):
    assert families.recognise({"model_type": "distilbert"}) is distilbert
    assert families.recognise({"architectures": ["DistilBertForMaskedLM"]}) is distilbert


def test_without_the_file_it_is_not_known():
    assert "distilbert" not in families.known_families()


@pytest.mark.parametrize("task", sorted(LOADERS))
def test_it_goes_all_the_way_to_a_bundle_that_serves(distilbert, tiny_checkpoint, tmp_path, task):
    checkpoint = tiny_checkpoint("distilbert", task, tmp_path / "checkpoint")
    result = export(ExportPlan(model=str(checkpoint), out=tmp_path / "bundle", task=task))
    assert result.manifest.family == "distilbert" and all(result.reports)
    assert [spec.name for spec in result.manifest.inputs] == ["input_ids", "attention_mask"]

    graph = ir.load(tmp_path / "bundle" / "onnx" / "model.onnx").graph
    attentions = [node.name for node in graph if node.op_type == "Attention"]
    assert attentions == [f"layer.{index}.attention.Attention" for index in range(2)]
    applied = {log.name: log.applied for log in result.manifest.passes["canonical"]}
    assert applied["slice_positions"] == 1 and applied["split_heads_inside"] == 2
    assert applied["keep_tied_tables"] == (task == "fill-mask")

    model = LOADERS[task].from_pretrained(checkpoint, attn_implementation="sdpa").eval()
    ids = np.random.default_rng(0).integers(5, 400, (3, 9))
    mask = np.array([[1] * 9, [1] * 5 + [0] * 4, [0] * 2 + [1] * 7])
    with torch.no_grad():
        expected = model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask))
    with load(tmp_path / "bundle") as encoder:
        for name, value in encoder.run(input_ids=ids, attention_mask=mask).items():
            np.testing.assert_allclose(value, expected[name].numpy(), rtol=1e-4, atol=1e-5, err_msg=name)
