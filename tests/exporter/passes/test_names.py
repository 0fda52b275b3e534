"""Every node says which layer it came from."""

from __future__ import annotations

import pytest

from bvx.exporter.passes.names import SCOPES, name_layers

SIGNATURE = "(float[b, 2, s, 4] x) => (float[b, 2, s, 4] y)"


@pytest.fixture
def scoped(graph):
    """A graph of one operator per module path: scoped({"path": "Operator", …})."""

    def make(*steps: tuple[str, str]):
        operators = {"Attention": "Attention({0}, {0}, {0})", "Relu": "Relu({0})"}
        values = ["x", *(f"v{index}" for index in range(1, len(steps))), "y"]
        lines = [f"{values[i + 1]} = {operators[step[1]].format(values[i])}" for i, step in enumerate(steps)]
        model = graph(SIGNATURE, " ".join(lines))
        for node, (path, _) in zip(model.graph, steps, strict=True):
            parts = f"model.{path}".rstrip(".").split(".")
            scopes = ["", *(".".join(parts[: count + 1]) for count in range(len(parts))), "aten_name"]
            node.metadata_props[SCOPES] = repr(scopes)
            node.metadata_props["pkg.torch.onnx.stack_trace"] = "/home/somebody/somewhere.py"
        return model

    return make


def _names(model) -> list[str]:
    return [node.name for node in model.graph]


def test_layers_are_counted_in_the_order_in_which_they_run(scoped, check, numbers):
    model = scoped(
        ("embeddings.LayerNorm", "Relu"),
        ("encoder.layer.0.attention.self", "Attention"),
        ("encoder.layer.0.output", "Relu"),
        ("encoder.layer.1.attention.self", "Attention"),
        ("encoder.layer.1.output", "Relu"),
        ("pooler", "Relu"),
    )
    assert check(name_layers, model, {"x": numbers(1, 2, 3, 4)}).applied == 6
    assert _names(model) == [
        "embeddings.LayerNorm.Relu",
        "layer.0.attention.self.Attention",
        "layer.0.output.Relu",
        "layer.1.attention.self.Attention",
        "layer.1.output.Relu",
        "pooler.Relu",
    ]


def test_a_layer_that_is_used_again_is_another_layer(scoped):
    layer = [
        ("groups.0.layers.0.attention", "Attention"),
        ("groups.0.layers.0.ffn", "Relu"),
        ("groups.0.layers.0", "Relu"),
    ]
    model = scoped(*layer, *layer, *layer)
    name_layers(model)
    assert _names(model) == [
        name
        for index in range(3)
        for name in (f"layer.{index}.attention.Attention", f"layer.{index}.ffn.Relu", f"layer.{index}.Relu")
    ]


def test_numbers_inside_a_layer_do_not_make_a_layer(scoped):
    model = scoped(("blocks.4.attention", "Attention"), ("blocks.4.ffn.0", "Relu"), ("blocks.4.ffn.1", "Relu"))
    name_layers(model)
    assert _names(model) == ["layer.0.attention.Attention", "layer.0.ffn.0.Relu", "layer.0.ffn.1.Relu"]


def test_a_node_of_the_model_itself_belongs_to_no_layer(scoped):
    model = scoped(("layer.0.attention", "Attention"), ("", "Relu"), ("pooler", "Relu"))
    name_layers(model)
    assert _names(model) == ["layer.0.attention.Attention", "Relu", "pooler.Relu"]


def test_a_node_from_nowhere_belongs_to_what_runs_before_it(scoped):
    model = scoped(("layer.0.attention", "Attention"), ("layer.0.output", "Relu"), ("pooler", "Relu"))
    list(model.graph)[1].metadata_props.clear()
    name_layers(model)
    assert _names(model) == ["layer.0.attention.Attention", "layer.0.attention.Relu", "pooler.Relu"]


def test_the_same_operator_twice_in_one_module_gets_two_names(scoped):
    model = scoped(("pooler", "Relu"), ("pooler", "Relu"), ("pooler", "Relu"))
    name_layers(model)
    assert _names(model) == ["pooler.Relu", "pooler.Relu_1", "pooler.Relu_2"]


def test_nothing_of_the_machine_that_exported_is_left(scoped):
    model = scoped(("pooler", "Relu"))
    name_layers(model)
    assert not any(node.metadata_props or node.doc_string for node in model.graph)


def test_a_graph_whose_nodes_name_no_module_keeps_its_names(graph, check, numbers):
    model = graph(SIGNATURE, "y = Relu(x)")
    before = _names(model)
    log = check(name_layers, model, {"x": numbers(1, 2, 3, 4)})
    assert log.applied == 0 and log.refusals == {"no node says which module it came from": 1}
    assert _names(model) == before


def test_weights_keep_the_checkpoints_names(captured):
    capture = captured("bert", "feature-extraction")
    stored = set(capture.canonical()[0].graph.initializers)
    assert set(dict(capture.model.named_parameters())) <= stored
