"""Graphs of other tools: found, matched with transformers' outputs, and held against the checkpoint they came from."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest
import torch
import transformers
from onnxruntime.quantization import quantize_dynamic

from bvx.exporter.checkpoint import load_checkpoint
from bvx.exporter.cli import main
from bvx.exporter.foreign.outputs import choose_task, match_outputs
from bvx.exporter.foreign.verification import find_graph, verify_graph
from bvx.exporter.plan import ExportPlan
from bvx.exporter.progress import Silent
from bvx.exporter.verification import verify
from bvx.runtime.errors import BundleError, CheckpointError, ParityFailed, PlanError, UnsupportedModel
from bvx.runtime.parity import ParityReport
from bvx.runtime.tasks import find_task

FEATURES = "feature-extraction"
INPUTS = ("input_ids", "attention_mask", "token_type_ids")

Answer = Callable[..., Any]


class Calling(torch.nn.Module):
    """A model, and what a graph of it gives for its inputs in order."""

    def __init__(self, model: torch.nn.Module, inputs: Sequence[str], answer: Answer) -> None:
        super().__init__()
        self.model, self.inputs, self.answer = model, inputs, answer

    def forward(self, *tensors: torch.Tensor) -> Any:
        return self.answer(self.model, dict(zip(self.inputs, tensors, strict=True)))


def trace(
    model: torch.nn.Module,
    file: Path,
    outputs: Sequence[str],
    *,
    inputs: Sequence[str] = INPUTS,
    answer: Answer | None = None,
    dynamic: bool = True,
    dtype: torch.dtype = torch.int64,
    choices: int | None = None,
) -> Path:
    """Write the graph of `model` to `file` as Optimum does, by tracing; `answer` is by default what `outputs` name.

    With `choices` the inputs are [batch, choices, length]; 0 is any number of them.
    """

    def named(traced: torch.nn.Module, feeds: dict[str, torch.Tensor]) -> Any:
        found = traced(**feeds, output_hidden_states=any("hidden" in name for name in outputs))
        return tuple(found[name] for name in outputs)

    example = {
        "input_ids": torch.arange(18).reshape(2, 9) + 5,
        "attention_mask": torch.tensor([[1] * 9, [1] * 6 + [0] * 3]),
        "token_type_ids": torch.zeros(2, 9, dtype=torch.int64),
        "position_ids": torch.arange(9).expand(2, 9),
    }
    names = {0: "batch_size", 1: "sequence_length"}
    if choices is not None:
        example = {name: tensor[:, None].repeat(1, choices or 2, 1) for name, tensor in example.items()}
        names = {0: "batch_size", 2: "sequence_length"} | ({} if choices else {1: "num_choices"})
    file.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Calling(model.eval(), inputs, answer or named),
            tuple(example[name].to(dtype) for name in inputs),
            str(file),
            dynamo=False,
            opset_version=17,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes=dict.fromkeys(inputs, names) if dynamic else None,
        )
    return file


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: Callable, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a checkpoint of large weights: checkpoint(family, task, **changes)."""

    def make(family: str = "bert", task: str = FEATURES, **changes: Any) -> Path:
        folder = tmp_path_factory.mktemp(f"{family}-{task}")
        return tiny_checkpoint(family, task, folder, initializer_range=0.4, **changes)

    return make


@pytest.fixture(scope="module")
def bert(checkpoint: Callable) -> Path:
    return checkpoint()


@pytest.fixture(scope="module")
def graph(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A right graph of `bert`."""
    return trace(model_of(bert), tmp_path_factory.mktemp("graph") / "model.onnx", ["last_hidden_state"])


def model_of(folder: Path, task: str = FEATURES) -> torch.nn.Module:
    return load_checkpoint(ExportPlan(str(folder), Path(), task=task)).model


def check(file: Path, against: Path, task: str | None = None) -> tuple[ParityReport, str]:
    """The report, and everything that was said on the way."""
    progress = Silent()
    return verify_graph(file, str(against), task, progress=progress), "\n".join(progress.warnings)


def failed(report: ParityReport) -> set[str]:
    return {row.case for row in report.rows if not row.passed}


@pytest.mark.parametrize(
    ("family", "task", "outputs"),
    [
        ("bert", FEATURES, ["last_hidden_state", "pooler_output"]),
        ("roberta", "text-classification", ["logits"]),
        ("albert", "fill-mask", ["logits"]),
        ("bert", "question-answering", ["start_logits", "end_logits"]),
    ],
)
def test_a_folder_of_optimum_passes_against_its_checkpoint_without_a_word(
    checkpoint: Callable, tmp_path: Path, family: str, task: str, outputs: list[str]
) -> None:
    folder = checkpoint(family, task, seed=2)
    inputs = INPUTS[:2] if family == "roberta" else INPUTS
    trace(model_of(folder, task), tmp_path / "model.onnx", outputs, inputs=inputs)
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    progress = Silent()
    found = verify(tmp_path, str(folder), progress=progress)
    assert found and progress.warnings == []
    assert {row.output for row in found.reports[0].rows} == set(outputs)
    assert found.reports[0].variant == "model.onnx"
    assert {"fully masked rows", "longest", "text in a batch of eight, with its own answer to it alone"} <= {
        row.case for row in found.reports[0].rows
    }


def test_another_checkpoint_of_the_same_size_fails_with_figures(graph: Path, checkpoint: Callable) -> None:
    report, said = check(graph, checkpoint(seed=1))
    assert not report
    assert report.worst() is not None and report.worst().max_abs > 0.1
    assert "On texts padded on the right: largest difference" in said


@pytest.mark.parametrize("swapped", [False, True])
def test_outputs_are_told_apart_by_name(checkpoint: Callable, tmp_path: Path, swapped: bool) -> None:
    folder = checkpoint("bert", "question-answering", seed=2)
    names = ["start_logits", "end_logits"]

    def answer(model: torch.nn.Module, feeds: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        found = model(**feeds)
        return tuple(found[name] for name in (names[::-1] if swapped else names))

    report, _ = check(trace(model_of(folder, "question-answering"), tmp_path / "x.onnx", names, answer=answer), folder)
    assert bool(report) is not swapped


def copy_of(folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(folder, target, dirs_exist_ok=True))


def with_modules(folder: Path, pooling: str) -> Path:
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds.items()]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling/config.json").write_text(json.dumps({f"pooling_mode_{pooling}": True}))
    return folder


@pytest.mark.parametrize(("pooling", "right"), [("mean_tokens", True), ("cls_token", False)])
def test_a_folder_of_sentence_transformers_is_held_to_the_checkpoints_own_pooling(
    checkpoint: Callable, tmp_path: Path, pooling: str, right: bool
) -> None:
    folder = with_modules(checkpoint(), pooling)

    def embed(model: torch.nn.Module, feeds: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        states, mask = model(**feeds).last_hidden_state, feeds["attention_mask"].unsqueeze(-1).float()
        pooled = (states * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        return states, torch.nn.functional.normalize(pooled)

    outputs = ["token_embeddings", "sentence_embedding"]
    trace(model_of(folder), tmp_path / "onnx/model.onnx", outputs, inputs=INPUTS[:2], answer=embed)
    file = find_graph(tmp_path)
    assert file is not None
    report, said = check(file, folder)
    assert "reads no token_type_ids" in said
    assert {row.output for row in report.rows} == {"last_hidden_state", "sentence_embedding"}
    assert {row.output for row in report.rows if not row.passed} == (set() if right else {"sentence_embedding"})
    (folder / "modules.json").unlink()
    report, said = check(file, folder)
    assert report and "sentence_embedding was not compared" in said


def test_a_graph_with_nothing_but_an_embedding_is_compared(checkpoint: Callable, tmp_path: Path) -> None:
    folder = with_modules(checkpoint(), "cls_token")

    def embed(model: torch.nn.Module, feeds: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.nn.functional.normalize(model(**feeds).last_hidden_state[:, 0])

    report, _ = check(trace(model_of(folder), tmp_path / "x.onnx", ["sentence_embedding"], answer=embed), folder)
    assert report and {row.output for row in report.rows} == {"sentence_embedding"}


def test_names_that_say_nothing_are_taken_by_their_shapes_and_that_is_said(bert: Path, tmp_path: Path) -> None:
    def answer(model: torch.nn.Module, feeds: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        found = model(**feeds)
        return found.pooler_output, found.last_hidden_state

    report, said = check(trace(model_of(bert), tmp_path / "x.onnx", ["tanh", "linear_14"], answer=answer), bert)
    assert report and {row.output for row in report.rows} == {"last_hidden_state", "pooler_output"}
    assert "'linear_14' was taken for last_hidden_state" in said and "'tanh' was taken for pooler_output" in said
    report, said = check(tmp_path / "x.onnx", with_modules(copy_of(bert, tmp_path / "embedder"), "cls_token"))
    assert report and "'tanh' was not compared" in said, "it might as well be the embedding"


def test_hidden_states_are_compared_too(bert: Path, tmp_path: Path) -> None:
    def answer(model: torch.nn.Module, feeds: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        found = model(**feeds, output_hidden_states=True)
        return found.last_hidden_state, found.hidden_states[1]

    outputs = ["last_hidden_state", "hidden_states.2"]
    report, _ = check(trace(model_of(bert), tmp_path / "x.onnx", outputs, answer=answer), bert)
    assert {row.output for row in report.rows if not row.passed} == {"hidden_states.2"}


def test_outputs_of_one_shape_are_not_guessed() -> None:
    twins = {"start_logits": (3, 2), "end_logits": (3, 2)}
    assert match_outputs({"output_0": (3, 2), "output_1": (3, 2)}, twins) == {}
    assert match_outputs({"output_0": (3, 2)}, twins) == {}
    one = {"last_hidden_state": (3, 2, 8), "pooler_output": (3, 8)}
    assert match_outputs({"a": (3, 8), "b": (3, 8), "c": (3, 2, 8)}, one) == {"last_hidden_state": "c"}
    assert match_outputs({"sentence_embedding": (3, 8)}, one) == {}, "a name that says something is no other output"
    assert match_outputs({"tanh": (3, 8)}, {"sentence_embedding": (3, 8)}) == {}, "it might be the pooler's"


@pytest.mark.parametrize(
    ("outputs", "own", "task"),
    [
        (["last_hidden_state"], "sentence-similarity", "sentence-similarity"),
        (["last_hidden_state"], "fill-mask", FEATURES),
        (["last_hidden_state", "pooler_output"], "sentence-similarity", FEATURES),
        (["token_embeddings", "sentence_embedding"], "sentence-similarity", "sentence-similarity"),
        (["pooler_output", "last_hidden_state", "sentence_embedding"], "sentence-similarity", "sentence-similarity"),
        (["logits"], "fill-mask", "fill-mask"),
        (["start_logits", "end_logits"], "fill-mask", "question-answering"),
        (["linear_14"], "text-classification", "text-classification"),
    ],
)
def test_the_task_is_what_outputs_and_checkpoint_agree_on(outputs: list[str], own: str, task: str) -> None:
    assert choose_task(outputs, find_task(own)).name == task


def test_logits_of_a_checkpoint_without_a_head_need_a_task() -> None:
    with pytest.raises(PlanError, match=r"gives logits, .* for feature-extraction.*--task.*text-classification"):
        choose_task(["logits"], find_task(FEATURES))


def test_rows_that_are_masked_whole_do_not_count_where_they_alone_differ(bert: Path, tmp_path: Path) -> None:
    eager = transformers.AutoModel.from_pretrained(bert, attn_implementation="eager")
    report, said = check(trace(eager, tmp_path / "x.onnx", ["last_hidden_state"]), bert)
    assert report and "fully masked rows" not in {row.case for row in report.rows}
    assert "Rows that are masked whole differ" in said


def test_a_mask_that_is_taken_for_a_length_is_explained(bert: Path, tmp_path: Path) -> None:
    def answer(model: torch.nn.Module, feeds: dict[str, torch.Tensor]) -> torch.Tensor:
        mask = feeds["attention_mask"]
        places = torch.ones_like(mask).cumsum(1)
        feeds["attention_mask"] = (places <= mask.sum(1, keepdim=True)).long()
        return model(**feeds).last_hidden_state

    report, said = check(trace(model_of(bert), tmp_path / "x.onnx", ["last_hidden_state"], answer=answer), bert)
    assert failed(report) == {"pairs of texts, padded left and right", "seven rows, padded left and right"}
    assert "Only rows that are padded on the left" in said


def test_a_graph_that_chooses_between_texts_is_asked_for_each_alone(checkpoint: Callable, tmp_path: Path) -> None:
    folder = checkpoint("bert", "multiple-choice", seed=2)
    model = transformers.AutoModelForMultipleChoice.from_pretrained(folder)
    report, said = check(trace(model, tmp_path / "any.onnx", ["logits"], choices=0), folder)
    assert report and said == ""
    with pytest.raises(UnsupportedModel, match=r"of \[batch_size, 4, sequence_length\]; bvx feeds"):
        check(trace(model, tmp_path / "four.onnx", ["logits"], choices=4), folder)


def test_a_graph_without_a_mask_is_compared_on_texts_without_padding(bert: Path, tmp_path: Path) -> None:
    file = trace(model_of(bert), tmp_path / "x.onnx", ["last_hidden_state"], inputs=INPUTS[:1])
    report, said = check(file, bert)
    assert report and "reads no attention_mask" in said
    assert {row.case for row in report.rows} == {
        "text alone",
        "one token",
        "two tokens",
        "padding ids amid the text",
        "longest",
    }


@pytest.mark.parametrize("outputs", [["last_hidden_state", "pooler_output"], ["start_logits", "end_logits"]])
def test_a_graph_of_one_shape_is_asked_in_pieces_of_it(
    checkpoint: Callable, tmp_path: Path, outputs: list[str]
) -> None:
    task = FEATURES if "pooler_output" in outputs else "question-answering"
    folder = checkpoint("bert", task)
    file = trace(model_of(folder, task), tmp_path / "x.onnx", outputs, dynamic=False)
    report, said = check(file, folder)
    assert report and "nothing but 2 x 9" in said
    shapes = {row.case: (row.batch, row.length) for row in report.rows}
    assert shapes["longest"] == (1, 9) and shapes["seven rows, padded left and right"] == (7, 9)


def test_a_graph_of_one_shape_without_a_mask_is_compared_where_nothing_is_filled_up(bert: Path, tmp_path: Path) -> None:
    file = trace(model_of(bert), tmp_path / "x.onnx", ["last_hidden_state"], inputs=INPUTS[:1], dynamic=False)
    report, _ = check(file, bert)
    assert report and {row.length for row in report.rows} == {9}


def test_int32_inputs_are_fed(bert: Path, tmp_path: Path) -> None:
    def answer(model: torch.nn.Module, feeds: dict[str, torch.Tensor]) -> torch.Tensor:
        return model(**{name: value.long() for name, value in feeds.items()}).last_hidden_state

    file = trace(model_of(bert), tmp_path / "x.onnx", ["last_hidden_state"], answer=answer, dtype=torch.int32)
    assert check(file, bert)[0]


def test_int8_and_fp16_graphs_show_figures_and_why_they_do_not_pass(graph: Path, bert: Path, tmp_path: Path) -> None:
    quantize_dynamic(graph, tmp_path / "int8.onnx")
    model = ir.load(graph)
    for name, value in list(model.graph.initializers.items()):
        if value.const_value.dtype == ir.DataType.FLOAT and value.const_value.size > 1000:
            half = ir.Value(name=f"{name}_half", const_value=ir.tensor(value.const_value.numpy().astype("float16")))
            cast = ir.node("Cast", [half], {"to": ir.DataType.FLOAT})
            model.graph.initializers.add(half)
            model.graph.insert_before(model.graph[0], cast)
            ir.convenience.replace_all_uses_with(value, cast.outputs[0])
    ir.save(model, tmp_path / "fp16.onnx")
    for precision in ("int8", "fp16"):
        report, said = check(tmp_path / f"{precision}.onnx", bert)
        assert not report and all(row.cosine > 0.9 for row in report.rows)
        assert f"no tolerance for {precision}" in said and "largest difference" in said


def test_weights_beside_the_graph_are_read_and_missed(graph: Path, bert: Path, tmp_path: Path) -> None:
    ir.save(ir.load(graph), tmp_path / "model.onnx", external_data="model.onnx_data", size_threshold_bytes=0)
    assert check(tmp_path / "model.onnx", bert)[0]
    (tmp_path / "model.onnx_data").unlink()
    with pytest.raises(BundleError, match=r"model\.onnx_data, which does not lie beside it"):
        check(tmp_path / "model.onnx", bert)


def test_another_architecture_is_told_in_words(graph: Path, checkpoint: Callable) -> None:
    with pytest.raises(CheckpointError, match=r"gives last_hidden_state \[3, 2, 32\].*\[3, 2, 64\].*architecture"):
        check(graph, checkpoint(hidden_size=64))
    with pytest.raises(CheckpointError, match="smaller tables than the checkpoint"):
        check(graph, checkpoint(vocab_size=5000))
    with pytest.raises(CheckpointError, match=r"gives last_hidden_state, and .* text-classification.*classifier"):
        check(graph, checkpoint(), "text-classification")


def test_a_graph_that_was_traced_for_other_shapes_than_it_says_fails(bert: Path, tmp_path: Path) -> None:
    def answer(model: torch.nn.Module, feeds: dict[str, torch.Tensor]) -> torch.Tensor:
        return model(**feeds).last_hidden_state.reshape(2, 9, 32)

    file = trace(model_of(bert), tmp_path / "x.onnx", ["last_hidden_state"], answer=answer)
    with pytest.raises(ParityFailed, match="does not run with shapes that it says it takes"):
        check(file, bert)


def test_inputs_that_a_text_does_not_become_are_refused(bert: Path, tmp_path: Path) -> None:
    file = trace(model_of(bert), tmp_path / "x.onnx", ["last_hidden_state"], inputs=(*INPUTS, "position_ids"))
    with pytest.raises(UnsupportedModel, match=r"reads input_ids, .*position_ids; bvx feeds"):
        check(file, bert)


def test_without_a_checkpoint_there_is_no_proof(graph: Path, bert: Path, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"not made by bvx.* --against CHECKPOINT"):
        verify(graph)
    copy_of(bert, tmp_path)
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx/model.onnx").write_bytes(graph.read_bytes())
    with pytest.raises(PlanError, match=f"--against {tmp_path}"):
        verify(tmp_path)
    assert verify(tmp_path, str(tmp_path))


def test_the_graph_of_a_folder_is_found(tmp_path: Path) -> None:
    assert find_graph(tmp_path) is None and find_graph(tmp_path / "missing") is None
    (tmp_path / "onnx").mkdir()
    alone, other, usual = tmp_path / "model_O2.onnx", tmp_path / "onnx/model_int8.onnx", tmp_path / "onnx/model.onnx"
    alone.touch()
    assert find_graph(tmp_path) == alone
    other.touch()
    with pytest.raises(PlanError, match=r"several graphs: model_O2\.onnx, onnx/model_int8\.onnx"):
        find_graph(tmp_path)
    usual.touch()
    assert find_graph(tmp_path) == usual and find_graph(other) == other
    (tmp_path / "bvx.json").touch()
    assert find_graph(tmp_path) is None, "it is a bundle"


def test_options_that_do_not_fit_are_refused(graph: Path, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="--precision"):
        verify(graph, "x", precision="fp32")
    with pytest.raises(PlanError, match="--bisect"):
        verify(graph, "x", bisect=True)
    (tmp_path / "bvx.json").touch()
    with pytest.raises(PlanError, match="--task"):
        verify(tmp_path, task=FEATURES)


def test_the_command_line_gives_the_verdict(
    graph: Path, bert: Path, checkpoint: Callable, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["verify", str(graph), "--task", FEATURES, "--json", "--against"]
    assert main([*words, str(bert)]) == 0
    assert json.loads(capfd.readouterr().out)["passed"] is True
    assert main([*words, str(checkpoint(seed=1))]) == 3
    (report,) = json.loads(capfd.readouterr().out)["reports"]
    assert report["variant"] == "model.onnx" and report["passed"] is False
