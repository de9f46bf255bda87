"""A judge that always prefers the first answer, compared with the published judge."""

import gzip
import hashlib
import json
import math

import pytest
from typer.testing import CliRunner

from harness.cli.main import app
from harness.errors import AssetError
from harness.judges.toy_server import serving
from harness.types import Reply
from leaderboard.report.bridges import read_bridges

TOP = ((("m", math.log(0.8)), ("M", math.log(0.2))),)
PROMPTS = 30


def first_slot(messages, request):
    return Reply("m", TOP, "stop", "slot-judge", 900, 1)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return tmp_path_factory.mktemp("bridge") / "runs"


@pytest.fixture(scope="module")
def bridge(shared, workspace):
    """Run the bridge for three models in one workspace."""
    folder = shared / "assets/alpaca_eval/annotations"

    def run(*options):
        line = ["judge", "bridge", "--to", "compatible", "--set", "judge.model=slot-judge"]
        line += ["--assets", str(shared / "assets"), "--workspace", str(workspace)]
        for model in ("claude-2.1", "gemma-7b-it", "phi-2"):
            line += ["--verdicts", str(folder / f"{model}.json.gz")]
        line += ["--prompts", str(PROMPTS), "--again", "12", "--set", "score.rounds=20", *options]
        environment = {"OPENAI_API_KEY": None}
        with serving(first_slot, model="slot-judge") as url:
            line += ["--base-url", url]
            done = CliRunner().invoke(app, line, env=environment, catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout

    return run


@pytest.fixture(scope="module")
def comparison(bridge):
    return json.loads(bridge("--json"))


def test_a_judge_without_judgement_is_exposed(comparison):
    assert [row["label"] for row in comparison["models"]] == ["claude-2.1", "gemma-7b-it", "phi-2"]
    assert comparison["prompts"] <= PROMPTS
    assert comparison["first_slot"]["new"]["value"] == pytest.approx(0.8)
    # it always prefers the first answer, so all agreement is by chance
    assert comparison["kappa"]["value"] == 0
    # asked again it answers the same; in the other order it prefers the other answer
    assert comparison["self_consistency"]["same_verdict"]["value"] == 1
    assert comparison["order_consistency"]["same_verdict"]["value"] == 0
    # 0.8 one way, 0.2 the other
    assert comparison["order_consistency"]["mean_difference"]["value"] == pytest.approx(0.6)
    # half of the instructions show the model first: about 0.5, although the models mostly lose
    assert comparison["bias"]["value"] > 0.2
    assert comparison["bias"]["low"] < comparison["bias"]["value"] < comparison["bias"]["high"]
    assert comparison["cost"]["calls"] == comparison["verdicts"]


def test_it_is_shown_and_filed_and_nothing_is_asked_twice(bridge, comparison, workspace):
    shown = bridge()
    assert "gpt-4-1106-preview -> slot-judge on alpaca-eval" in shown
    assert "kappa: 0.000" in shown
    path = workspace / "results/bridge/gpt-4-1106-preview--slot-judge--alpaca-eval.json"
    again = json.loads(path.read_text())
    assert again["to"] == "slot-judge"
    assert again["models"] == comparison["models"]
    assert again["cost"]["calls"] == comparison["verdicts"]
    ((loaded,), notes) = read_bridges(workspace)
    assert (loaded["new"], len(loaded["rows"]), len(loaded["shares"])) == ("slot-judge", 3, 5)
    assert notes == []


def test_missing_verdicts_are_reported(shared):
    line = ["judge", "bridge", "--to", "toy", "--from", "gpt-5", "--assets", str(shared / "assets")]
    with pytest.raises(AssetError, match="no verdicts of gpt-5 on alpaca-eval"):
        CliRunner().invoke(app, line, catch_exceptions=False)


def test_an_open_judge_at_an_address_is_compared_with_the_official_verdicts(shared, tmp_path):
    """It gives the official judge's own verdicts again: the bridge must find no difference."""
    with gzip.open(shared / "replay/alpaca_eval/verdicts/gemma-7b-it.jsonl.gz", "rt") as lines:
        recorded = {row["key"]: row for row in map(json.loads, lines)}

    def official(messages, request):
        pairs = json.dumps([[m.role, m.content] for m in messages], separators=(",", ":"))
        row = recorded[hashlib.sha256(pairs.encode()).hexdigest()]
        top = (tuple((token, logprob) for token, logprob in row["top_logprobs"]),)
        return Reply(row["content"], top, "stop", "served-name", 900, 1)

    line = ["judge", "bridge", "--to", "qwen3-235b", "--set", "judge.deployment=served-name"]
    line += ["--set", "judge.served_as=[served-name]", "--set", "score.rounds=20", "--json"]
    line += ["--assets", str(shared / "assets"), "--workspace", str(tmp_path / "runs")]
    verdicts = shared / "assets/alpaca_eval/annotations/gemma-7b-it.json.gz"
    line += ["--verdicts", str(verdicts), "--prompts", str(PROMPTS), "--again", "0"]
    with serving(official, model="served-name") as url:
        done = CliRunner().invoke(app, [*line, "--base-url", url], catch_exceptions=False)
    assert done.exit_code == 0
    comparison = json.loads(done.stdout)
    assert comparison["to"] == "Qwen3-235B-A22B-Instruct-2507"
    assert comparison["same_verdict"]["value"] == 1
    assert comparison["kappa"]["value"] == pytest.approx(1)
    assert comparison["bias"]["value"] == pytest.approx(0, abs=1e-3)
    ((loaded,), notes) = read_bridges(tmp_path / "runs")
    assert (loaded["new"], notes) == ("Qwen3-235B-A22B-Instruct-2507", [])
