"""The plainest recipe, on the canonical graphs of the families."""

from __future__ import annotations

import numpy as np
import pytest

from bvx.calibration.plain import plain_recipe
from bvx.calibration.ranges import Corpus, Ranges
from bvx.calibration.sites import find_linears, find_tables
from bvx.runtime.errors import CalibrationError


def ranges_of(graph) -> Ranges:
    bounds = {linear.input: (-1.0, 2.0) for linear in find_linears(graph)}
    return Ranges("minmax", Corpus("test", 1, 1, 1, 0, ""), bounds, dict.fromkeys(bounds, 2.0))


def test_alberts_shared_weights_are_quantised_once(captured):
    graph = captured("albert", "fill-mask", vocab_size=300).canonical()[0].graph
    linears = find_linears(graph)
    recipe = plain_recipe(graph, ranges_of(graph))
    weights = {linear.weight for linear in linears}
    assert len(weights) < len(linears) and weights <= set(recipe.weights)


def test_a_tied_table_has_one_entry_with_a_scale_for_every_row(captured):
    graph = captured("bert", "fill-mask", vocab_size=300).canonical()[0].graph
    (tied,) = {table.weight for table in find_tables(graph) if table.tied}
    found = plain_recipe(graph, ranges_of(graph)).weights[tied]
    assert found.axis == 0 and found.scales.shape == (300,)


def test_a_tied_table_whose_decoder_is_kept_stays_as_it_is(captured):
    graph = captured("bert", "fill-mask", vocab_size=300).canonical()[0].graph
    (tied,) = {table.weight for table in find_tables(graph) if table.tied}
    (decoder,) = (linear.node for linear in find_linears(graph) if linear.weight == tied)
    recipe = plain_recipe(graph, ranges_of(graph), kept={decoder: "too much"})
    assert tied not in recipe.weights and recipe.kept == {decoder: "too much"}


def test_small_tables_stay_as_they_are(captured):
    graph = captured("bert", "text-classification", vocab_size=300).canonical()[0].graph
    recipe = plain_recipe(graph, ranges_of(graph))
    small = {table.weight for table in find_tables(graph) if graph.initializers[table.weight].shape[0] <= 256}
    assert small and not small & set(recipe.weights)


@pytest.mark.parametrize(("reduced", "largest"), [(False, 127), (True, 64)])
def test_reduced_weights_of_linears_stay_within_64_and_tables_use_all_of_int8(captured, reduced, largest):
    graph = captured("bert", "text-classification", vocab_size=300).canonical()[0].graph
    recipe = plain_recipe(graph, ranges_of(graph), reduced=reduced)
    tables = {table.weight for table in find_tables(graph)}
    assert recipe.reduced == reduced
    for name, weight in recipe.weights.items():
        assert np.abs(weight.values).max() == (127 if name in tables else largest)


def test_a_linear_whose_input_was_never_seen_is_named(captured):
    graph = captured("bert", "text-classification").canonical()[0].graph
    ranges = ranges_of(graph)
    lost = find_linears(graph)[3]
    del ranges.bounds[lost.input]  # type: ignore[attr-defined]
    with pytest.raises(CalibrationError, match=lost.input):
        plain_recipe(graph, ranges)
