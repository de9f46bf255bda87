"""Runs: what they use and share; removal frees space and never breaks another run; export."""

from __future__ import annotations

import fcntl
import json
import shutil

import pytest

import harness as ph
from harness.api.runs import describe_run, plan_removal, remove_run, summarize_runs
from harness.core.manifests import read_manifest
from harness.core.workspace import Workspace, write_run
from harness.core.workspace.locks import in_use
from harness.core.workspace.sweeps import SweepRecord, SweepRun, sweep_names, write_sweep
from harness.errors import ConfigError, StoreError
from tests.api.conftest import train


def kinds(uses):
    return sorted(use.kind for use in uses)


def created(run, workspace, **overrides):
    """Train again; return the stages that had to be made."""
    before = set((workspace / "stages").glob("[!.]*"))
    train(run, workspace, **overrides)
    new = set((workspace / "stages").glob("[!.]*")) - before
    return sorted(path.name.rpartition("-")[0] for path in new)


def test_runs_are_summarized_with_what_is_their_own(two_runs):
    a, b = summarize_runs(two_runs)
    assert (a.name, a.method, a.state, a.iterations, a.planned) == ("a", "INPO", "complete", 2, 2)
    assert 0 < a.own < a.size
    assert a.at.endswith("Z")
    assert (b.name, b.sweep) == ("b", "")


def test_a_run_shows_stages_shared_runs_policies_and_results(two_runs):
    details = describe_run("a", two_runs)
    shared = {use.kind for use in details.stages if use.shared_with == ("b",)}
    assert {"fine-tune", "prompts", "generate", "compare", "pair"} <= shared
    own = kinds(use for use in details.stages if not use.shared_with)
    assert own.count("optimise") == 2  # π_2 and π_3 of another η are other weights
    assert own.count("answer") == 1
    assert [path.is_dir() for path in details.policies] == [True] * 3
    (row,) = details.results
    assert (row.benchmark, row.label, row.iteration) == ("toy-labels", "a", 2)
    assert describe_run("b", two_runs).results == ()


def test_removal_frees_what_only_the_run_uses_and_keeps_results(runs_copy):
    size = describe_run("a", runs_copy).summary.size
    removal = plan_removal("a", workspace=runs_copy)
    assert 0 < removal.size < size
    assert kinds(removal.stages).count("optimise") == 2
    assert {"fine-tune", "generate", "pair"} <= {use.kind for use in removal.retained}
    assert remove_run("a", workspace=runs_copy) == removal
    assert not any(use.path.exists() for use in removal.stages)
    assert not list((runs_copy / "stages").glob(".partial-*"))
    assert ph.runs(workspace=runs_copy) == ["b"]
    assert len(list((runs_copy / "results").glob("toy-labels/*.json"))) == 1
    assert created("b", runs_copy, objective__eta=0.9) == []
    assert ph.leaderboard(workspace=runs_copy).to_frame().shape[0] == 1


def test_results_go_with_the_run_if_asked_and_their_baseline_too(runs_copy):
    removal = ph.run("a", workspace=runs_copy).remove(results=True)
    assert [row.benchmark for row in removal.results] == ["toy-labels"]
    assert not list((runs_copy / "results").glob("toy-labels/*.json"))
    names = [path.name for path in (runs_copy / "stages").glob("answer-*")]
    assert names == []  # those of the run and of the baseline
    assert len(list((runs_copy / "stages").glob("fine-tune-*"))) == 1  # b starts from it


def test_the_last_run_takes_everything_but_the_baseline_of_its_results(runs_copy):
    remove_run("b", workspace=runs_copy)
    remove_run("a", workspace=runs_copy)
    left = sorted(path.name.rpartition("-")[0] for path in (runs_copy / "stages").glob("[!.]*"))
    assert left == ["answer", "fine-tune"]


def test_what_another_runs_start_rests_on_stays(runs_copy):
    policy = ph.run("a", workspace=runs_copy).policies[1].path
    start = {
        "use": "harness.training.sources:Pretrained",
        "name": "from-a",
        "path": str(policy),
    }
    train("c", runs_copy, policy=start, iterations=1)
    remove_run("a", workspace=runs_copy)
    assert policy.is_dir()
    read_manifest(policy)
    assert ph.run("c", workspace=runs_copy).policies[-1].path.is_dir()


def test_an_incomplete_runs_next_stages_stay(runs_copy):
    """`b` has made its first policy and the samples for the second one, when `a` is removed."""
    workspace = Workspace(runs_copy)
    record = ph.run("b", workspace=runs_copy).record
    details = describe_run("b", runs_copy)
    last = details.policies[-1]
    shutil.rmtree(last)
    shutil.rmtree(runs_copy / "stages/.manifests" / last.name, ignore_errors=True)
    stopped = {**vars(record), "policies": record.policies[:-1], "digests": record.digests[:-1]}
    write_run(workspace, type(record)(**{**stopped, "complete": False}))
    assert describe_run("b", runs_copy).summary.state == "stopped"
    remove_run("a", workspace=runs_copy)
    ph.prune_workspace(workspace=runs_copy)
    assert created("b", runs_copy, objective__eta=0.9) == ["optimise"]


def test_nothing_is_removed_while_a_stage_is_made(runs_copy):
    locks = runs_copy / "stages/.locks"
    with (locks / "generate-00000000000000000000").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StoreError, match=r"is in use \(generate-0+ is being made\)"):
            remove_run("a", workspace=runs_copy)
        with pytest.raises(StoreError, match="is in use"):
            ph.prune_workspace(workspace=runs_copy)
    with in_use(Workspace(runs_copy)), pytest.raises(StoreError, match="is in use"):
        remove_run("a", workspace=runs_copy)
    assert ph.runs(workspace=runs_copy) == ["a", "b"]
    remove_run("a", workspace=runs_copy)


def test_nothing_is_removed_where_a_record_is_damaged(runs_copy):
    (runs_copy / "train/b/run.json").write_text("{}")
    with pytest.raises(StoreError, match=r"b/run.json is damaged"):
        remove_run("a", workspace=runs_copy)
    with pytest.raises(StoreError, match=r"b/run.json is damaged"):
        ph.prune_workspace(workspace=runs_copy)
    assert ph.run("a", workspace=runs_copy).policies[-1].path.is_dir()


def test_an_unknown_run_is_refused(runs_copy):
    for call in (describe_run, remove_run, plan_removal):
        with pytest.raises(ConfigError, match="no run called 'nothing'"):
            call("nothing", workspace=runs_copy)


def sweep(name, *runs):
    members = tuple(SweepRun(run, run, run, "toy/inpo", {}, 0) for run in runs)
    return SweepRecord(name, members)


def test_a_sweep_is_removed_with_its_runs_but_for_those_of_another_sweep(runs_copy):
    workspace = Workspace(runs_copy)
    write_sweep(workspace, sweep("s", "a", "b", "never trained"))
    write_sweep(workspace, sweep("other", "b"))
    removal = plan_removal("s", workspace=runs_copy)
    assert removal.runs == ("a",)
    assert removal.stages == plan_removal("a", workspace=runs_copy).stages
    assert remove_run("s", workspace=runs_copy) == removal
    assert ph.runs(workspace=runs_copy) == ["b"]
    assert sweep_names(workspace) == ["other"]
    assert created("b", runs_copy, objective__eta=0.9) == []
    remove_run("other", workspace=runs_copy)
    assert ph.runs(workspace=runs_copy) == []
    assert sweep_names(workspace) == []


def test_a_removed_run_leaves_runs_of_longer_names_alone(runs_copy):
    train("a/inner", runs_copy)
    remove_run("a", workspace=runs_copy)
    assert ph.runs(workspace=runs_copy) == ["a/inner", "b"]
    remove_run("a/inner", workspace=runs_copy)
    assert sorted(path.name for path in (runs_copy / "train").iterdir()) == ["b"]
    assert json.loads((runs_copy / "train/b/run.json").read_text())["complete"]
