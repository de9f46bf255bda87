"""Academic tasks with a real lm-eval: local tasks, a tiny policy, and errors."""

from __future__ import annotations

import json
import subprocess
from contextlib import nullcontext
from pathlib import Path

import pytest

from harness.api import components
from harness.benchmarks.academic import benchmark
from harness.benchmarks.academic.benchmark import Academic
from harness.benchmarks.academic.process import lm_eval_process, task_error
from harness.benchmarks.academic.score import TaskResult, check, score
from harness.core import config
from harness.core.workspace import Result
from harness.engines.canned import CannedEngine
from harness.errors import AssetError, CheckError, ConfigError
from harness.evaluation.tasks import TaskRun, run_tasks
from harness.training.sources import Pretrained
from tests.cli.conftest import run_here

CHOICE = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {data}}}
test_split: train
output_type: multiple_choice
doc_to_text: "{{{{q}}}}"
doc_to_target: "{{{{label}}}}"
doc_to_choice: "{{{{choices}}}}"
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
metadata: {{version: 1.0}}
"""
WRITING = """
task: own_writing
dataset_path: json
dataset_kwargs: {{data_files: {data}}}
test_split: train
output_type: generate_until
doc_to_text: "{{{{q}}}}"
doc_to_target: "{{{{a}}}}"
generation_kwargs: {{until: ["<|end|>"], max_gen_toks: 4, do_sample: false}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
metadata: {{version: 2.0}}
"""


def rows(path: Path, items: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in items))
    return path


@pytest.fixture(scope="module")
def tasks(tmp_path_factory) -> Path:
    """A directory with a multiple-choice task and a generation task."""
    folder = tmp_path_factory.mktemp("tasks")
    questions = [{"q": f"the {i}", "choices": ["cat", "dog"], "label": i % 2} for i in range(8)]
    data = rows(folder / "choice.jsonl", questions)
    (folder / "choice.yaml").write_text(CHOICE.format(name="own_choice", data=data))
    data = rows(folder / "writing.jsonl", [{"q": f"the {i}", "a": "cat"} for i in range(6)])
    (folder / "writing.yaml").write_text(WRITING.format(data=data))
    return folder


def bench(folder: Path, include: Path, **changes) -> Path:
    choice = {"task": "own_choice", "version": 1.0, "shots": 0, "metric": "acc", "items": 8}
    writing = {"task": "own_writing", "version": 2.0, "shots": 0, "metric": "exact_match"}
    data = {
        "use": "harness.benchmarks.academic.benchmark:Academic",
        "chat_template": False,
        "seed": 1,
    }
    data |= {"include": str(include), "tasks": {"choice": choice, "writing": writing}}
    path = folder / "own.yaml"
    path.write_text(json.dumps(config.merge(data, changes)))
    return path


@pytest.fixture
def run(monkeypatch):
    """Run `harness eval` here; its lm-eval is the module's where `run_in_process` is asked for."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def command(path: Path, policy: str, root: Path, *more: str) -> subprocess.CompletedProcess:
        words = ("--bench", str(path), "--policy", policy, "--workspace", str(root))
        return run_here(monkeypatch, "eval", "--engine", "transformers", *words, *more)

    return command


@pytest.fixture(scope="module")
def run_in_process(tiny_policy):
    """Run a configuration on the tiny policy, with one lm-eval process for the whole module."""
    with pytest.MonkeyPatch.context() as patch, lm_eval_process(None) as process:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setattr(benchmark, "lm_eval_process", lambda python: nullcontext(process))

        def run(path: Path, root: Path) -> Result:
            workspace = components.open_workspace(root)
            _, policy = components.resolve_policy(workspace, tiny_policy, None)
            engine = components.build_component("engine", "transformers")
            suite = config.build(config.load("bench", str(path)))
            return run_tasks(TaskRun(suite, policy, engine, "tiny"), workspace)

        yield run


def test_local_tasks_are_evaluated_and_finished_tasks_are_kept(
    tasks, tiny_policy, tmp_path, run_in_process, run
):
    root = tmp_path / "runs"
    with pytest.raises(CheckError, match=r"lm-eval's own_writing has version 2\.0"):
        run_in_process(bench(tmp_path, tasks, tasks={"writing": {"version": 9.0}}), root)
    done = run(bench(tmp_path, tasks), tiny_policy, root, "--label", "tiny")
    assert done.returncode == 0, done.stderr
    assert "writing: done in" in done.stderr
    assert "choice: done in" not in done.stderr  # the finished task is not repeated
    result = json.loads((root / "results/academic/tiny.json").read_text())
    items = json.loads((root / "results/academic/tiny/items.json").read_text())
    assert (result["judge"], result["requests"], result["usage"]) == ("", 0, None)
    assert result["score"]["counts"] == {"asked": 14, "scored": 14}
    figures = {name: estimate["value"] for name, estimate in result["score"]["estimates"].items()}
    assert figures["average"] == pytest.approx((figures["choice"] + figures["writing"]) / 2)
    choices = [item["choice"] for item in items if item["category"] == "choice"]
    assert figures["choice"] == pytest.approx(sum(choices) / 8)
    assert result["versions"]["lm-eval"] == result["generation"]["tasks"]["choice"]["lm_eval"]
    assert "own_choice 1.0, 0 shots, acc" in result["score"]["notes"][0]


def test_a_sample_is_filed_as_one(tasks, tmp_path, run_in_process):
    path = bench(tmp_path, tasks, tasks={"writing": None}, limit=3)
    score = run_in_process(path, tmp_path / "runs").score
    assert (tmp_path / "runs/results/academic-first-3/tiny.json").is_file()
    assert score.counts == {"asked": 8, "scored": 3}
    assert score.notes[0].startswith("a sample: the first 3 items")


def test_an_unavailable_data_set_is_reported_with_its_remedy(tmp_path, run_in_process):
    with pytest.raises(AssetError) as caught:
        run_in_process(Path("academic"), tmp_path / "runs")
    assert "the data set google/IFEval of ifeval is not available" in str(caught.value)
    assert "hf download --repo-type dataset google/IFEval" in str(caught.value)


def test_a_dry_run_lists_the_papers_six_tasks_and_runs_none(tiny_policy, tmp_path, run):
    done = run(Path("academic"), tiny_policy, tmp_path / "runs", "--dry-run")
    assert done.returncode == 0, done.stderr
    for name in ("ifeval", "gpqa", "mmlu", "hellaswag", "truthfulqa", "gsm8k"):
        assert f"· {name}  " in done.stdout + done.stderr
    assert "0 of 6 stages are cached, 6 would run" in done.stdout + done.stderr
    assert not (tmp_path / "runs/results").exists()


def test_options_about_judges_are_refused(tiny_policy, tmp_path, run):
    done = run(Path("academic"), tiny_policy, tmp_path / "runs", "--judge", "gpt-4")
    assert "its answers are known or checked by a program: omit --judge" in done.stderr


@pytest.mark.parametrize("command", ["score", "import", "export", "verify"])
def test_commands_about_verdicts_say_that_there_is_no_judge(command, tmp_path, monkeypatch):
    arguments = {"export": ("INPO", "--to", str(tmp_path))}.get(command, (str(tmp_path / "file"),))
    words = ("academic",) if command == "verify" else ("academic", *arguments)
    done = run_here(monkeypatch, command, *words)
    assert done.returncode != 0
    assert "error: academic needs no judge" in done.stderr


def test_an_engine_without_log_probabilities_is_refused(tiny_policy):
    exam = config.build(config.load("bench", "academic"))
    assert isinstance(exam, Academic)
    policy = Pretrained(name="tiny", path=tiny_policy)
    with (
        pytest.raises(ConfigError, match="CannedEngine has no log-probabilities for lm-eval"),
        exam.stages(policy, CannedEngine()),
    ):
        pass


def task_result(key: str, values: list, figure: float | None = None) -> TaskResult:
    asked = {"task": key, "version": 1, "shots": 0, "metric": "acc", "filter": "none"}
    facts = {"figure": figure, "items": len(values), "scored": len(values)}
    facts |= {"lm_eval": "0", "figures": {}, "configs": {}}
    records = tuple({"id": str(i), "value": v, "doc": ""} for i, v in enumerate(values))
    return TaskResult(key, Path(), asked | {"chat": False, "limit": None}, facts, records)


def test_tasks_have_equal_weight_in_the_average_and_items_have_contributions():
    # 75 % of 4 and 50 % of 2: the average is 62.5, though 66.7 % of all items are right
    result = score([task_result("a", [1, 1, 1, 0]), task_result("b", [True, False])], None)
    assert result.estimates["average"].value == pytest.approx(62.5)
    # an item of a: 62.5 + 6 / (2 * 4) * (100 - 75) = 81.25; of b: 62.5 + 6 / (2 * 2) * 50 = 137.5
    assert [row["average"] for row in result.items] == pytest.approx(
        [81.25, 81.25, 81.25, 6.25, 137.5, -12.5]
    )


def test_items_with_several_parts_have_their_number_as_weight():
    result = score([task_result("a", [[1, 1, 0], [0]])], None)
    assert result.estimates["a"].value == pytest.approx(50)  # 2 of 4 parts


def test_a_score_that_is_not_a_mean_over_items_is_refused():
    check(task_result("a", [1, 0], figure=0.5))
    with pytest.raises(CheckError, match="it is not a mean over items"):
        check(task_result("a", [1, 0], figure=0.4))


def test_the_error_of_a_data_set_has_one_line():
    error = task_error("mmlu", {"task": "mmlu"}, "data", "cais/mmlu\nno\nconnection")
    assert isinstance(error, AssetError)
    assert "\n" not in str(error)
