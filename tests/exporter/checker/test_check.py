"""The way into the checker: files, other targets, and rules that every one can be told apart by."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from bvx.exporter.checker import RULES, check
from bvx.runtime.errors import BundleError, PlanError

from .conftest import graph, node


def test_a_file_is_checked_like_its_graph(tmp_path):
    model = graph([node("Gelu", "x", "y", domain="com.microsoft")], domains=["com.microsoft"])
    path = tmp_path / "model.onnx"
    ir.save(model, path)
    assert check(path) == check(model) != ()


def test_what_is_no_onnx_file_is_refused_in_words(tmp_path):
    path = tmp_path / "notes.onnx"
    path.write_text("no graph")
    with pytest.raises(BundleError, match=r"notes\.onnx cannot be read as an ONNX file"):
        check(path)
    with pytest.raises(BundleError, match="cannot be read"):
        check(tmp_path / "absent.onnx")


def test_another_target_is_refused():
    with pytest.raises(PlanError, match="no rules for 'tpu'"):
        check(graph([node("Identity", "x", "y")]), target="tpu")


def test_the_graph_that_is_checked_is_not_changed():
    model = graph([node("Identity", "x", "i"), node("Identity", "i", "y")])
    before = ir.to_proto(model).SerializeToString()
    check(model)
    assert ir.to_proto(model).SerializeToString() == before


def test_every_rule_has_its_own_name_and_a_remedy():
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(rule.remedy.endswith(".") for rule in RULES)


def test_the_documentation_has_a_line_for_every_rule_and_says_where_it_is_stricter(root):
    page = (root / "docs/tensorrt.md").read_text()
    lines = page.partition("## Will it build?")[2].partition("\n## ")[0].splitlines()
    rows = {line.split("`")[1]: line.split("|") for line in lines if line.startswith("| `")}
    assert set(rows) == {rule.name for rule in RULES}
    for rule in RULES:
        assert rows[rule.name][2].strip() == rule.severity
        assert ("stricter" in rows[rule.name][3]) == bool(rule.stricter)
