"""The workspace's own files: what is written is read again, and damage is named."""

from __future__ import annotations

import json

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
    path.write_text(json.dumps(vars(run) | changes))
    with pytest.raises(StoreError, match=r"run\.json is damaged"):
        read_run(workspace, run.name)
    assert read_runs(workspace) == []


def test_a_stage_of_a_moved_workspace_is_the_one_of_its_store(workspace, run):
    assert workspace.stage_directory(run.policies[1]) == workspace.root / "stages/optimise-1"
    assert workspace.stage_directory(str(workspace.root.parent)) == workspace.root.parent


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
