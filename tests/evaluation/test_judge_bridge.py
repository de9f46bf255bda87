"""A judge that always prefers the first answer, beside the one that was published."""

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


@pytest.fixture
def bridge(shared, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    folder = shared / "assets/alpaca_eval/annotations"

    def run(*options, judge=first_slot, name="slot-judge"):
        line = ["judge", "bridge", "--to", "compatible", "--set", f"judge.model={name}"]
        line += ["--assets", str(shared / "assets"), "--workspace", str(tmp_path / "runs")]
        for model in ("claude-2.1", "gemma-7b-it", "phi-2"):
            line += ["--verdicts", str(folder / f"{model}.json.gz")]
        line += ["--prompts", str(PROMPTS), "--again", "12", *options]
        with serving(judge, model=name) as url:
            done = CliRunner().invoke(app, [*line, "--base-url", url], catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout

    return run


def test_a_judge_without_judgement_is_found_out(bridge):
    comparison = json.loads(bridge("--json"))
    assert [row["label"] for row in comparison["models"]] == ["claude-2.1", "gemma-7b-it", "phi-2"]
    assert comparison["prompts"] <= PROMPTS
    assert comparison["first_slot"]["new"]["value"] == pytest.approx(0.8)
    # it always says the first, so that every agreement is by chance
    assert comparison["kappa"]["value"] == 0
    # asked again it says the same; asked the other way round it says the other
    assert comparison["self_consistency"]["same_verdict"]["value"] == 1
    assert comparison["order_consistency"]["same_verdict"]["value"] == 0
    # 0.8 one way, 0.2 the other
    assert comparison["order_consistency"]["mean_difference"]["value"] == pytest.approx(0.6)
    # half of the instructions show the model first: about 0.5, where the models mostly lose
    assert comparison["bias"]["value"] > 0.2
    assert comparison["bias"]["low"] < comparison["bias"]["value"] < comparison["bias"]["high"]
    requests = comparison["verdicts"]
    assert comparison["cost"]["calls"] == requests
    again = json.loads(bridge("--json"))
    assert again["models"] == comparison["models"]
    assert again["cost"]["calls"] == requests


def test_it_is_shown_and_filed(bridge, tmp_path):
    shown = bridge()
    assert "gpt-4-1106-preview -> slot-judge on alpaca-eval" in shown
    assert "kappa: 0.000" in shown
    path = tmp_path / "runs/results/bridge/gpt-4-1106-preview--slot-judge--alpaca-eval.json"
    assert json.loads(path.read_text())["to"] == "slot-judge"
    ((loaded,), notes) = read_bridges(tmp_path / "runs")
    assert (loaded["new"], len(loaded["rows"]), len(loaded["shares"]), notes) == (
        "slot-judge",
        3,
        5,
        [],
    )


def test_where_there_are_no_verdicts_it_is_told(shared):
    line = ["judge", "bridge", "--to", "toy", "--from", "gpt-5", "--assets", str(shared / "assets")]
    with pytest.raises(AssetError, match="no verdicts of gpt-5 on alpaca-eval"):
        CliRunner().invoke(app, line, catch_exceptions=False)
