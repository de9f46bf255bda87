"""`harness eval` and `harness assets`, as a user would type them."""

import json

import pytest
from typer.testing import CliRunner

from harness.api import components
from harness.cli.main import app
from harness.errors import AssetError, ConfigError, InputError, JudgeError
from harness.judges.toy_server import serving
from harness.toy import judge


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)

    def invoke(*arguments):
        workspace_option = (
            () if arguments[0] == "assets" else ("--workspace", str(tmp_path / "runs"))
        )
        result = CliRunner().invoke(app, [str(a) for a in (*arguments, *workspace_option)])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.stdout

    return invoke


@pytest.fixture
def answers(shared):
    return shared / "replay/alpaca_eval/answers/claude-2.1.json.gz"


def test_a_dry_run_says_what_would_be_asked_and_leaves_nothing(run, shared, answers, tmp_path):
    options = ("--bench", "alpaca-eval", "--answers", answers, "--assets", shared / "assets")
    assert "803 verdicts: 0 stored, 803 would be requested." in run("eval", *options, "--dry-run")
    data = json.loads(run("eval", *options, "--dry-run", "--json"))
    counts = {"stages": [], "requests": 803, "stored": 0, "new_requests": 803}
    estimate = data.pop("cost_estimate")
    assert data == {**counts, "findings": []}
    # how near the estimate comes to the cost: tests/faults/test_money.py
    assert (estimate["calls"], estimate["completion_tokens"]) == (803, 803)
    assert not (tmp_path / "runs").exists()


def test_without_a_key_nothing_is_asked(run, shared, answers):
    options = ("--bench", "alpaca-eval", "--answers", answers, "--assets", shared / "assets")
    with pytest.raises(JudgeError, match="set OPENAI_API_KEY"):
        run("eval", *options, "--set", "judge.retires=null")
    with pytest.raises(JudgeError, match="retired on 2026-10-23"):
        run("eval", *options)


PARROT = """
from harness.core.config import Component
from harness.core.stages import ExternalInput
from harness.types import Completion, Policy

class Weights(Component):
    name: str
    def weights(self):
        return ExternalInput(self.name, self.name)
    def with_weights(self, path):
        return Policy(self.name, path)

class Parrot(Component):
    def generate(self, policy, requests, sampling, advance):
        return [Completion(r.prompt.id, 0, policy.name, (), (), "stop", r.seed) for r in requests]
"""


@pytest.fixture
def _parrots(tmp_path, monkeypatch):
    """A user's own code and configurations: an engine that answers with its policy's name."""
    (tmp_path / "parrot_of_a_user.py").write_text(PARROT)
    for path, text in {
        "engine/parrot": "{use: 'parrot_of_a_user:Parrot'}",
        "policy/polly": "{use: 'parrot_of_a_user:Weights', name: polly}",
        "policy/toy": "{use: 'parrot_of_a_user:Weights', name: toy}",
    }.items():
        file = tmp_path / "configs" / f"{path}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.setenv("HARNESS_TRUST", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_parrots")
def test_a_policys_answers_are_judged_and_shown(run):
    options = ("eval", "--bench", "toy-weighted", "--judge", "toy", "--policy", "polly")
    options += ("--engine", "parrot", "--set", "count=8", "--set", "judge.concurrency=2")
    planned = run(*options, "--dry-run")
    assert "0 of 2 stages are cached, 2 would run." in planned
    assert "once the answers exist" in planned
    with serving(judge.grade, model=judge.MODEL) as url:
        options += ("--base-url", url, "--label", "mine")
        shown = run(*options)
        data = json.loads(run(*options, "--json"))
    assert shown.startswith("mine on toy-weighted, judged by toy-judge\n  win_rate ")
    assert "asked 8  judged 8  unparsed 0" in shown
    assert (data["label"], data["new_requests"]) == ("mine", 0)
    assert data["path"].endswith("results/toy-weighted/mine.json")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (("--policy", "a", "--run", "b"), ConfigError, "one of them"),
        ((), ConfigError, "either an answers file or a policy"),
        (("--answers", "/nope.json"), InputError, "does not exist"),
        (("--answers", "x", "--assets", "/nope"), AssetError, "harness assets pull alpaca_eval"),
        (("--answers", "x", "--judge", "nope"), ConfigError, "no judge called 'nope'"),
        (("--answers", "x", "--set", "judge.modle=x"), ConfigError, "did you mean 'model'"),
        (("--answers", "x", "--set", "smapling.top_p=1"), ConfigError, "did you mean 'sampling'"),
    ],
)
def test_what_does_not_fit_is_reported(run, shared, options, error, message):
    assets_option = ("--assets", shared / "assets") if "--assets" not in options else ()
    with pytest.raises(error, match=message):
        run("eval", "--bench", "alpaca-eval", *assets_option, *options)


def test_overrides_go_to_the_judge_the_engine_or_the_benchmark():
    overrides = ["judge.timeout=1", "engine.batch=2", "seed=3", "judges=4", "score.C=1"]
    assert components.select_overrides(overrides, "judge") == {"timeout": 1}
    assert components.select_overrides(overrides, "engine") == {"batch": 2}
    assert components.select_overrides(overrides, None) == {
        "seed": 3,
        "judges": 4,
        "scoring.C": 1,
    }


def test_assets_are_listed(run, shared, tmp_path):
    shown = run("assets", "ls", "--assets", shared / "assets")
    assert " present  alpaca_eval/alpaca_eval_gpt4_baseline.json" in shown
    rows = json.loads(run("assets", "ls", "--assets", tmp_path, "--json"))
    states = {row["asset"]: row["state"] for row in rows}
    assert states["alpaca_eval/alpaca_eval_gpt4_baseline.json"] == "missing"


def test_protocol_data_is_verified(run, shared, tmp_path):
    # the baselines' answers of Arena-Hard v2.0 are not in the shared folder
    with pytest.raises(AssetError, match=r"o3-mini-2025-01-31\.jsonl is missing.*assets pull"):
        run("assets", "verify", "--assets", shared / "assets")
    with pytest.raises(AssetError, match=r"mt_bench/question\.jsonl is missing"):
        run("assets", "verify", "--assets", tmp_path)
