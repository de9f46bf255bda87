"""`harness verdicts`, and the options of `harness eval` for budgets and batches, as typed."""

import json

import pytest
from typer.testing import CliRunner

from harness.cli.main import app
from harness.errors import BudgetError, ConfigError, JudgeError, StoreError
from harness.judges.store.database import Attempt, Call, key_of, open_store

BODY = {"model": "j", "messages": [{"role": "user", "content": "a"}], "max_tokens": 1}


REPLY = json.dumps({"choices": [{"message": {"content": "m"}}]})


@pytest.fixture
def run(tmp_path):
    def invoke(*arguments):
        line = [str(part) for part in (*arguments, "--workspace", tmp_path / "runs")]
        return CliRunner().invoke(app, line, catch_exceptions=False).stdout

    return invoke


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "runs" / "verdicts.sqlite"
    with open_store(path) as store:
        call = Call(key_of(BODY), "parsed", "j", 100, 1, False, 0.5, 1.0)
        store.add([Attempt(BODY, REPLY, "j", True)], [call])
        store.add([Attempt({**BODY, "seed": 1}, REPLY, "k", True, quarantined=True)])
    return path


@pytest.mark.usefixtures("path")
def test_what_is_there_is_listed(run):
    shown = run("verdicts", "ls")
    assert "1 parsed      j\n" in shown
    assert "1 quarantined j (served by k)" in shown
    assert "1 calls       j: $0.5" in shown
    assert len(json.loads(run("verdicts", "ls", "--json"))["verdicts"]) == 2


def test_damage_is_reported_and_repaired(run, path):
    assert "2 attempts are intact, 0 faults" in run("verdicts", "verify")
    data = bytearray(path.read_bytes())
    data[data.index(REPLY.encode()) + 6] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreError, match="harness verdicts repair"):
        run("verdicts", "verify")
    assert "1 attempts kept" in run("verdicts", "repair")
    assert "1 attempts are intact, 0 faults" in run("verdicts", "verify")


@pytest.mark.usefixtures("path")
def test_verdicts_go_out_and_come_in(run, tmp_path):
    assert "2 attempts written" in run("verdicts", "export", tmp_path / "out.jsonl.gz")
    assert "0 attempts added, 2 already stored" in run(
        "verdicts", "import", tmp_path / "out.jsonl.gz"
    )


def test_the_terms_of_an_evaluation_reach_the_judge(run, shared, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none-of-this-is-sent")
    answers = shared / "replay/alpaca_eval/answers/claude-2.1.json.gz"
    options = ["eval", "--bench", "alpaca-eval", "--answers", answers]
    options += ["--assets", shared / "assets"]
    asked = [*options, "--set", "judge.retires=null"]  # the protocol's own judge has retired
    with pytest.raises(BudgetError, match=r"\$0.001 is spent"):
        run(*asked, "--budget", "0.001")
    with pytest.raises(ConfigError, match="no price of mystery"):
        run(*asked, "--set", "judge.model=mystery", "--budget", "1")
    mystery = [*asked, "--set", "judge.model=mystery", "--budget", "0.001", "--price", "10,30"]
    mystery += ["--accept-judge", "mystery"]
    with pytest.raises(BudgetError, match=r"\$0.001 is spent"):
        run(*mystery)
    with pytest.raises(ConfigError, match="takes no batches"):
        run(*options, "--judge", "replay", "--batch")
    with pytest.raises(JudgeError, match="not all verdicts"):
        run(*options, "--judge", "replay")
    plan = json.loads(run(*asked, "--batch", "--dry-run", "--json"))
    assert plan["cost_estimate"]["calls"] == 803
