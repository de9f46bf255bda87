"""Figures 1 and 2: a judge that fails costs time and no verdict; one that always fails stops it."""

import re
import subprocess
import sys
import time

import pytest

from harness.core.config import build, load
from harness.errors import JudgeError
from harness.judges.cached import CachedJudge
from harness.judges.client import OpenAIClient

FAULTS = ("429", "500", "503", "hang", "reset", "cut", "garbage", "empty", "refuse", "nologp")
PROTOCOLS = ("refuse", "nologp")
"""Faults that change what Arena-Hard asks next, which the recorded judge was never asked."""
LATENCY = "0.5"
FEW = 80


def contest(shared, name):
    """Return a benchmark and what its recorded judge was asked about one contestant."""
    bench = build({**load("bench", name), "assets": str(shared / "assets")})
    path = {
        "alpaca-eval": "replay/alpaca_eval/answers/gemma-7b-it.json.gz",
        "arena-hard": "assets/arena_hard_v0.1/model_answer/gpt-3.5-turbo-0125.jsonl",
    }[name]
    (ours,) = bench.read_answers(shared / path)
    return bench, bench.requests(ours.answers, bench.baseline_answers())


@pytest.fixture(scope="module")
def contests(shared):
    return {name: contest(shared, name) for name in ("alpaca-eval", "arena-hard")}


def judged(contests, path, url, count=None, **fields):
    """Have everything judged; return readings and seconds, both by benchmark."""
    settings = {"base_url": url, "timeout": 3, **fields}
    client = build({**load("judge", "gpt-4-1106-preview"), **settings})
    parsed, seconds = {}, {}
    for name, (bench, requests) in contests.items():
        start = time.monotonic()
        verdicts = CachedJudge(client=client, store=path).judge(
            requests[:count], bench, lambda _: None
        )
        parsed[name] = [verdict.parsed for verdict in verdicts]
        seconds[name] = time.monotonic() - start
    return parsed, seconds


@pytest.fixture(scope="module")
def clean(contests, replay_for_long, tmp_path_factory):
    """The run without faults: its readings, and its seconds."""
    server = replay_for_long("--latency", LATENCY)
    return judged(contests, tmp_path_factory.mktemp("clean") / "v.sqlite", server.url)


CASES = [(fault, share, True) for fault in FAULTS for share in (0.01, 0.1, 0.3)]
CASES += [(fault, 0.1, False) for fault in FAULTS]


@pytest.mark.faults
@pytest.mark.parametrize(("fault", "share", "once"), CASES)
def test_every_verdict_arrives_and_in_time(
    contests, replay, clean, tmp_path, figure, fault, share, once
):
    options = ("--latency", LATENCY, "--faults", f"{fault}={share}", "--seed", "5")
    server = replay(*options, *(("--fault-once",) if once else ()))
    asked = {n: c for n, c in contests.items() if n == "alpaca-eval" or fault not in PROTOCOLS}
    verdicts, seconds = judged(asked, tmp_path / "v.sqlite", server.url)
    readings, usual = clean
    ratio = sum(seconds.values()) / sum(usual[name] for name in asked)
    assert {name: len(values) for name, values in verdicts.items()} == {
        name: {"alpaca-eval": 805, "arena-hard": 1000}[name] for name in asked
    }
    assert verdicts == {name: readings[name] for name in asked}
    figure("ratio", round(ratio, 2))
    assert fault == "hang" or ratio <= 2


@pytest.mark.parametrize("fault", ["429", "503", "cut", "garbage", "empty"])
def test_every_verdict_arrives(contests, replay, tmp_path, fault):
    server = replay("--faults", f"{fault}=0.3", "--seed", "5", "--fault-once")
    verdicts, _ = judged(contests, tmp_path / "v.sqlite", server.url, count=FEW)
    assert {name: len(values) for name, values in verdicts.items()} == dict.fromkeys(contests, FEW)
    assert all(reading is not None for values in verdicts.values() for reading in values)
    counts = server.stats()
    assert counts["verdicts"] - counts.get("fault empty", 0) == 2 * FEW or fault == "cut"
    assert counts[f"fault {fault}"] > 20


@pytest.mark.parametrize("fault", ["500", "hang", "garbage", "429"])
def test_a_judge_that_only_fails_stops_the_run(contests, replay, tmp_path, fault):
    server, start = replay("--faults", f"{fault}=1"), time.monotonic()
    with pytest.raises(JudgeError, match=r"has not replied for \d+ s \(.*stored"):
        judged(contests, tmp_path / "v.sqlite", server.url, count=FEW, timeout=1, patience=3)
    assert time.monotonic() - start < 10


@pytest.mark.faults
@pytest.mark.parametrize("fault", ["500", "hang", "garbage"])
def test_a_judge_that_only_fails_stops_the_command_within_a_minute(
    shared, replay, tmp_path, figure, fault
):
    server = replay("--faults", f"{fault}=1")
    answers = shared / "replay/alpaca_eval/answers/gemma-7b-it.json.gz"
    command = [sys.executable, "-m", "harness", "eval", "--bench", "alpaca-eval"]
    command += ["--answers", str(answers), "--assets", str(shared / "assets")]
    command += ["--base-url", server.url, "--workspace", str(tmp_path / "runs")]
    if fault == "hang":  # silence counts from the time-out of what is in flight, by default 120 s
        command += ["--set", "judge.timeout=10"]
    start = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    seconds = time.monotonic() - start
    figure("seconds", round(seconds, 1))
    assert seconds < 60
    assert done.returncode == JudgeError.exit_code
    assert re.search(r"error: the judge .* has not replied for \d+ s \(\d+ x ", done.stderr)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "runs/results").exists()


def test_defaults_are_what_the_figures_were_measured_with():
    judge = OpenAIClient(model="j")
    assert (judge.patience, judge.unparsed_attempts, judge.concurrency) == (45, 5, 64)
