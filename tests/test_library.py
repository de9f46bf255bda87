"""`import harness as ph` is as good as the command."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import harness as ph
from harness.errors import CheckError, ConfigError, InputError
from harness.judges.toy_server import serving
from harness.protocols import Judge, PersistentJudge
from harness.toy import judge as toy_judge


@pytest.fixture(scope="module")
def judge_url():
    with serving(toy_judge.grade, model=toy_judge.MODEL) as url:
        yield url


@pytest.fixture(scope="module")
def answers():
    """The toy benchmark's baseline prompts, each answered with its own instruction."""
    benchmark = ph.benchmark("toy-labels", {"count": 6})
    return [
        {"instruction": p.text, "output": "red " * (i + 1)}
        for i, p in enumerate(benchmark.prompts())
    ]


def test_every_public_name_exists_and_every_listed_name_is_public():
    assert ph.__all__ == sorted(ph.__all__)
    for name in ph.__all__:
        assert getattr(ph, name) is not None
    public = {name for name in dir(ph) if not name.startswith("_")}
    assert {"importlib", "annotations", "TYPE_CHECKING", "Any"} >= public - set(ph.__all__) - {
        path.stem for path in Path(ph.__file__).parent.iterdir()
    }


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        ph.trian  # noqa: B018


def test_importing_the_library_is_light():
    code = (
        "import sys, time; t = time.process_time(); import harness; "
        "heavy = [m for m in ('torch', 'numpy', 'pydantic') if m in sys.modules]; "
        "print(time.process_time() - t, heavy)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, _, heavy = out.stdout.strip().partition(" ")
    assert heavy == "[]"
    assert float(seconds) < 0.1  # of processor time; a loaded machine does not count


SCRIPT = """
import harness as ph

estimate: ph.Estimate = ph.score("alpaca-eval", "annotations.json")["win_rate"]
judge = ph.judge("gpt-4.1", budget=5.0)
result: ph.EvaluationResult = ph.evaluate("arena-hard", answers="a.jsonl", judge=judge)
run: ph.TrainingRun = ph.train("toy/inpo", {"objective.eta": 0.1}, name="eta-0.1")
model, tokenizer = run.policies[-1].load()
low: float | None = result["win_rate"].low
latex: str = ph.leaderboard(baseline="iterative DPO").to_latex()
"""


@pytest.mark.slow
def test_a_users_script_passes_the_strictest_type_check(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    root = Path(ph.__file__).parents[
        1
    ]  # its settings say strict, and share the cache of `make check`
    out = subprocess.run(
        [sys.executable, "-m", "mypy", str(tmp_path / "script.py")],
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert out.returncode == 0, out.stdout
    assert (Path(ph.__file__).parent / "py.typed").is_file()


def annotations(tmp_path, preferences):
    rows = [
        {
            "instruction": f"question {i}",
            "output_1": "the baseline's",
            "output_2": "ours",
            "generator_1": "baseline",
            "generator_2": "mine",
            "annotator": "some judge",
            "preference": preference,
        }
        for i, preference in enumerate(preferences)
    ]
    (tmp_path / "annotations.json").write_text(json.dumps(rows))
    return tmp_path / "annotations.json"


def test_a_score_is_a_mapping_of_estimates_and_a_frame(tmp_path):
    scored = ph.score("alpaca-eval", annotations(tmp_path, [1.0, 2.0, 2.0, 1.5]))
    # preferences of 1 to 2 are win rates of 0, 100, 100 and 50 %
    assert scored["win_rate"].value == pytest.approx(62.5)
    assert scored.label == "mine"
    frame = scored.to_frame()
    assert len(frame) == 4
    assert scored.estimates_frame().loc["win_rate", "value"] == pytest.approx(62.5)
    assert "mine on alpaca-eval" in scored._repr_html_()
    assert "62.50" in scored._repr_html_()


def test_of_several_contestants_one_must_be_named(tmp_path):
    path = annotations(tmp_path, [1.0, 2.0])
    rows = json.loads(path.read_text())
    path.write_text(json.dumps(rows + [{**row, "generator_2": "other"} for row in rows]))
    with pytest.raises(InputError, match=r"2 contestants \(mine, other\): name one with label"):
        ph.score("alpaca-eval", path)
    assert ph.score("alpaca-eval", path, label="other").label == "other"
    assert [scored.label for scored in ph.scores("alpaca-eval", path)] == ["mine", "other"]
    with pytest.raises(InputError, match="no contestant called 'third'"):
        ph.score("alpaca-eval", path, label="third")


def evaluate(judge_url, answers, workspace, **options):
    return ph.evaluate(
        "toy-labels",
        answers=answers,
        judge=ph.judge("toy", base_url=judge_url),
        overrides={"count": 6, "baseline.texts.count": 640, "baseline.optimiser.epochs": 1},
        engine="transformers",
        label="mine",
        workspace=workspace,
        **options,
    )


@pytest.fixture(scope="module")
def evaluated(judge_url, answers, tmp_path_factory):
    workspace = tmp_path_factory.mktemp("library")
    return workspace, evaluate(judge_url, answers, workspace)


def test_a_judge_is_a_judge(judge_url, tmp_path):
    judge = ph.judge("toy", base_url=judge_url, workspace=tmp_path)
    assert isinstance(judge, Judge)
    assert isinstance(judge, PersistentJudge)
    assert judge.model == toy_judge.MODEL


def test_an_evaluation_gives_estimates_items_and_a_file(evaluated):
    workspace, result = evaluated
    assert result.path.is_file()
    assert result.path.is_relative_to(workspace)
    assert len(result.to_frame()) == 6
    assert 0 <= result["win_rate"].value <= 100
    assert json.loads(result.path.read_text())["label"] == "mine"
    assert "mine on toy-labels, judged by toy-judge" in result._repr_html_()


def test_verdicts_are_cached_in_the_evaluations_workspace(evaluated, judge_url, answers):
    workspace, first = evaluated
    again = evaluate(judge_url, answers, workspace)
    assert (workspace / "verdicts.sqlite").is_file()
    assert first.result.new_requests > 0
    assert again.result.new_requests == 0
    assert again["win_rate"] == first["win_rate"]


def test_everything_works_inside_a_running_loop(evaluated, judge_url, answers, tmp_path):
    async def inside():
        return evaluate(judge_url, answers, tmp_path)

    _, outside = evaluated
    assert asyncio.run(inside())["win_rate"] == outside["win_rate"]


def test_the_leaderboard_is_a_frame_latex_and_html(evaluated):
    workspace, result = evaluated
    board = ph.leaderboard(workspace=workspace)
    frame = board.to_frame()
    assert len(frame) == 1
    assert "mine" in board.to_latex()
    assert "toprule" in board.to_latex()
    assert "<table" in board._repr_html_()
    assert "mine" in board._repr_html_()


def test_names_paths_mappings_and_components_are_accepted_alike(tmp_path):
    from harness.core.config import load

    by_name = ph.benchmark("toy-labels")
    data = load("bench", "toy-labels")
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps(data))
    assert ph.benchmark(data) == by_name
    assert ph.benchmark(path) == by_name
    assert ph.benchmark(by_name) is by_name
    assert ph.benchmark("toy-labels", {"count": 7}).count == 7
    assert ph.benchmark("toy-labels", ["count=7"]).count == 7
    with pytest.raises(ConfigError, match="is built already: set count"):
        ph.benchmark(by_name, {"count": 7})


def test_the_same_error_as_the_commands(tmp_path):
    with pytest.raises(ConfigError, match="no bench called 'toy-label'; did you mean 'toy-labels'"):
        ph.benchmark("toy-label")
    with pytest.raises(ConfigError, match="no run called 'nothing'"):
        ph.run("nothing", workspace=tmp_path)
    assert ph.runs(workspace=tmp_path) == []


def test_losses_need_only_what_they_read():
    torch = importlib.import_module("torch")
    policy = ph.Logps(torch.tensor([-1.0]), torch.tensor([-2.0]))
    reference = ph.Logps(torch.tensor([-1.5]), torch.tensor([-1.5]))
    batch = ph.PairBatch(policy, {"reference": reference, "previous": policy})
    # h = 0 - 1/2 * (0 - 1) = 0.5, target 1/(2 * 1) = 0.5
    assert ph.objectives.inpo_loss(batch, eta=1.0, tau=0.5).item() == pytest.approx(0.0)
    with pytest.raises(ph.HarnessError, match="probability"):
        ph.objectives.inpo_soft_loss(batch, eta=1.0, tau=0.5)


def test_a_paired_bootstrap_is_of_the_differences():
    first, second = [1.0, 0.0, 1.0, 1.0, float("nan")], [0.0, 0.0, 1.0, 0.0, 1.0]
    estimate = ph.statistics.paired_bootstrap(first, second, seed=0)
    assert estimate.value == pytest.approx(np.mean([1, 0, 0, 1]))
    assert estimate.low is not None
    assert estimate.low < 0.5 < estimate.high
    with pytest.raises(CheckError, match="two vectors of one length"):
        ph.statistics.paired_bootstrap([1.0], [1.0, 2.0])


def test_a_folder_of_protocol_data_is_used_for_its_own_call_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_ASSETS", str(tmp_path / "usual"))
    assert ph.benchmark("alpaca-eval", assets=tmp_path).assets == tmp_path
    assert ph.benchmark("alpaca-eval").assets is None
    assert os.environ["HARNESS_ASSETS"] == str(tmp_path / "usual")
