"""ALBERT's plan holds its shared layer once, and what would make it hold it again."""

from __future__ import annotations

import zlib

import numpy as np
import onnx_ir as ir
import pytest

from bvx.exporter.tensorrt import BuildOptions, build_plan
from bvx.runtime.manifest import Profile

OPTIONS = BuildOptions("tensorrt-rtx", (Profile((1, 1), (8, 64), (16, 128)),), gpus=("sm_89",))
SHAPE = {"hidden_size": 128, "num_attention_heads": 2, "intermediate_size": 512}
USES = 3
BLOCK = 4096


@pytest.mark.parametrize("precision", ["fp16", "int8", "bf16"])
def test_a_layer_that_is_used_again_and_again_is_in_the_plan_once(rtx, onnx_of, precision):
    path = onnx_of("albert", precision, num_hidden_layers=USES, **SHAPE)
    plan = build_plan(path, precision, OPTIONS)
    assert (plan.audit.fused, plan.audit.merged) == (USES, USES)
    stored, layer = weigh(path)
    assert 0.9 * stored < incompressible(plan.data) < stored + 0.3 * layer


def test_the_bytes_of_each_shared_weight_are_found_once(rtx, onnx_of):
    """But for the queries' and keys', which the builder multiplies by attention's scale."""
    path = onnx_of("albert", "fp16", num_hidden_layers=USES, **SHAPE)
    data = build_plan(path, "fp16", OPTIONS).data
    found = {weight.name.rsplit("layers.0.")[-1]: count(data, weight.const_value.numpy()) for weight in shared(path)}
    scaled = {name: found.pop(name) for name in ("attention.query.weight", "attention.key.weight")}
    assert len(found) == 4 and set(found.values()) == {1}
    assert set(scaled.values()) == {0}


@pytest.mark.parametrize(("change", "copies"), [("transposed", 1), ("scaled", USES - 1)])
def test_a_form_of_its_own_for_every_use_stores_it_again(rtx, onnx_of, change, copies):
    path = onnx_of("albert", "fp16", num_hidden_layers=USES, **SHAPE)
    stored, layer = weigh(path)
    model = ir.load(path)
    {"transposed": transpose_every_other_use, "scaled": scale_every_use}[change](model)
    ir.save(model, path)
    plan = build_plan(path, "fp16", OPTIONS)
    assert incompressible(plan.data) > stored + (copies - 0.5) * layer


def incompressible(data):
    """Bytes of the blocks that deflate leaves as large as they are. Random weights are; a plan's programs are not."""
    blocks = [data[start : start + BLOCK] for start in range(0, len(data), BLOCK)]
    return sum(len(block) for block in blocks if len(zlib.compress(block, 1)) >= 0.7 * len(block))


def count(data, weight):
    middle = weight.nbytes // 2
    return data.count(weight.tobytes()[middle : middle + 32])


def shared(path):
    """The weights of the layer that is used again and again."""
    return [
        value
        for value in ir.load(path).graph.initializers.values()
        if "albert_layers" in value.name and len(value.shape) == 2
    ]


def weigh(path):
    """Bytes of all that the graph stores, and of the shared layer."""
    every = ir.load(path).graph.initializers.values()
    return sum(one.const_value.nbytes for one in every), sum(one.const_value.nbytes for one in shared(path))


def transpose_every_other_use(model):
    for weight in [one for one in model.graph.initializers.values() if len(list(one.uses())) == USES]:
        if weight.shape is None or len(weight.shape) != 2:
            continue
        array = np.ascontiguousarray(weight.const_value.numpy().T)
        turned = store(model, f"{weight.name}.turned", array)
        for number, use in enumerate(list(weight.uses())[1::2]):
            put_between(model, use, "Transpose", [turned], f"{weight.name}.{number}", {"perm": [1, 0]})


def scale_every_use(model):
    """As a smoothing of its own for each use would."""
    for weight in [one for one in model.graph.initializers.values() if len(list(one.uses())) == USES]:
        if weight.shape is None or len(weight.shape) != 2:
            continue
        for number, use in enumerate(list(weight.uses())):
            factors = np.linspace(0.5 + number / 100, 2, weight.shape[0]).astype(np.float16)[:, None]
            factor = store(model, f"{weight.name}.{number}.factors", factors)
            put_between(model, use, "Mul", [weight, factor], f"{weight.name}.{number}", {})


def store(model, name, array):
    tensor = ir.tensor(array, name=name)
    value = ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
    model.graph.register_initializer(value)
    return value


def put_between(model, use, operator, inputs, name, attributes):
    node = ir.node(operator, inputs, attributes, name=name)
    node.outputs[0].name, node.outputs[0].type = f"{name}.out", ir.TensorType(ir.DataType.FLOAT16)
    model.graph.insert_before(use.node, node)
    use.node.replace_input_with(use.idx, node.outputs[0])
