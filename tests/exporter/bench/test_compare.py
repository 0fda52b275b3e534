"""`--compare`: a planted slowdown is caught, reruns of the same build are not accused."""

import copy

import pytest

from bvx.exporter.bench.compare import compare_documents, read_share
from bvx.runtime.errors import PlanError

ENGINES = {"bvx onnxruntime fp32": 10.0, "bvx openvino fp32": 12.0}


def verdicts(old, new, share=0.05):
    return [change.verdict for change in compare_documents(old, new, share)[0]]


def test_a_planted_slowdown_of_a_fifth_is_caught_in_every_cell(make_document):
    assert verdicts(make_document(ENGINES), make_document(ENGINES, seed=1, slow=1.2)) == ["slower"] * 4


def test_a_fifth_in_one_cell_alone_is_caught_there_and_nowhere_else(make_document):
    old, new = make_document(ENGINES), make_document(ENGINES, seed=1)
    new["cells"][2]["turns"] = [[1.2 * taken for taken in turn] for turn in new["cells"][2]["turns"]]
    new["cells"][2]["work"] = [1.2 * taken for taken in new["cells"][2]["work"]]
    assert verdicts(old, new) == ["no difference", "no difference", "slower", "no difference"]


def test_ten_reruns_of_the_same_build_are_quiet(make_document):
    old = make_document(ENGINES)
    for seed in range(1, 11):
        assert set(verdicts(old, make_document(ENGINES, seed=seed))) == {"no difference"}


@pytest.mark.parametrize("drift", [0.6, 1.5])
def test_a_machine_that_was_slower_or_faster_as_a_whole_is_not_the_builds_doing(make_document, drift):
    old, new = make_document(ENGINES), make_document(ENGINES, seed=1, drift=drift)
    assert set(verdicts(old, new)) == {"no difference"}


def test_disturbances_that_lengthen_some_turns_do_not_count(make_document):
    old, new = make_document(ENGINES), make_document(ENGINES, seed=1)
    for cell in new["cells"]:
        cell["turns"][: len(cell["turns"]) * 6 // 10] = [
            [2 * taken for taken in turn] for turn in cell["turns"][: len(cell["turns"]) * 6 // 10]
        ]
    assert "slower" not in verdicts(old, new)


def test_runs_that_waited_for_a_processor_which_others_had_are_not_accused(make_document):
    old, new = make_document(ENGINES), make_document(ENGINES, seed=1)
    for cell in new["cells"]:
        cell["turns"] = [[1.8 * taken for taken in turn] for turn in cell["turns"]]
    assert "slower" not in verdicts(old, new)


@pytest.mark.parametrize("position", [0, 1])
def test_on_a_machine_that_was_too_busy_nothing_is_accused_and_the_reason_is_said(make_document, position):
    documents = make_document(ENGINES), make_document(ENGINES, seed=1, slow=1.5)
    documents[position]["machine"]["noise"]["waited"] = 0.6
    changes, (remark,) = compare_documents(*documents, 0.05)
    assert {change.verdict for change in changes} == {"too noisy"}
    assert "60 % of their time" in remark and ("old", "new")[position] in remark


def test_what_waits_for_a_device_is_judged_by_the_clock_alone(make_document):
    old, new = make_document(ENGINES), make_document(ENGINES, seed=1, slow=1.2)
    for cell in (*old["cells"], *new["cells"]):
        cell["work"] = [0.3] * len(cell["work"])
    assert verdicts(old, new) == ["slower"] * 4


def test_documents_that_say_nothing_of_processor_time_are_judged_by_the_clock(make_document):
    old, new = make_document(ENGINES), make_document(ENGINES, seed=1, slow=1.2)
    for cell in old["cells"]:
        del cell["work"]
    assert verdicts(old, new) == ["slower"] * 4


def test_what_got_faster_is_said_too(make_document):
    assert verdicts(make_document(ENGINES), make_document(ENGINES, seed=1, slow=0.7)) == ["faster"] * 4


def test_more_is_allowed_where_more_is_asked_for(make_document):
    old, new = make_document(ENGINES), make_document(ENGINES, seed=1, slow=1.2)
    assert set(verdicts(old, new, share=0.3)) == {"no difference"}


def test_cells_that_one_document_lacks_and_another_processor_are_said(make_document):
    old, new = make_document(ENGINES), make_document({"bvx onnxruntime fp32": 10.0, "torch": 20.0}, seed=1)
    new["machine"]["cpu"] = "another"
    changes, remarks = compare_documents(old, new, 0.05)
    assert {change.contender for change in changes} == {"bvx onnxruntime fp32"}
    assert any("different processors" in remark for remark in remarks)
    assert any("bvx openvino fp32 at 8x128 on 1 thread is only in the old" in remark for remark in remarks)
    assert any("torch at 1x16 on 1 thread is only in the new" in remark for remark in remarks)


def test_documents_without_a_common_cell_are_refused(make_document):
    with pytest.raises(PlanError, match="no cell in common"):
        compare_documents(make_document({"a": 1.0}), make_document({"b": 1.0}), 0.05)


def test_nothing_is_changed_in_what_is_compared(make_document):
    old, new = make_document(ENGINES), make_document(ENGINES, seed=1)
    before = copy.deepcopy((old, new))
    compare_documents(old, new, 0.05)
    assert (old, new) == before


@pytest.mark.parametrize(("text", "share"), [("5%", 0.05), ("0.05", 0.05), ("12.5%", 0.125), ("0", 0.0)])
def test_shares_are_written_in_two_ways(text, share):
    assert read_share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "-5%", "five", "5%%", "1e9"])
def test_a_share_that_is_none_is_refused(text):
    with pytest.raises(PlanError, match="--fail-above"):
        read_share(text)
