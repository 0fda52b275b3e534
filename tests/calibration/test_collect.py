"""What a calibration keeps is what a plain run of one text after another shows."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from bvx.calibration import inputs as inputs_module
from bvx.calibration.collect import collect, collect_statistics
from bvx.calibration.corpus import Sample
from bvx.calibration.observed import observe
from bvx.calibration.observers import OBSERVERS
from bvx.calibration.sites import find_linears
from bvx.calibration.store import check_ranges
from bvx.runtime.bundle import Bundle
from bvx.runtime.errors import CalibrationError
from bvx.runtime.tokenizer import Tokenizer

TEXTS = ("one", "two three", "two four", "a much longer text about five things", "six seven", "eight " * 200)
PAIRS = (("one", "two"), ("three four", "a longer text"))
SAMPLE = Sample("texts", len(TEXTS), 0, tuple((text,) for text in TEXTS))


@pytest.fixture(params=[("albert", "text-classification"), ("roberta", "fill-mask"), ("bert", "question-answering")])
def bundle(request, tiny_bundle) -> Bundle:
    return Bundle.open(tiny_bundle(*request.param))


def graph(bundle: Bundle) -> ir.Model:
    return ir.load(bundle.path("onnx/model.onnx"))


def tokenizer(bundle: Bundle) -> Tokenizer:
    return Tokenizer(bundle.path("tokenizer.json"), bundle.manifest.max_length)


def gather(bundle: Bundle, sample: Sample = SAMPLE, **options):
    model = bundle.path("onnx/model.onnx")
    return collect(model, sample, tokenizer(bundle), bundle.manifest.tokenizer, threads=1, **options)


def run_plainly(bundle: Bundle, sample: Sample) -> dict[str, list[np.ndarray]]:
    """Every float tensor of the graph for every text, run alone and unpadded."""
    model = graph(bundle)
    values = [value for node in model.graph for value in node.outputs if value.dtype == ir.DataType.FLOAT]
    given = [value.name for value in model.graph.outputs]
    model.graph.outputs.extend(value for value in values if value.name not in given)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), options)
    names = [output.name for output in session.get_outputs()]
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for entry in sample.entries:
        pairs = [entry[1]] if len(entry) == 2 else None
        (tokens,) = tokenizer(bundle).encode([entry[0]], pairs, truncate=True)
        arrays = {
            "input_ids": tokens.ids,
            "attention_mask": np.ones_like(tokens.ids),
            "token_type_ids": tokens.type_ids,
        }
        feeds = {one.name: arrays[one.name][None] for one in session.get_inputs()}
        for name, array in zip(names, session.run(names, feeds), strict=True):
            found[name].append(array)
    return found


def test_bounds_peaks_and_channels_are_those_of_single_unpadded_runs(bundle) -> None:
    sample = Sample("texts", 8, 0, (*SAMPLE.entries, *PAIRS))
    ranges, plain = gather(bundle, sample, observer="minmax"), run_plainly(bundle, sample)
    assert ranges.peaks.keys() == plain.keys()
    for name, arrays in plain.items():
        extremes = min(float(one.min()) for one in arrays), max(float(one.max()) for one in arrays)
        assert ranges.peaks[name] == pytest.approx(max(map(abs, extremes)), rel=1e-4, abs=1e-5), name
        if name in ranges.bounds:
            expected = min(extremes[0], 0.0), max(extremes[1], 0.0)
            assert ranges.bounds[name] == pytest.approx(expected, rel=1e-4, abs=1e-5), name
        if name in ranges.channels:
            rows = np.concatenate([one.reshape(-1, one.shape[-1]) for one in arrays])
            np.testing.assert_allclose(ranges.channels[name], np.abs(rows).max(axis=0), rtol=1e-4, atol=1e-5)


def test_every_place_that_may_be_quantised_has_a_range(bundle) -> None:
    ranges, model = gather(bundle), graph(bundle)
    linears = find_linears(model.graph)
    assert {linear.input for linear in linears} == ranges.channels.keys()
    wanted = ranges.channels.keys() | {linear.output for linear in linears if linear.bias}
    for node in model.graph:
        if node.op_type == "Attention":
            wanted |= {value.name for value in (*node.inputs[:3], node.outputs[0])}
        if node.op_type == "Gelu":
            wanted.add(node.outputs[0].name)
    assert wanted == ranges.bounds.keys()
    check_ranges(ranges, model.graph)


def test_each_use_of_a_shared_weight_has_a_range_of_its_own(tiny_bundle) -> None:
    ranges = gather(Bundle.open(tiny_bundle("albert", "text-classification")))
    attended = [bounds for name, bounds in ranges.bounds.items() if name.endswith("attention.Attention")]
    assert len(attended) > 1 and len(set(attended)) == len(attended)


def test_lengths_tokens_and_digest_are_kept(bundle) -> None:
    told: list[int] = []
    ranges = gather(bundle, progress=told.append)
    lengths = [len(tokens) for tokens in tokenizer(bundle).encode(TEXTS, truncate=True)]
    assert max(lengths) == bundle.manifest.max_length
    assert ranges.lengths == {length: lengths.count(length) for length in sorted(set(lengths))}
    assert ranges.corpus.tokens == sum(lengths) and ranges.corpus.samples == len(TEXTS) == sum(told)
    assert ranges.corpus.digest == SAMPLE.digest and ranges.observer in OBSERVERS


def test_texts_are_cut_at_the_length_that_is_asked_for(bundle) -> None:
    assert max(gather(bundle, max_length=5).lengths) == 5


def test_batches_change_nothing(bundle, monkeypatch) -> None:
    together = gather(bundle, observer="entropy")
    monkeypatch.setattr(inputs_module, "_TOKENS", 1)
    alone = gather(bundle, observer="entropy")
    assert together.lengths == alone.lengths
    for name, expected in alone.bounds.items():
        assert together.bounds[name] == pytest.approx(expected, rel=1e-3, abs=1e-4), name


def test_statistics_are_as_large_for_many_texts_as_for_few(bundle) -> None:
    def size(sample: Sample) -> int:
        model = bundle.path("onnx/model.onnx")
        statistics, _ = collect_statistics(model, sample, tokenizer(bundle), bundle.manifest.tokenizer, threads=1)
        arrays = [histogram.counts for histogram in statistics.histograms.values()]
        return sum(array.nbytes for array in (*arrays, *statistics.channels.values()))

    assert size(SAMPLE) == size(Sample("texts", 300, 0, SAMPLE.entries * 50))


def test_the_graph_that_is_given_stays_as_it_is(bundle) -> None:
    model = graph(bundle)
    before = ir.to_proto(model).SerializeToString()
    ranges = collect(model, SAMPLE, tokenizer(bundle), bundle.manifest.tokenizer, threads=1)
    assert ranges.bounds == gather(bundle).bounds
    assert ir.to_proto(model).SerializeToString() == before


def test_nothing_is_left_behind_when_it_is_interrupted(bundle, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    seen: list[int] = []

    def interrupt(texts: int) -> None:
        seen.append(len(list(tmp_path.iterdir())))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gather(bundle, progress=interrupt)
    assert seen == [1] and not list(tmp_path.iterdir())


def test_values_that_are_not_finite_are_refused_by_the_name_of_their_tensor(tiny_bundle) -> None:
    bundle = Bundle.open(tiny_bundle("bert", "question-answering"))
    model = graph(bundle)
    linear = find_linears(model.graph)[0]
    weight = model.graph.initializers[linear.weight]
    weight.const_value = ir.tensor(np.full(weight.const_value.shape.numpy(), 3e38, np.float32), name=linear.weight)
    with pytest.raises(CalibrationError, match=rf"{linear.node} is .*inf.* tokens: it is not finite even in fp32"):
        collect(model, SAMPLE, tokenizer(bundle), bundle.manifest.tokenizer, threads=1)


def test_an_unknown_observer_is_refused_before_anything_runs(bundle) -> None:
    told: list[int] = []
    with pytest.raises(CalibrationError, match="no observer 'median'"):
        gather(bundle, observer="median", progress=told.append)
    assert not told


def test_a_graph_without_linear_layers_is_refused() -> None:
    value = ir.Value(name="a", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([1]))
    node = ir.node("Tanh", [value])
    model = ir.Model(ir.Graph([value], node.outputs, nodes=[node], opset_imports={"": 23}), ir_version=10)
    with pytest.raises(CalibrationError, match="no linear layer"):
        observe(model)
