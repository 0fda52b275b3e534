"""The most sensitive layers come first, and the fewest that have to be kept are found with few measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
import pytest

from bvx.calibration.plain import plain_recipe
from bvx.calibration.ranges import Corpus, Ranges
from bvx.calibration.recipe import Recipe
from bvx.calibration.sensitivity import Tradeoff, keep, keep_fewest, rank_operators
from bvx.calibration.weights import restore

WIDTH = 8


def chain(weights: Sequence[str]) -> ir.Model:
    """x @ weights[0] @ weights[1] …, the nodes called n0, n1, …; a name that comes twice is one weight."""
    random = np.random.default_rng(0)
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(["rows", WIDTH]))
    stored = {}
    for name in dict.fromkeys(weights):
        array = random.normal(size=(WIDTH, WIDTH)).astype(np.float32)
        stored[name] = ir.Value(name=name, const_value=ir.tensor(array, name=name), shape=ir.Shape(array.shape))
    value, nodes = x, []
    for number, name in enumerate(weights):
        nodes.append(ir.node("MatMul", [value, stored[name]], name=f"n{number}"))
        value = nodes[-1].outputs[0]
        value.name = f"y{number}"
    graph = ir.Graph([x], [value], nodes=nodes, initializers=stored.values(), opset_imports={"": 23})
    return ir.Model(graph, ir_version=10)


def recipe_of(model: ir.Model) -> Recipe:
    bounds = dict.fromkeys(("x", *(f"y{number}" for number in range(len(list(model.graph))))), (-1.0, 1.0))
    return plain_recipe(model.graph, Ranges("minmax", Corpus("", 1, 1, 1, 0, ""), bounds, {}))


def search(model: ir.Model, order: Sequence[str], harm: Mapping[str, float], budget: float) -> tuple[Tradeoff, int]:
    """A search where each layer that is int8 costs its harm, and how many times it measured."""
    seen: list[Recipe] = []

    def measure(recipe: Recipe) -> float:
        seen.append(recipe)
        return sum(cost for node, cost in harm.items() if node not in recipe.kept)

    return keep_fewest(model.graph, recipe_of(model), order, measure, budget), len(seen)


def test_the_layer_whose_rounding_moves_the_outputs_most_comes_first():
    model = chain(["a", "b", "c"])
    noise = {"n0": 0.1, "n1": 2.0, "n2": 0.5}
    told: list[str] = []

    def run(recipe: Recipe) -> dict[str, np.ndarray]:
        moved = sum(size for node, size in noise.items() if node not in recipe.kept)
        return {"y": np.full((4, 2), 4.0) + moved, "z": np.full(3, 100.0)}

    found = rank_operators(model.graph, recipe_of(model), run, told.append)
    assert [one.node for one in found] == ["n1", "n2", "n0"] and told == ["n0", "n1", "n2"]
    assert [one.divergence for one in found] == pytest.approx([0.5, 0.125, 0.025])


def test_layers_that_are_kept_already_are_not_looked_at():
    model = chain(["a", "b", "c"])
    recipe = keep(model.graph, recipe_of(model), {"n1": "asked for"})
    found = rank_operators(model.graph, recipe, lambda recipe: {"y": np.ones(2)})
    assert [(one.node, one.divergence) for one in found] == [("n0", 0.0), ("n2", 0.0)]


def test_a_kept_layer_frees_its_weight_unless_another_use_is_int8():
    model = chain(["a", "a", "b"])
    recipe = recipe_of(model)
    one = keep(model.graph, recipe, {"n0": "why"})
    assert one.weights.keys() == {"a", "b"} and one.kept == {"n0": "why"}
    both = keep(model.graph, one, {"n1": "why too"})
    assert both.weights.keys() == {"b"} and both.kept == {"n0": "why", "n1": "why too"}
    assert np.array_equal(restore(both.weights["b"]), restore(recipe.weights["b"]))


@pytest.mark.parametrize(("budget", "kept"), [(10.0, 0), (5.9, 1), (1.5, 3), (0.25, 4), (0.0, 8)])
def test_the_fewest_layers_are_kept_that_meet_the_budget(budget, kept):
    model = chain([f"w{number}" for number in range(8)])
    harm = dict(zip((f"n{number}" for number in range(8)), (4.0, 3.0, 1.5, 1.0, 0.1, 0.05, 0.02, 0.01), strict=True))
    found, _ = search(model, list(harm), harm, budget)
    assert found.reached and len(found.best.kept) == kept and found.best.drop <= budget
    assert found.best.kept == tuple(list(harm)[:kept])


def test_the_trade_off_goes_from_all_int8_to_what_was_needed():
    model = chain([f"w{number}" for number in range(8)])
    harm = {f"n{number}": 1.0 for number in range(8)}
    found, _ = search(model, list(harm), harm, 3.0)
    assert [len(trial.kept) for trial in found.trials] == sorted(len(trial.kept) for trial in found.trials)
    first, best = found.trials[0], found.best
    assert (first.kept, first.drop, first.share) == ((), 8.0, 1.0) and len(best.kept) == 5
    assert best.share == 3 / 8 and best.bytes - first.bytes == 5 * (4 * WIDTH * WIDTH - WIDTH * WIDTH - 4 * WIDTH)
    assert first.speedup(4.0) == 4.0 and best.speedup(4.0) == pytest.approx(1 / (5 / 8 + 3 / 32))


def test_what_was_kept_in_vain_is_let_go():
    model = chain([f"w{number}" for number in range(6)])
    harm = {"n0": 0.0, "n1": 5.0, "n2": 0.0, "n3": 0.0, "n4": 0.0, "n5": 0.0}
    found, _ = search(model, list(harm), harm, 1.0)
    assert found.best.kept == ("n1",)


def test_many_layers_take_few_measurements():
    model = chain([f"w{number}" for number in range(72)])
    harm = {f"n{number}": 1.0 for number in range(72)}
    found, measured = search(model, list(harm), harm, 30.0)
    assert len(found.best.kept) == 42 and measured < 25


def test_a_budget_that_cannot_be_met_gives_the_best_that_was_found():
    model = chain(["a", "b", "c"])
    recipe = recipe_of(model)
    # Int8 tables, say, cost something that no layer can bring back.
    found = keep_fewest(model.graph, recipe, ["n0", "n1", "n2"], lambda one: 3.0 - len(one.kept) / 2, 0.5)
    assert not found.reached and found.best.kept == ("n0", "n1", "n2") and found.best.drop == 1.5
