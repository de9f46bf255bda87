"""A result that is not what its verdicts give is a finding, even if its sums were made to fit."""

# ruff: noqa: F811 - fixtures of the runner's tests

from __future__ import annotations

import json

import pytest

from harness.core.io import sha256
from harness.core.workspace import bridge_directory, result_path, with_sum
from harness.evaluation.run import evaluate
from harness.evaluation.verification import verify_results
from tests.evaluation.test_run import bench, change, client, evaluation  # noqa: F401


@pytest.fixture
def result(evaluation, workspace):
    """The file of a result; its benchmark can be built from what is recorded."""
    evaluate(evaluation, workspace)
    return result_path(workspace, "toy-weighted", "ours")


def rewrite(path, **changes):
    """Change a record as somebody does who computes its sum again."""
    data = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(with_sum(data)))


def findings(workspace):
    return [(f.path.name, f.is_fault, f.problem) for f in verify_results(workspace)]


def test_a_result_is_what_its_verdicts_give(result, workspace):
    assert findings(workspace) == []


def test_an_edit_is_a_fault(result, workspace):
    result.write_text(result.read_text().replace('"judged": 12', '"judged": 11'))
    ((name, is_fault, problem),) = findings(workspace)
    assert (name, is_fault) == ("ours.json", True)
    assert "was changed after it was written" in problem


@pytest.mark.parametrize("name", ["items.json", "graded.json", "model_outputs.json"])
def test_an_edit_of_a_file_beside_it_is_a_fault(result, workspace, name):
    beside = result.with_suffix("") / name
    beside.write_text(beside.read_text() + " ")
    ((_, is_fault, problem),) = findings(workspace)
    assert is_fault
    assert name in problem


def test_a_figure_whose_sum_was_computed_again_is_a_fault(result, workspace):
    score = json.loads(result.read_text())["score"]
    score["estimates"]["win_rate"]["value"] = 98.2
    rewrite(result, score=score)
    ((_, is_fault, problem),) = findings(workspace)
    assert is_fault
    assert "win_rate 98.20" in problem
    assert "harness eval --replace" in problem


def test_items_whose_sum_was_computed_again_are_a_fault(result, workspace):
    items = result.with_suffix("") / "items.json"
    rows = json.loads(items.read_text())
    rows[3]["preference"] = 1 - rows[3]["preference"] / 2
    items.write_text(json.dumps(rows))
    files = json.loads(result.read_text())["files"]
    rewrite(result, files=files | {"items.json": sha256(items)})
    ((_, is_fault, problem),) = findings(workspace)
    assert is_fault
    assert "other values of 1 prompts" in problem


def test_what_cannot_be_checked_is_no_fault(result, workspace):
    identity = json.loads(result.read_text())["identity"]
    identity["benchmark"]["settings"]["use"] = "mine:Benchmark"
    rewrite(result, identity=identity)
    ((_, is_fault, problem),) = findings(workspace)
    assert not is_fault
    assert "cannot be scored again" in problem
    (result.with_suffix("") / "graded.json").unlink()
    ((_, is_fault, problem),) = findings(workspace)
    assert not is_fault
    assert "has no graded.json" in problem


def test_a_result_of_an_older_version_cannot_be_checked(result, workspace):
    data = json.loads(result.read_text())
    for key in ("identity", "identity_sha256", "files", "sha256"):
        del data[key]
    result.write_text(json.dumps(data | {"schema": 4}))
    ((_, is_fault, problem),) = findings(workspace)
    assert not is_fault
    assert "older version" in problem


def test_a_comparison_of_judges_that_was_changed_is_a_fault(workspace):
    path = bridge_directory(workspace) / "a--b--toy.json"
    path.parent.mkdir(parents=True)
    record = with_sum({"schema": 5, "models": [], "kappa": 0.5})
    path.write_text(json.dumps(record))
    assert findings(workspace) == []
    path.write_text(json.dumps(record | {"kappa": 0.9}))
    ((name, is_fault, problem),) = findings(workspace)
    assert (name, is_fault) == (path.name, True)
    assert "harness judge bridge" in problem
    path.write_text("{")
    ((_, _, problem),) = findings(workspace)
    assert "is damaged" in problem
