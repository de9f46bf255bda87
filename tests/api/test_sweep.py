"""Sweeps: names, shared stages, means over seeds, failures, and going on after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

import harness as ph
from harness.api import sweep
from harness.api.judging import ConfiguredJudge
from harness.api.runs import remove_run, summarize_runs
from harness.api.sweep_plans import Grading, count_stages, plan_sweep
from harness.cli.main import app
from harness.core.config import to_data
from harness.core.workspace import Workspace
from harness.core.workspace.sweeps import read_sweep
from harness.errors import BudgetError, CheckError, ConfigError, RunExistsError, StoreError
from tests.conftest import tiny

METHOD = {
    "ref": "train/toy/inpo",
    "policy": to_data(tiny()),
    "prompts": {"use": "harness.training.sources:ToyPrompts", "count": 16},
    "samples": 4,
    "iterations": 1,
    "optimiser": {"batch": 8, "learning_rate": 5e-3},
}
EVALUATION = {"count": 6, "baseline": to_data(tiny(1))}
SETTINGS = {"objective.eta": [0.2, 0.9]}
RUNS = [f"s/eta={eta},seed={seed}" for eta in (0.2, 0.9) for seed in (0, 1)]


def small_sweep(workspace: Path | Workspace, **options: object) -> ph.Sweep:
    usual = {"seeds": (0, 1), "bench": "toy-labels", "judge": "toy", "name": "s"}
    settings = options.pop("settings", SETTINGS)
    methods = options.pop("methods", METHOD)
    both = {**usual, **options}
    return ph.sweep(methods, settings, evaluation=EVALUATION, workspace=workspace, **both)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    root = tmp_path_factory.mktemp("sweep") / "runs"
    return root, small_sweep(root)


def test_runs_are_named_labelled_and_listed_under_the_sweep(swept):
    root, done = swept
    assert [run.name for run in done.runs] == RUNS
    assert done.failures == []
    labels = [f"INPO (eta={eta}, seed {seed})" for eta in (0.2, 0.9) for seed in (0, 1)]
    assert [result.label for result in done.results] == labels
    assert [run.config["objective"]["eta"] for run in done.runs] == [0.2, 0.2, 0.9, 0.9]
    assert [run.config["seed"] for run in done.runs] == [0, 1, 0, 1]
    assert {run.name: run.sweep for run in summarize_runs(root)} == dict.fromkeys(RUNS, "s")


def test_what_runs_have_in_common_is_made_once(swept):
    root, _ = swept
    counts = {
        kind: len(list((root / "stages").glob(f"{kind}-*")))
        for kind in ("fine-tune", "prompts", "generate", "pair", "optimise")
    }
    # one start and one baseline; one list of prompts; samples by seed; weights by run
    assert counts == {"fine-tune": 2, "prompts": 1, "generate": 2, "pair": 2, "optimise": 4}


def test_the_table_has_means_over_seeds_and_differences_from_the_first_setting(swept):
    root, done = swept
    frame = done.leaderboard.to_frame()
    assert sorted(frame["method"]) == ["INPO (eta=0.2)", "INPO (eta=0.9)"]
    figures = {result.label: result["win_rate"].value for result in done.results}
    for eta in ("0.2", "0.9"):
        mean = sum(figures[f"INPO (eta={eta}, seed {seed})"] for seed in (0, 1)) / 2
        row = frame[frame["method"] == f"INPO (eta={eta})"].iloc[0]
        assert row["win rate %"] == pytest.approx(mean)
    assert any("Δ" in column for column in frame.columns)
    assert ph.leaderboard(workspace=root, sweep="s").to_frame().shape[0] == 4
    rows = done.to_frame()
    assert list(rows["run"]) == RUNS
    assert set(rows["objective.eta"]) == {0.2, 0.9}
    assert "win_rate_low" in rows.columns


def test_other_results_are_not_in_a_sweeps_table(swept):
    root, _ = swept
    with pytest.raises(ConfigError, match="no sweep called 'other'. Known: s"):
        ph.leaderboard(workspace=root, sweep="other")


def test_counts_say_what_is_shared_cached_and_pending(swept, tmp_path):
    root, _ = swept
    grading = Grading(["toy-labels"], "toy", overrides=EVALUATION)
    plan = plan_sweep([METHOD], settings=SETTINGS, seeds="0,1", name="s", grading=grading)
    # fine-tune and prompts for all; generate, compare, pair, anchor by seed; optimise by run
    new = count_stages(plan, Workspace(tmp_path))
    assert (new.runs, new.run_stages, new.stages) == (4, 4 * 7, 2 + 2 * 4 + 4)
    assert (new.shared, new.cached, new.pending) == (2 + 2 * 4, 0, 14)
    assert new.evaluations == 4
    done = count_stages(plan, Workspace(root))
    assert (done.cached, done.pending) == (14, 0)
    assert not list(tmp_path.iterdir())


def test_a_sweep_can_be_extended_and_nothing_is_made_again(swept):
    root, _ = swept
    before = {path: path.stat().st_ino for path in (root / "stages").glob("[!.]*")}
    done = small_sweep(root, settings={"objective.eta": [0.9]}, bench=())
    assert [run.name for run in done.runs] == ["s/seed=0", "s/seed=1"]  # one value: not in the name
    again = small_sweep(root)
    assert {path: path.stat().st_ino for path in (root / "stages").glob("[!.]*")} == before
    assert all(result.result.new_requests == 0 for result in again.results)
    record = read_sweep(Workspace(root), "s")
    assert [run.name for run in record.runs] == [*RUNS, "s/seed=0", "s/seed=1"]
    for name in ("s/seed=0", "s/seed=1"):
        remove_run(name, workspace=root)
    assert [run.name for run in read_sweep(Workspace(root), "s").runs] == RUNS


def test_a_second_judge_of_a_sweep_is_asked_about_every_run_that_a_judge_grades(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "harness.api.evaluation.evaluate",
        lambda benchmark, **options: asked.append((benchmark.name, options)),
    )
    monkeypatch.setattr(sweep, "_figure", lambda result: "")
    overrides = ["second_judge.timeout=9", "judge.timeout=8", "engine.seed=7"]
    grading = Grading(second_judge="gpt-oss-120b", overrides=overrides)
    plan = plan_sweep(["toy/inpo"], grading=grading)
    done = sweep.Sweep(plan.name, Workspace("nowhere"))
    graders = [
        sweep._Grader(SimpleNamespace(name=name), judge)
        for name, judge in (("judged", SimpleNamespace()), ("tasks", None))
    ]
    sweep._grade(plan.runs[0], done, graders, grading, lambda _: None)
    assert [(name, options["second_judge"]) for name, options in asked] == [
        ("judged", "gpt-oss-120b"),
        ("tasks", None),
    ]
    assert asked[0][1]["overrides"] == {"second_judge.timeout": 9, "engine.seed": 7}


def test_several_methods_have_names_of_their_own(tmp_path):
    plan = plan_sweep(["toy/inpo", "toy/iterative-dpo"], seeds="0-1")
    assert plan.name == "sweep"
    assert [run.record.name for run in plan.runs] == [
        *(f"sweep/inpo,seed={seed}" for seed in (0, 1)),
        *(f"sweep/iterative-dpo,seed={seed}" for seed in (0, 1)),
    ]
    assert [run.record.setting for run in plan.runs][::2] == ["INPO", "iterative DPO"]
    assert plan_sweep(["toy/inpo"]).name == "inpo-sweep"


def test_a_failed_run_is_reported_and_the_others_go_on(tmp_path):
    done = small_sweep(tmp_path, settings={"max_length": [2, 64]}, seeds=(0,), bench=())
    assert [run.name for run in done.runs] == ["s/max_length=64,seed=0"]
    (failure,) = done.failures
    assert (failure.run, failure.bench) == ("s/max_length=2,seed=0", "")
    assert isinstance(failure.error, ph.HarnessError)
    with pytest.raises(StoreError):
        done.leaderboard  # noqa: B018  nothing has been graded


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"settings": {"objective.etaa": [1, 2]}}, "unknown key 'objective.etaa'"),
        ({"settings": {"objective.eta": [0.2, 0.01]}}, "tau must not exceed eta"),
        ({"bench": ("toy-labels", "toy-labl")}, "no bench called 'toy-labl'"),
        ({"judge": "toi"}, "no judge called 'toi'"),
        ({"judge": "compatible"}, "the placeholder"),
        ({"seeds": "0,x"}, "the seed 'x' is no number"),
        ({"name": "../s"}, "leaves the workspace"),
        ({"methods": ["toy/inpo", "toy/inpo"]}, "is named twice"),
        ({"methods": []}, "needs a method"),
        ({"baseline": "nobody"}, "no setting called 'nobody'"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_trained(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        small_sweep(tmp_path / "runs", **options)
    assert not list(tmp_path.rglob("run.json"))


class MiserlyJudge:
    """A judge whose budget is spent at once."""

    model = "miser"
    asked = 0

    def judge(self, requests, parser, advance=lambda _: None):
        self.asked += 1
        raise BudgetError("the budget is spent")

    def count_pending(self, requests, parser):
        return len(requests)

    def estimate_cost(self, requests, parser):
        raise NotImplementedError

    def usage(self, requests, parser):
        raise NotImplementedError

    def request_settings(self, request):
        return {}


def test_a_judge_without_money_is_not_asked_about_further_runs(swept):
    root, _ = swept
    miser = MiserlyJudge()
    done = small_sweep(root, judge=miser)
    assert miser.asked == 1
    assert [run.name for run in done.runs] == RUNS
    assert [failure.bench for failure in done.failures] == ["toy-labels"] * 4
    assert {type(failure.error) for failure in done.failures} == {BudgetError}


def test_a_configured_judge_has_one_budget_for_all_runs(swept, monkeypatch):
    root, _ = swept
    bound = []
    bind = ConfiguredJudge.bind

    def note(judge, workspace):
        bound.append(judge)
        return bind(judge, workspace)

    monkeypatch.setattr(ConfiguredJudge, "bind", note)
    done = small_sweep(root, judge=ph.judge("toy", budget=1.0), bench=["toy-labels"])
    assert len(done.results) == 4
    assert len(bound) == 1


def test_a_taken_name_is_refused_before_anything_is_trained(swept):
    root, _ = swept
    stages = set((root / "stages").glob("[!.]*"))
    with pytest.raises(RunExistsError, match=r"run 's/eta=0.2,seed=0' exists with another"):
        small_sweep(root, settings={**SETTINGS, "samples": 2})
    assert set((root / "stages").glob("[!.]*")) == stages


def arguments(directory: Path, *options: str) -> list[str]:
    method = directory / "method.yaml"
    method.write_text(json.dumps(METHOD))
    grid = ("--set", "objective.eta=0.2,0.9", "--seeds", "0,1", "--name", "s")
    overrides = [f"{key}={json.dumps(value)}" for key, value in EVALUATION.items()]
    grading = ["--bench", "toy-labels", "--judge", "toy"]
    grading += [part for text in overrides for part in ("--eval-set", text)]
    workspace = str(directory / "runs")
    return ["sweep", str(method), *grid, *grading, "--json", "--workspace", workspace, *options]


def start(directory: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "harness", *arguments(directory)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_the_same_command_goes_on_after_a_kill(swept, tmp_path):
    root, _ = swept
    process, deadline = start(tmp_path), time.monotonic() + 300
    while len(list((tmp_path / "runs/stages").glob("optimise-*"))) < 2:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    stored = {path: path.stat().st_ino for path in (tmp_path / "runs/stages").glob("[!.]*")}
    assert 2 <= len(list((tmp_path / "runs/train").rglob("run.json"))) + 1 < 5
    out, err = (process := start(tmp_path)).communicate(timeout=300)
    assert process.returncode == 0, err
    assert {path: path.stat().st_ino for path in stored} == stored
    data = json.loads(out)
    assert (data["runs"], data["failures"]) == (RUNS, [])
    assert len(data["tables"][0]["rows"]) == 2
    figures = ph.leaderboard(workspace=tmp_path / "runs", sweep="s").to_frame()
    assert figures.equals(ph.leaderboard(workspace=root, sweep="s").to_frame())


def test_a_plan_is_printed_and_nothing_runs(tmp_path):
    done = CliRunner().invoke(app, arguments(tmp_path, "--dry-run"))
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout)
    assert [run["name"] for run in data["runs"]] == RUNS
    assert data["counts"]["stages"] == 14
    assert not (tmp_path / "runs").exists()


def test_a_failure_is_the_commands_own(tmp_path):
    options = ("--set", "max_length=2", "--seeds", "0", "--set", "objective.eta=0.2")
    done = CliRunner().invoke(app, arguments(tmp_path, *options))
    assert isinstance(done.exception, CheckError)
    assert "1 of the sweep 's' failed, first s/seed=0: " in str(done.exception)
    data = json.loads(done.stdout)
    assert (data["runs"], len(data["failures"]), data["tables"]) == ([], 1, [])
