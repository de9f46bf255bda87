"""The space that a workspace takes, what prune removes, and what verify finds."""

from __future__ import annotations

import json
import os
import shutil
import time

import pytest

import harness as ph
from harness.api.workspaces import plan_prune
from harness.core.workspace import with_sum
from tests.api.test_runs import created


def findings(workspace):
    """Return kind and problem of every finding; all of them are faults."""
    reported = list(ph.verify_workspace(workspace))
    assert all(finding.is_fault for finding in reported)
    return [(finding.kind, finding.problem) for finding in reported]


def test_usage_adds_up_by_kind_and_by_run(two_runs):
    usage = ph.workspace_usage(two_runs)
    files = [path for path in two_runs.rglob("*") if path.is_file()]
    assert usage.total == sum(path.stat().st_size for path in files)
    assert usage.kinds["stages"] == sum(usage.stage_kinds.values())
    assert usage.kinds["verdicts"] > 0
    assert usage.kinds["results"] > 0
    assert usage.unused == 0
    a, b = usage.runs
    assert (a.run, b.run) == ("a", "b")
    assert a.shared == b.shared > 0
    assert a.own > b.own  # the answers to the benchmark


def test_prune_removes_what_nothing_needs_and_nothing_else(runs_copy):
    assert plan_prune(workspace=runs_copy) == ()
    shutil.rmtree(runs_copy / "train/b")
    orphans = plan_prune(workspace=runs_copy)
    assert {leftover.kind for leftover in orphans} == {"stage"}
    assert ph.workspace_usage(runs_copy).unused == sum(leftover.size for leftover in orphans)
    assert ph.prune_workspace(workspace=runs_copy) == orphans
    assert plan_prune(workspace=runs_copy) == ()
    assert findings(runs_copy) == []
    assert created("a", runs_copy) == []


def test_prune_removes_what_killed_commands_left(runs_copy):
    partial = runs_copy / "stages/.partial-optimise-0123456789abcdef0123"
    old, new = (runs_copy / f"stages/.scratch/optimise-{digit * 20}" for digit in "01")
    for folder in (partial, old, new):
        folder.mkdir(parents=True)
        (folder / "checkpoint").write_bytes(b"1234")
    two_days_ago = time.time() - 2 * 24 * 3600
    for path in (old / "checkpoint", old):
        os.utime(path, (two_days_ago, two_days_ago))
    removed = ph.prune_workspace(workspace=runs_copy)
    assert sorted((leftover.kind, leftover.size) for leftover in removed) == [
        ("partial", 4),
        ("scratch", 4),
    ]
    assert new.is_dir()
    assert not old.exists()
    assert not partial.exists()


def test_samples_of_finished_iterations_go_and_nothing_is_made_again(runs_copy):
    removed = ph.prune_workspace(samples=True, workspace=runs_copy)
    assert {leftover.kind for leftover in removed} == {"samples"}
    assert list((runs_copy / "stages").glob("generate-*")) == []
    assert created("a", runs_copy) == []
    assert created("b", runs_copy, objective__eta=0.9) == []
    assert plan_prune(samples=True, workspace=runs_copy) == ()
    assert findings(runs_copy) == []
    assert ph.run("a", workspace=runs_copy).export(runs_copy.parent / "out").pairs


def test_prune_of_no_workspace_makes_none(tmp_path):
    assert ph.prune_workspace(workspace=tmp_path / "none") == ()
    assert not (tmp_path / "none").exists()


def test_a_whole_workspace_has_no_findings(two_runs):
    assert findings(two_runs) == []


def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def test_a_flipped_bit_of_weights_is_found(runs_copy):
    flip(ph.run("a", workspace=runs_copy).policies[-1].path / "model.safetensors")
    ((kind, problem),) = findings(runs_copy)
    assert kind == "stage"
    assert "model.safetensors has another content" in problem


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_an_edited_run_record_is_found(runs_copy):
    edit(runs_copy / "train/a/run.json", '"method": "INPO"', '"method": "OPNI"')
    assert [kind for kind, _ in findings(runs_copy)] == ["run"]


def test_a_missing_policy_is_found(runs_copy):
    shutil.rmtree(ph.run("b", workspace=runs_copy).policies[-1].path)
    ((kind, problem),) = findings(runs_copy)
    assert kind == "run"
    assert "a policy of the run 'b' is missing" in problem


@pytest.mark.parametrize("name", ["a.json", "a/items.json", "a/graded.json"])
def test_an_edited_result_is_found(runs_copy, name):
    path = runs_copy / "results/toy-labels" / name
    data = json.loads(path.read_text())
    if name == "a.json":
        data["score"]["estimates"]["win_rate"]["value"] = 98.2
    elif isinstance(data, list):
        data[0]["prompt_id"] = "another"
    else:
        data["label"] = "another"
    path.write_text(json.dumps(data))
    assert {kind for kind, _ in findings(runs_copy)} == {"result"}


def test_a_figure_that_its_verdicts_do_not_give_is_found_also_with_a_new_sum(runs_copy):
    path = runs_copy / "results/toy-labels/a.json"
    data = json.loads(path.read_text())
    data["score"]["estimates"]["win_rate"]["value"] = 98.2
    path.write_text(json.dumps(with_sum(data)))
    ((kind, problem),) = findings(runs_copy)
    assert kind == "result"
    assert "is not what its verdicts give" in problem


def test_a_damaged_verdict_store_is_found(runs_copy):
    path = runs_copy / "verdicts.sqlite"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(bytes(data))
    assert "verdicts" in {kind for kind, _ in findings(runs_copy)}


def test_a_damaged_sweep_record_is_found(runs_copy):
    path = runs_copy / "train/s/sweep.json"
    path.parent.mkdir()
    path.write_text("[]")
    ((kind, problem),) = findings(runs_copy)
    assert kind == "sweep"
    assert "is damaged" in problem
