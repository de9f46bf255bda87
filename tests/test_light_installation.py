"""An installation without torch scores verdicts, judges answers and prints tables."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from harness.benchmarks.alpaca_eval import judge_prompt
from harness.judges.toy_server import serving
from harness.types import Reply

ROOT = Path(__file__).parents[1]
ABSENT = (
    "torch",
    "transformers",
    "datasets",
    "pyarrow",
    "safetensors",
    "alpaca_eval",
    "matplotlib",
)
"""What the extras bring; importing one of them fails below, as where it is not installed."""
BLOCK = f"""
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
"""


@pytest.fixture
def run(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(BLOCK)
    path = os.pathsep.join([str(tmp_path / "site"), str(ROOT)])

    def call(*arguments: str, status: int = 0) -> str:
        out = subprocess.run(
            [sys.executable, "-m", "harness", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
        )
        assert out.returncode == status, out.stderr
        return out.stdout if not status else out.stderr

    return call


def test_the_extras_hold_what_is_absent_here():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    dependencies = " ".join(project["dependencies"])
    assert not any(name.replace("_", "-") in dependencies for name in ABSENT)


def test_verdicts_are_scored_imported_and_tabulated(run, tmp_path):
    rows = [
        {
            "instruction": f"question {i}",
            "output_1": "theirs",
            "output_2": f"ours {i}",
            "generator_1": "baseline",
            "generator_2": "mine",
            "annotator": "a judge",
            "preference": 1 + i % 2,
        }
        for i in range(60)
    ]
    (tmp_path / "annotations.json").write_text(json.dumps(rows))
    scored = json.loads(run("score", "alpaca-eval", "annotations.json", "--json"))
    assert scored[0]["score"]["estimates"]["win_rate"]["value"] == pytest.approx(50.0)
    run("import", "alpaca-eval", "annotations.json")
    assert "mine" in run("leaderboard", "--format", "md")
    assert "mine" in run("leaderboard", "--format", "latex")


def grade(messages, request):
    """Give `m` 60 %, whatever is asked: both answers' slots are drawn, so 40 % or 60 % are ours."""
    top = ((("m", math.log(0.6)), ("M", math.log(0.4))),)
    return Reply("m", top, "stop", "judge-2025-01-01", prompt_tokens=9, completion_tokens=1)


def test_a_judge_grades_answers(run, tmp_path, shared):
    data = tmp_path / "assets/alpaca_eval"
    data.mkdir(parents=True)
    for source in (shared / "assets/alpaca_eval").iterdir():
        (data / source.name).symlink_to(source)
    (data / judge_prompt.FILE).write_text(judge_prompt.template())
    prompts = json.loads((data / "alpaca_eval_gpt4_baseline.json").read_text())
    answers = [
        {"instruction": row["instruction"], "output": "An answer.", "generator": "mine"}
        for row in prompts[:3]
    ]
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    with serving(grade, model="judge-2025-01-01") as url:
        out = run(
            *("eval", "--bench", "alpaca-eval", "--answers", "answers.json", "--allow-missing"),
            *("--assets", "assets", "--judge", "compatible", "--base-url", url),
            *("--set", "judge.model=judge-2025-01-01", "--json"),
        )
    data = json.loads(out)
    assert data["new_requests"] == 3
    assert data["score"]["counts"]["judged"] == 3


def test_training_says_which_extra_it_needs(run):
    message = run("train", "toy/inpo", "--dry-run", status=6)
    assert "pip install 'preference-harness[train]'" in message
    assert message.count("\n") == 1
