"""The workspace's own files: what is written is read again, and damage is named."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from harness.core.workspace import (
    GRADED_FILE,
    Run,
    Workspace,
    read_graded,
    read_items,
    read_log,
    read_run,
    read_runs,
    run_directory,
    write_run,
)
from harness.core.workspace.results import RENAMED_COUNTS
from harness.errors import StoreError

OLD, NEW = next(iter(RENAMED_COUNTS.items()))


@pytest.fixture
def run() -> Run:
    config = {"policy": {"name": "sft"}}
    return Run("toy/inpo", "INPO", config, ["start", "/elsewhere/stages/optimise-1"], True, {})


def test_a_run_is_read_as_it_was_written(workspace: Workspace, run: Run):
    assert read_run(workspace, "toy/inpo") is None
    write_run(workspace, run)
    assert read_run(workspace, "toy/inpo") == run
    assert run.base == "sft"


@pytest.mark.parametrize(
    "changes", [{"policies": [None]}, {"method": 3}, {"config": []}, {"unknown": 1}]
)
def test_a_damaged_record_is_named_and_left_out_of_the_list(workspace, run, changes):
    write_run(workspace, run)
    path = run_directory(workspace, run.name) / "run.json"
    path.write_text(json.dumps(vars(run) | changes))  # of the first schema, without a sum
    with pytest.raises(StoreError, match=r"run\.json is damaged .*harness train"):
        read_run(workspace, run.name)
    assert read_runs(workspace) == []


STAGE = f"optimise-{'0a' * 10}"


def test_a_moved_or_copied_workspace_names_its_own_stages(workspace, run, tmp_path):
    own = str(workspace.root / "stages" / STAGE)
    write_run(workspace, replace(run, policies=["org/model", own], digests=["a", "b"]))
    record = json.loads((run_directory(workspace, run.name) / "run.json").read_text())
    assert record["policies"] == ["org/model", f"stages/{STAGE}"]
    shutil.copytree(workspace.root, tmp_path / "copy")
    copy = Workspace(tmp_path / "copy")
    read = read_run(copy, run.name)
    assert read is not None
    assert read.policies == ["org/model", str(copy.root / "stages" / STAGE)]
    assert (read.digest(0), read.digest(None)) == ("a", "b")


def test_a_policy_from_outside_is_recorded_by_its_whole_path(workspace, run, tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    write_run(workspace, replace(run, policies=["model"]))
    read = read_run(workspace, run.name)
    assert read is not None
    assert read.policies == [str(tmp_path / "model")]


def test_a_record_of_an_older_version_names_stages_of_this_workspace_alone(workspace, run):
    original = f"/original/stages/{STAGE}"
    path = run_directory(workspace, run.name) / "run.json"
    path.parent.mkdir(parents=True)
    data = vars(run) | {"policies": ["start", original]}
    del data["digests"], data["default_name"]
    path.write_text(json.dumps(data))
    read = read_run(workspace, run.name)
    assert read is not None
    assert read.policies == ["start", str(workspace.root / "stages" / STAGE)]
    assert read.digest(1) == ""


@pytest.mark.parametrize(
    "change", [("INPO", "DPO"), ('"complete": true', '"complete": false'), ('"sha256"', '"sha"')]
)
def test_a_record_that_was_edited_is_refused(workspace, run, change):
    write_run(workspace, run)
    path = run_directory(workspace, run.name) / "run.json"
    assert change[0] in path.read_text()
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(StoreError, match=r"run\.json .*sha256.*harness train"):
        read_run(workspace, run.name)


def test_a_log_ends_at_the_first_line_that_is_not_whole(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert read_log(log) == [{"step": 1}, {"step": 2}]
    assert read_log(tmp_path / "missing") == []
    assert read_log(tmp_path / ("n" * 5000)) == []


def test_items_and_verdicts_of_older_files_are_read_by_their_old_keys(tmp_path):
    items = tmp_path / "items.json"
    items.write_text(json.dumps([{"prompt_id": "p", "won": 1.0, OLD: 0}]))
    assert read_items(items) == [{"prompt_id": "p", "won": 1.0, NEW: 0}]
    (tmp_path / "result").mkdir()
    verdict = {"request_id": "p", "reading": {"value": 0.5, "label": "A=B"}, "model": "j"}
    graded = {"label": "x", "judge": "j", "prompts": [], "notes": []}
    graded |= {"answers": [], "baseline": [], "verdicts": [verdict]}
    (tmp_path / "result" / GRADED_FILE).write_text(json.dumps(graded))
    (read,) = read_graded(tmp_path / "result.json").verdicts
    assert read.parsed is not None
    assert (read.parsed.value, read.parsed.label, read.text) == (0.5, "A=B", "")
