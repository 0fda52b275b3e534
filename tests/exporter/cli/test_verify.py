"""`bvx verify`: the exit code is the verdict."""

from __future__ import annotations

import onnx_ir as ir


def test_verify_fails_with_3_where_the_graph_is_another(bvx, exported, mutated):
    original = exported("bert", "feature-extraction")

    def change(graph):
        weight = next(value for value in graph.initializers.values() if value.const_value.numpy().ndim == 2)
        weight.const_value = ir.tensor(weight.const_value.numpy() * 2, name=weight.name)

    bundle = mutated(original, change)
    shown = bvx("verify", bundle)
    assert shown.code == 3
    assert "FAILED" in shown.out
    as_json = bvx("verify", bundle, "--json")
    assert as_json.code == 3
    assert as_json.document["passed"] is False


def test_an_unknown_precision_is_refused_with_those_there_are(bvx, features):
    done = bvx("verify", features, "--precision", "int4")
    assert done.code == 1
    assert "fp32/cpu" in done.err
